/** ONNX reductions, arg-reductions, means and running sums -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { argMax, argMin } from "../../../ops/arg-reduce.ts";
import { add, div } from "../../../ops/binary.ts";
import { castLike } from "../../../ops/cast.ts";
import { cumProd, cumSum } from "../../../ops/cumulative.ts";
import {
  type ReduceAttrs,
  reduceL1,
  reduceL2,
  reduceLogSum,
  reduceLogSumExp,
  reduceMax,
  reduceMean,
  reduceMin,
  reduceProd,
  reduceSum,
  reduceSumSquare,
} from "../../../ops/reduce.ts";
import type { Lowering, LoweringTable } from "../node.ts";

type Reduction = (x: SymbolicValue, axes: SymbolicValue | undefined, attrs: ReduceAttrs) => SymbolicValue;

/** Axes are an attribute before opset 18 (ReduceSum: 13) and an input since. */
const reduction =
  (op: Reduction): Lowering =>
  (n) => {
    const axes = n.ints("axes");
    return op(n.input(0), n.optional(1) ?? (axes && n.i64(axes)), {
      keepDims: n.flag("keepdims", true),
      noopWithEmptyAxes: n.flag("noop_with_empty_axes"),
    });
  };

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

export const reduceLowerings: LoweringTable = {
  ReduceL1: reduction(reduceL1),
  ReduceL2: reduction(reduceL2),
  ReduceLogSum: reduction(reduceLogSum),
  ReduceLogSumExp: reduction(reduceLogSumExp),
  ReduceMax: reduction(reduceMax),
  ReduceMean: reduction(reduceMean),
  ReduceMin: reduction(reduceMin),
  ReduceProd: reduction(reduceProd),
  ReduceSum: reduction(reduceSum),
  ReduceSumSquare: reduction(reduceSumSquare),
  Mean: (n) => {
    const sum = n.rest().reduce((a, b) => add(a, b));
    return n.inputs.length === 1 ? n.input(0) : div(sum, castLike(n.i64(n.inputs.length), sum));
  },
  ArgMax: argReduction(argMax),
  ArgMin: argReduction(argMin),
  CumSum: cumulative(cumSum),
  CumProd: cumulative(cumProd),
};
