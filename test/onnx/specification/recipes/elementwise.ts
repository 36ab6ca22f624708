/** Recipes of ONNX elementwise operators, conversions, random numbers. */
import { dtypes as rows } from "../../../../src/tensor/dtype.ts";
import {
  always,
  codeOf,
  filled,
  type Given,
  node,
  of,
  type Recipe,
  type Recipes,
  random,
  scalar,
  values,
  x,
} from "../recipe.ts";

/** Before opset 7 the second operand's place is an attribute. */
const aligned = (b: Given): Recipe => node([of(2, 3, 2), b], { axis: 1, broadcast: 1 });
const broadcast = always(
  node([x, x]),
  node([of(2, 3), of(3)]),
  node([of(1), of(2, 1, 3)]),
  node([of(), of()]),
  aligned(of(3)),
);

const variadic = always(node([x]), node([x, x, x]), node([x, of(3)]));

export const elementwiseRecipes: Readonly<Record<string, Recipes>> = {
  Bernoulli: (v) => [
    random(node([filled([3], [0, 1, 0.5])], { dtype: codeOf(v, "T2"), seed: 1 })),
    ...(v.dtypes["T1"] === v.dtypes["T2"] ? [random(node([filled([3], [0, 1, 1])]))] : []),
  ],
  BitCast: (v) =>
    rows[v.dtypes["T1"]].bits === rows[v.dtypes["T2"]].bits ? [random(node([x], { to: codeOf(v, "T2") }))] : [],
  BitShift: always(node([x, x], { direction: "LEFT" }), node([x, of(3)], { direction: "RIGHT" })),
  Cast: (v) => [
    node([v.dtypes["T1"] === "string" ? values("1", "2", "0") : x], { to: codeOf(v, "T2") }),
    ...(v.dtypes["T1"] === "string"
      ? []
      : [node([x], { to: codeOf(v, "T2"), saturate: 0 }), node([x], { to: codeOf(v, "T2"), round_mode: "nearest" })]),
  ],
  CastLike: (v) => [
    node([v.dtypes["T1"] === "string" ? values("1", "2", "0") : x, of(1)]),
    ...(v.dtypes["T1"] === "string"
      ? []
      : [node([x, of(1)], { saturate: 0 }), node([x, of(1)], { round_mode: "down" })]),
  ],
  Celu: always(node([x]), node([x], { alpha: 2 })),
  Clip: ({ since }) =>
    since < 11
      ? [node([x]), node([x], { min: 1, max: 2 })]
      : [node([x]), node([x, scalar(1)]), node([x, scalar(1), scalar(2)]), node([x, undefined, scalar(2)])],
  Div: always(node([x, filled([3], [1, 2, 3])]), node([of(), scalar(2)]), aligned(filled([3], [1, 2, 3]))),
  Dropout: ({ since }) =>
    since < 12
      ? [node([x], {}, 2), node([x], { ratio: 0.5 }), node([x], { is_test: 1 })]
      : [
          node([x], {}, 2),
          node([x, scalar(0.5)], { seed: 1 }),
          random(node([x, scalar(0.5), scalar(1)], { seed: 1 }, 2)),
        ],
  Elu: always(node([x]), node([x], { alpha: 2 })),
  Gelu: always(node([x]), node([x], { approximate: "tanh" })),
  HardSigmoid: always(node([x]), node([x], { alpha: 0.5, beta: 0.25 })),
  Identity: always(node([x])),
  IsInf: always(node([x]), node([x], { detect_negative: 0 }), node([x], { detect_positive: 0 })),
  LeakyRelu: always(node([x]), node([x], { alpha: 0.5 })),
  Max: variadic,
  Mean: variadic,
  Min: variadic,
  Mod: ({ dtypes }) => {
    const divisor = filled([3], [1, 2, 3]);
    const float = rows[dtypes["T"]].kind === "float";
    return [...(float ? [] : [node([x, divisor])]), node([x, divisor], { fmod: 1 })];
  },
  Multinomial: (v) => [
    random(node([x], { dtype: codeOf(v, "T2"), sample_size: 3, seed: 1 })),
    ...(v.dtypes["T2"] === "i32" ? [random(node([x]))] : []),
  ],
  PRelu: always(node([x, of(3)]), node([x, of(1)])),
  Pow: always(node([x, x]), node([x, scalar(2)]), aligned(of(3))),
  RandomNormal: (v) => [random(node([], { shape: [2], dtype: codeOf(v, "T"), mean: 1, scale: 2, seed: 3 }))],
  RandomUniform: (v) => [random(node([], { shape: [2], dtype: codeOf(v, "T"), low: 1, high: 2, seed: 3 }))],
  RandomNormalLike: (v) => [
    random(node([x], { dtype: codeOf(v, "T2"), mean: 1, scale: 2, seed: 3 })),
    ...(v.dtypes["T1"] === v.dtypes["T2"] ? [random(node([x]))] : []),
  ],
  RandomUniformLike: (v) => [
    random(node([x], { dtype: codeOf(v, "T2"), low: 1, high: 2, seed: 3 })),
    ...(v.dtypes["T1"] === v.dtypes["T2"] ? [random(node([x]))] : []),
  ],
  Selu: always(node([x]), node([x], { alpha: 2, gamma: 3 })),
  Shrink: always(node([x]), node([x], { bias: 1, lambd: 1 })),
  Sum: variadic,
  SwiGLU: always(node([x, x]), node([x, x], { alpha: 2 })),
  Swish: always(node([x]), node([x], { alpha: 2 })),
  ThresholdedRelu: always(node([x]), node([x], { alpha: 0.5 })),
  Where: always(node([x, x, x]), node([of(3), of(), x])),
  ...Object.fromEntries(
    "Add And Equal Greater GreaterOrEqual Less LessOrEqual Mul Or Sub Xor BitwiseAnd BitwiseOr BitwiseXor"
      .split(" ")
      .map((t) => [t, broadcast]),
  ),
};
