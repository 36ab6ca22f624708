import type { OpDef } from "../ops/op.ts";
import { bytesOf } from "../tensor/dtype.ts";
import { ForwardpassError, ShapeError } from "../tensor/errors.ts";
import { formatType, sizeOf } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import type { Node } from "./ir.ts";

/** More than any host holds: dimensions that came from garbage. */
const maxTensorBytes = 2 ** 40;

/** Types of all outputs of a node, with the node's name on any error. */
export function inferNode(node: Node, operands: Parameters<NonNullable<OpDef["infer"]>>[0]): TensorType[] {
  try {
    const types = node.op.infer!(operands, node.attrs);
    const list = Array.isArray(types) ? types : [types];
    for (const t of list)
      if (!Number.isSafeInteger(sizeOf(t.shape)) || sizeOf(t.shape) * bytesOf(t.dtype) > maxTensorBytes)
        throw new ShapeError(`${node.op.name}: a result of type ${formatType(t)} does not fit in memory`, {
          op: node.op.name,
        });
    return list;
  } catch (e) {
    throw e instanceof ForwardpassError ? e.at(node.name) : e;
  }
}
