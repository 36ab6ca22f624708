/** ONNX arg-reductions, running sums and products -> ours. */
import { argMax, argMin } from "../../../ops/arg-reduce.ts";
import { cumProd, cumSum } from "../../../ops/cumulative.ts";
import type { Lowering, LoweringTable } from "../node.ts";

const argReduction =
  (op: typeof argMax): Lowering =>
  (n) =>
    op(n.input(0), {
      axis: n.int("axis", 0),
      keepDims: n.flag("keepdims", true),
      selectLastIndex: n.flag("select_last_index"),
    });

const cumulative =
  (op: typeof cumSum): Lowering =>
  (n) =>
    op(n.input(0), n.input(1), { exclusive: n.flag("exclusive"), reverse: n.flag("reverse") });

export const otherReductionLowerings: LoweringTable = {
  ArgMax: argReduction(argMax),
  ArgMin: argReduction(argMin),
  CumSum: cumulative(cumSum),
  CumProd: cumulative(cumProd),
};
