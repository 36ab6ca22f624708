/** ONNX reductions and means -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { add, div } from "../../../ops/binary.ts";
import { castLike } from "../../../ops/cast.ts";
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
};
