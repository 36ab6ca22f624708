/** ONNX softmax family -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { flatten } from "../../../ops/flatten.ts";
import { reshape } from "../../../ops/reshape.ts";
import { shape } from "../../../ops/shape.ts";
import { hardmax, logSoftmax, softmax } from "../../../ops/softmax.ts";
import type { Lowering, LoweringTable, OnnxNode } from "../node.ts";

type RowOp = (x: SymbolicValue, attrs: { axis: number }) => SymbolicValue;

/** Before opset 13 everything from `axis` on is one row; the same as today where `axis` is the last. */
function coerced(n: OnnxNode, op: RowOp): SymbolicValue {
  const x = n.input(0);
  const axis = n.int("axis", 1);
  const rank = x.type?.shape.length;
  if (axis === -1 || axis + 1 === rank) return op(x, { axis: -1 });
  return reshape(op(flatten(x, { axis }), { axis: -1 }), shape(x), { allowZero: true });
}

const rows =
  (op: RowOp): Lowering =>
  (n) =>
    n.opset < 13 ? coerced(n, op) : op(n.input(0), { axis: n.int("axis", -1) });

export const softmaxLowerings: LoweringTable = {
  Softmax: rows(softmax),
  LogSoftmax: rows(logSoftmax),
  Hardmax: rows(hardmax),
};
