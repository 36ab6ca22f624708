/** Function bodies of the ONNX standard, and inputs to try them on. Source: the operators' definitions in onnx/defs. */
import fc from "fast-check";
import type { DType } from "../../../src/tensor/dtype.ts";
import type { HostTensor } from "../../../src/tensor/tensor.ts";
import { shapeOf, tensorFrom, type ValueRange } from "../../cases/case.ts";
import type { AttributeSpec } from "../encode.ts";

export interface Body {
  readonly opset: number;
  readonly inputs: string[];
  readonly outputs: string[];
  /** Nodes: `a, b = Type(x, y; axis=0, alpha=@alpha)`, where `@` stands for an attribute of the function. */
  readonly lines: readonly string[];
  readonly attributes?: Readonly<Record<string, fc.Arbitrary<AttributeSpec>>>;
  readonly given: fc.Arbitrary<HostTensor[]>;
}

const float = (min: number, max: number): fc.Arbitrary<AttributeSpec> =>
  fc.double({ min, max, noNaN: true }).map((v) => ({ float: Math.fround(v) }));

const floats: readonly DType[] = ["f32", "f32", "f64", "f16"];

/** Tensors of one dtype; the shapes of those after the first are made from the first's. */
const given = (
  others: readonly ((shape: readonly number[]) => readonly number[])[] = [],
  dtypes: readonly DType[] = floats,
  range: ValueRange = { min: -4, max: 4 },
  shapes: fc.Arbitrary<number[]> = shapeOf(1, 4, 6),
): fc.Arbitrary<HostTensor[]> =>
  fc
    .record({ shape: shapes, dtype: fc.constantFrom(...dtypes), seed: fc.nat() })
    .map(({ shape, dtype, seed }) =>
      [shape, ...others.map((of) => of(shape))].map((s, i) => tensorFrom(seed + i, dtype, s, range)),
    );

/** One input, one output. A number `c` as a tensor of x's dtype: `c = Constant(; value_float=1f)`, then `CastLike`. */
const unary = (
  opset: number,
  lines: readonly string[],
  attributes: Body["attributes"] = {},
  range?: ValueRange,
): Body => ({
  opset,
  inputs: ["X"],
  outputs: ["Y"],
  lines,
  attributes,
  given: given([], floats, range),
});

/** Constants of X's dtype. */
const constants = (of: Readonly<Record<string, string>>): string[] =>
  Object.entries(of).flatMap(([name, value]) => [
    `${name}Float = Constant(; value_float=${value})`,
    `${name} = CastLike(${name}Float, X)`,
  ]);

/** A window of the cosines of 2 pi i / (size - 1 + periodic). */
const window = (a0: number, a1: number, a2: number): Body => ({
  opset: 17,
  inputs: ["size"],
  outputs: ["Y"],
  lines: [
    "sizeFloat = Cast(size; to=1)",
    "zero = Constant(; value_float=0f)",
    "one = Constant(; value_float=1f)",
    "two = Constant(; value_float=2f)",
    `a0 = Constant(; value_float=${a0}f)`,
    `a1 = Constant(; value_float=${a1}f)`,
    `a2 = Constant(; value_float=${a2}f)`,
    `twoPi = Constant(; value_float=${2 * Math.PI}f)`,
    "range = Range(zero, sizeFloat, one)",
    "turns = Div(range, sizeFloat)",
    "angle = Mul(turns, twoPi)",
    "double = Mul(angle, two)",
    "cos1 = Cos(angle)",
    "cos2 = Cos(double)",
    "term1 = Mul(a1, cos1)",
    "term2 = Mul(a2, cos2)",
    "first = Sub(a0, term1)",
    "Y = Add(first, term2)",
  ],
  given: fc.integer({ min: 1, max: 40 }).map((n) => [{ dtype: "i64", shape: [], data: BigInt64Array.of(BigInt(n)) }]),
});

/** [batch, channels, ...spatial] for a number of groups or blocks that divides the channels. */
const imagesOf = (channels: number): fc.Arbitrary<number[]> =>
  fc
    .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }), shapeOf(2, 2, 4))
    .map(([n, c, spatial]) => [n, c * channels, ...spatial]);

