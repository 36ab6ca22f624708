import type { OpDef } from "../ops/op.ts";
import { DTypeError, ForwardpassError, ShapeError } from "../tensor/errors.ts";
import { formatType } from "../tensor/shape.ts";
import { type AnyValue, memoryOf, type TensorType } from "../tensor/tensor.ts";
import type { GraphPort, Node } from "./ir.ts";

/** Bytes that values may take at once if nobody says otherwise: what WebAssembly can address. */
export const defaultMemoryLimit = 2 ** 32;

/**
 * Types of all outputs of a node, with the node's name on any error. ShapeError for an output over `memoryLimit`:
 * dimensions that came from garbage, and files that ask for more than their host wants to give.
 */
export function inferNode(
  node: Node,
  operands: Parameters<NonNullable<OpDef["infer"]>>[0],
  memoryLimit = defaultMemoryLimit,
): TensorType[] {
  try {
    const types = node.op.infer!(operands, node.attrs);
    const list = Array.isArray(types) ? types : [types];
    for (const t of list)
      if (!(memoryOf(t) <= memoryLimit))
        throw new ShapeError(
          `${node.op.name}: a result of type ${formatType(t)} does not fit in memory of ${memoryLimit} bytes`,
          { op: node.op.name, types: [formatType(t)] },
        );
    return list;
  } catch (e) {
    throw e instanceof ForwardpassError ? e.at(node.name) : e;
  }
}

/** What is an output, or its type. @throws DTypeError where the graph declares another dtype */
export function checkOutput<T extends AnyValue | TensorType | undefined>({ name, dtype }: GraphPort, t: T): T {
  // Sequences have none.
  const own = (t as TensorType | null | undefined)?.dtype;
  if (dtype && own && own !== dtype)
    throw new DTypeError(`output "${name}" is ${own} and declared ${dtype}: cast it`, { types: [own, dtype] });
  return t;
}
