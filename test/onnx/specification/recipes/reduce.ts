/** Recipes of ONNX reductions. */
import { always, axesSince, node, type Recipes, scalar, x } from "../recipe.ts";

const reduce =
  (since: number): Recipes =>
  (v) => [
    ...axesSince(since, x, [1])(v),
    ...axesSince(since, x, [0, -1], { keepdims: 0 })(v),
    node([x], { noop_with_empty_axes: 1 }),
  ];

export const reduceRecipes: Readonly<Record<string, Recipes>> = {
  ArgMax: always(node([x]), node([x], { axis: -1, keepdims: 0 }), node([x], { select_last_index: 1 })),
  ArgMin: always(node([x]), node([x], { axis: -1, keepdims: 0 }), node([x], { select_last_index: 1 })),
  CumProd: always(node([x, scalar(0)]), node([x, scalar(-1)], { reverse: 1, exclusive: 1 })),
  CumSum: always(node([x, scalar(0)]), node([x, scalar(-1)], { reverse: 1, exclusive: 1 })),
  ReduceL1: reduce(18),
  ReduceL2: reduce(18),
  ReduceLogSum: reduce(18),
  ReduceLogSumExp: reduce(18),
  ReduceMax: reduce(18),
  ReduceMean: reduce(18),
  ReduceMin: reduce(18),
  ReduceProd: reduce(18),
  ReduceSum: reduce(13),
  ReduceSumSquare: reduce(18),
};