export const bodies: Readonly<Record<string, Body>> = {
  Celu: {
    ...unary(
      12,
      [
        "alpha = Constant(; value_float=@alpha)",
        "scaled = Div(X, alpha)",
        "elu = Elu(scaled; alpha=1f)",
        "Y = Mul(alpha, elu)",
      ],
      { alpha: float(0.1, 3) },
    ),
    given: given([], ["f32"]),
  },
  DynamicQuantizeLinear: {
    opset: 11,
    inputs: ["x"],
    outputs: ["y", "y_scale", "y_zero_point"],
    lines: [
      "Q_Min = Constant(; value_float=0f)",
      "Q_Max = Constant(; value_float=255f)",
      "X_Min = ReduceMin(x; keepdims=0)",
      "X_Min_Adjusted = Min(X_Min, Q_Min)",
      "X_Max = ReduceMax(x; keepdims=0)",
      "X_Max_Adjusted = Max(X_Max, Q_Min)",
      "X_Range = Sub(X_Max_Adjusted, X_Min_Adjusted)",
      "Scale = Div(X_Range, Q_Max)",
      "Min_Scaled = Div(X_Min_Adjusted, Scale)",
      "Initial_ZeroPoint_FP = Sub(Q_Min, Min_Scaled)",
      "Clipped_ZeroPoint_FP = Clip(Initial_ZeroPoint_FP, Q_Min, Q_Max)",
      "Rounded_ZeroPoint_FP = Round(Clipped_ZeroPoint_FP)",
      "Zeropoint = Cast(Rounded_ZeroPoint_FP; to=2)",
      "y_scale = Identity(Scale)",
      "y_zero_point = Identity(Zeropoint)",
      "y = QuantizeLinear(x, Scale, Zeropoint)",
    ],
    given: given([], ["f32"]),
  },
  GreaterOrEqual: {
    opset: 16,
    inputs: ["A", "B"],
    outputs: ["C"],
    lines: ["more = Greater(A, B)", "same = Equal(A, B)", "C = Or(more, same)"],
    given: given([(s) => s.slice(-1)], [...floats, "i32", "i64", "u8", "u64"]),
  },
  HannWindow: window(0.5, 0.5, 0),
  HammingWindow: window(25 / 46, 1 - 25 / 46, 0),
  BlackmanWindow: window(0.42, 0.5, 0.08),
  HardSigmoid: unary(
    18,
    [
      ...constants({ Alpha: "@alpha", Beta: "@beta", One: "1f", Zero: "0f" }),
      "AlphaMulX = Mul(X, Alpha)",
      "AlphaMulXPlusBeta = Add(AlphaMulX, Beta)",
      "MinOneOrAlphaMulXPlusBeta = Min(AlphaMulXPlusBeta, One)",
      "Y = Max(MinOneOrAlphaMulXPlusBeta, Zero)",
    ],
    { alpha: float(-1, 1), beta: float(-1, 1) },
  ),
  HardSwish: unary(14, ["gate = HardSigmoid(X; alpha=0.16666666666666666f, beta=0.5f)", "Y = Mul(X, gate)"]),
  MeanVarianceNormalization: {
    ...unary(18, [
      ...constants({ Exponent: "2f", Epsilon: "1e-9f" }),
      "axes = Constant(; value_ints=[0,2,3])",
      "X_RM = ReduceMean(X, axes)",
      "EX_squared = Pow(X_RM, Exponent)",
      "X_squared = Pow(X, Exponent)",
      "E_Xsquared = ReduceMean(X_squared, axes)",
      "Variance = Sub(E_Xsquared, EX_squared)",
      "STD = Sqrt(Variance)",
      "X_variance = Sub(X, X_RM)",
      "Processed_STD = Add(STD, Epsilon)",
      "Y = Div(X_variance, Processed_STD)",
    ]),
    // More than one element a channel: of one, the deviation is 0 but for rounding.
    given: given([], ["f32", "f64"], {}, fc.constantFrom([2, 3, 4, 5], [1, 2, 3, 3], [3, 1, 2, 2])),
  },
  PRelu: {
    opset: 16,
    inputs: ["X", "slope"],
    outputs: ["Y"],
    lines: [
      ...constants({ Zero: "0f" }),
      "negative = Less(X, Zero)",
      "scaled = Mul(slope, X)",
      "Y = Where(negative, scaled, X)",
    ],
    given: given([(s) => s.map((d, i) => (i % 2 ? d : 1))]),
  },
  ReduceL1: {
    opset: 18,
    inputs: ["X"],
    outputs: ["Y"],
    lines: ["abs = Abs(X)", "Y = ReduceSum(abs)"],
    given: given(),
  },
  ReduceLogSum: {
    opset: 18,
    inputs: ["X"],
    outputs: ["Y"],
    lines: ["sum = ReduceSum(X)", "Y = Log(sum)"],
    given: given([], floats, { min: 0.5, max: 2 }),
  },
  Relu: unary(18, [...constants({ Zero: "0f" }), "Y = Max(X, Zero)"]),
  Shrink: unary(
    18,
    [
      ...constants({ Lambd: "@lambd", Bias: "@bias", Zero: "0f" }),
      "NegLmbda = Neg(Lambd)",
      "InputLessThanNegLambda = Less(X, NegLmbda)",
      "InputAddBias = Add(X, Bias)",
      "InputSubBias = Sub(X, Bias)",
      "LambdaLessThanInput = Less(Lambd, X)",
      "InputSubBiasOrZero = Where(LambdaLessThanInput, InputSubBias, Zero)",
      "Y = Where(InputLessThanNegLambda, InputAddBias, InputSubBiasOrZero)",
    ],
    { lambd: float(0, 2), bias: float(-1, 1) },
  ),
  Softplus: unary(18, [...constants({ One: "1f" }), "exp = Exp(X)", "more = Add(exp, One)", "Y = Log(more)"]),
  Softsign: unary(18, [...constants({ One: "1f" }), "abs = Abs(X)", "more = Add(One, abs)", "Y = Div(X, more)"]),
  Swish: unary(
    24,
    [...constants({ Alpha: "@alpha" }), "scaled = Mul(X, Alpha)", "gate = Sigmoid(scaled)", "Y = Mul(X, gate)"],
    { alpha: float(-2, 2) },
  ),
  ThresholdedRelu: unary(
    18,
    [...constants({ Alpha: "@alpha", Zero: "0f" }), "less = Less(Alpha, X)", "Y = Where(less, X, Zero)"],
    { alpha: float(-1, 2) },
  ),
  Gelu: unary(20, [
    ...constants({ Half: "0.5f", One: "1f", Two: "2f" }),
    "root = Sqrt(Two)",
    "scaled = Div(X, root)",
    "erf = Erf(scaled)",
    "more = Add(One, erf)",
    "phi = Mul(Half, more)",
    "Y = Mul(X, phi)",
  ]),
  Softmax: unary(18, [
    "axes = Constant(; value_ints=[-1])",
    "max = ReduceMax(X, axes)",
    "less = Sub(X, max)",
    "exp = Exp(less)",
    "sum = ReduceSum(exp, axes)",
    "Y = Div(exp, sum)",
  ]),
  GroupNormalization: {
    opset: 21,
    inputs: ["X", "scale", "bias"],
    outputs: ["Y"],
    // num_groups is 2, and the body knows: [0, 2, -1] is the grouped shape.
    lines: [
      ...constants({ Epsilon: "@epsilon" }),
      "grouped = Constant(; value_ints=[0,2,-1])",
      "flat = Constant(; value_ints=[0,0,-1])",
      "column = Constant(; value_ints=[1,-1,1])",
      "last = Constant(; value_ints=[2])",
      "shape = Shape(X)",
      "groups = Reshape(X, grouped)",
      "mean = ReduceMean(groups, last)",
      "centred = Sub(groups, mean)",
      "square = Mul(centred, centred)",
      "variance = ReduceMean(square, last)",
      "padded = Add(variance, Epsilon)",
      "deviation = Sqrt(padded)",
      "normal = Div(centred, deviation)",
      "back = Reshape(normal, shape)",
      "channels = Reshape(back, flat)",
      "weight = Reshape(scale, column)",
      "offset = Reshape(bias, column)",
      "scaled = Mul(channels, weight)",
      "moved = Add(scaled, offset)",
      "Y = Reshape(moved, shape)",
    ],
    attributes: { epsilon: float(1e-3, 1e-1), num_groups: fc.constant({ int: 2 }) },
    given: given([(s) => [s[1]], (s) => [s[1]]], ["f32", "f64"], {}, imagesOf(2)),
  },
  DepthToSpace: {
    opset: 13,
    inputs: ["X"],
    outputs: ["Y"],
    // blocksize is 2: the channels of [n, 4 c, h, w] become [n, 2, 2, c, h, w].
    lines: [
      "zero = Constant(; value_ints=[0])",
      "one = Constant(; value_ints=[1])",
      "two = Constant(; value_ints=[2])",
      "four = Constant(; value_ints=[4])",
      "three = Constant(; value_ints=[3])",
      "shape = Shape(X)",
      "n = Slice(shape, zero, one)",
      "c4 = Slice(shape, one, two)",
      "h = Slice(shape, two, three)",
      "w = Slice(shape, three, four)",
      "c = Div(c4, four)",
      "h2 = Mul(h, two)",
      "w2 = Mul(w, two)",
      "apart = Concat(n, two, two, c, h, w; axis=0)",
      "joined = Concat(n, c, h2, w2; axis=0)",
      "blocks = Reshape(X, apart)",
      "moved = Transpose(blocks; perm=[0,3,4,1,5,2])",
      "Y = Reshape(moved, joined)",
    ],
    attributes: { blocksize: fc.constant({ int: 2 }) },
    given: given([], ["f32", "i32", "u8", "f16"], {}, imagesOf(4)),
  },
  SwiGLU: {
    opset: 28,
    inputs: ["A", "B"],
    outputs: ["Y"],
    lines: ["sigmoid = Sigmoid(A)", "swish = Mul(A, sigmoid)", "Y = Mul(swish, B)"],
    given: given([(s) => s]),
  },
};
