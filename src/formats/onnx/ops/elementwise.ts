/** ONNX elementwise operators -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { add, div, max, min, mod, mul, pow, prelu, sub, swiglu } from "../../../ops/binary.ts";
import { clip } from "../../../ops/clip.ts";
import * as unary from "../../../ops/unary.ts";
import type { Lowering, LoweringTable, OnnxNode } from "../node.ts";
import { alignedAt, binary } from "./aligned.ts";
import { choice } from "./choice.ts";

type Apply1 = (x: SymbolicValue) => SymbolicValue;
type Apply2 = (a: SymbolicValue, b: SymbolicValue) => SymbolicValue;

const of1 =
  (f: Apply1): Lowering =>
  (n) =>
    f(n.input(0));
/** Variadic operators as a chain of the binary one. */
const chain = (n: OnnxNode, f: Apply2): SymbolicValue => [n.input(0), ...n.rest(1)].reduce(f);

function constant(n: OnnxNode, value: number | undefined): SymbolicValue | undefined {
  return value === undefined
    ? undefined
    : n.builder.constant({ dtype: "f32", shape: [], data: Float32Array.of(value) });
}

export const elementwiseLowerings: LoweringTable = {
  // Another name for the same value: tensors, sequences and optionals alike.
  Identity: (n) => n.input(0),
  Abs: of1((x) => unary.abs(x)),
  Neg: of1((x) => unary.neg(x)),
  Sign: of1((x) => unary.sign(x)),
  Floor: of1((x) => unary.floor(x)),
  Ceil: of1((x) => unary.ceil(x)),
  Round: of1((x) => unary.round(x)),
  Sqrt: of1((x) => unary.sqrt(x)),
  Reciprocal: of1((x) => unary.reciprocal(x)),
  Exp: of1((x) => unary.exp(x)),
  Log: of1((x) => unary.log(x)),
  Erf: of1((x) => unary.erf(x)),
  Sin: of1((x) => unary.sin(x)),
  Cos: of1((x) => unary.cos(x)),
  Tan: of1((x) => unary.tan(x)),
  Asin: of1((x) => unary.asin(x)),
  Acos: of1((x) => unary.acos(x)),
  Atan: of1((x) => unary.atan(x)),
  Sinh: of1((x) => unary.sinh(x)),
  Cosh: of1((x) => unary.cosh(x)),
  Tanh: of1((x) => unary.tanh(x)),
  Asinh: of1((x) => unary.asinh(x)),
  Acosh: of1((x) => unary.acosh(x)),
  Atanh: of1((x) => unary.atanh(x)),

  Relu: of1((x) => unary.relu(x)),
  Sigmoid: of1((x) => unary.sigmoid(x)),
  HardSwish: of1((x) => unary.hardSwish(x)),
  Softplus: of1((x) => unary.softplus(x)),
  Softsign: of1((x) => unary.softsign(x)),
  Mish: of1((x) => unary.mish(x)),
  HardSigmoid: (n) =>
    unary.hardSigmoid(n.input(0), { alpha: n.float("alpha", Math.fround(0.2)), beta: n.float("beta", 0.5) }),
  LeakyRelu: (n) => unary.leakyRelu(n.input(0), { alpha: n.float("alpha", 0.01) }),
  Elu: (n) => unary.elu(n.input(0), { alpha: n.float("alpha", 1) }),
  Celu: (n) => unary.celu(n.input(0), { alpha: n.float("alpha", 1) }),
  Selu: (n) => unary.selu(n.input(0), { alpha: n.float("alpha"), gamma: n.float("gamma") }),
  ThresholdedRelu: (n) => unary.thresholdedRelu(n.input(0), { alpha: n.float("alpha", 1) }),
  Swish: (n) => unary.swish(n.input(0), { alpha: n.float("alpha", 1) }),
  Gelu: (n) => unary.gelu(n.input(0), { approximate: choice(n, "approximate", ["none", "tanh"]) }),
  Shrink: (n) => unary.shrink(n.input(0), { bias: n.float("bias", 0), lambda: n.float("lambd", 0.5) }),
  PRelu: (n) => {
    const [x, slope] = [n.input(0), n.input(1)];
    // One slope for each channel, before there was broadcasting.
    return prelu(x, n.opset < 7 ? alignedAt(n, x, slope, 1) : slope);
  },
  SwiGLU: (n) => swiglu(n.input(0), n.input(1), { alpha: n.float("alpha", 1) }),
  "com.microsoft::Gelu": of1((x) => unary.gelu(x)),
  "com.microsoft::BiasGelu": (n) => unary.gelu(add(n.input(0), n.input(1))),
  "com.microsoft::FastGelu": (n) => {
    const bias = n.optional(1);
    return unary.gelu(bias ? add(n.input(0), bias) : n.input(0), { approximate: "tanh" });
  },
  "com.microsoft::QuickGelu": (n) => unary.swish(n.input(0), { alpha: n.float("alpha", 1.702) }),

  Add: binary((a, b) => add(a, b)),
  Sub: binary((a, b) => sub(a, b)),
  Mul: binary((a, b) => mul(a, b)),
  Div: binary((a, b) => div(a, b)),
  Pow: binary((a, b) => pow(a, b)),
  Mod: (n) => mod(n.input(0), n.input(1), { fmod: n.flag("fmod") }),
  Min: (n) => chain(n, (a, b) => min(a, b)),
  Max: (n) => chain(n, (a, b) => max(a, b)),
  Sum: (n) => chain(n, (a, b) => add(a, b)),

  // Bounds are attributes before opset 11, and may be infinite there by not being given.
  Clip: (n) =>
    n.opset < 11
      ? clip(n.input(0), constant(n, n.float("min")), constant(n, n.float("max")))
      : clip(n.input(0), n.optional(1), n.optional(2)),
};
