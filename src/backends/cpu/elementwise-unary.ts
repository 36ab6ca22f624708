/**
 * Unary kernels, simplest first:
 * - `any`: one loop that calls a function for each element; f32 and f64. Spares the reference its two copies.
 * - `f32`: a loop per operator with the expression inside, so that V8 keeps everything in registers, and with the
 *   functions of elementwise-math.ts in place of the calls into C.
 * - `i64`: the same in elementwise-i64.ts.
 * - `clip/f32`: the same, with bounds read at each run.
 */
import { activationOf, applyActivation } from "../../ops/activation.ts";
import { clip } from "../../ops/clip.ts";
import { isInf, isNan } from "../../ops/compare.ts";
import type { AnyOp, Attrs, OpDef } from "../../ops/op.ts";
import * as ops from "../../ops/unary.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type HostStep, hostKernel, type Kernel, kernel } from "../backend.ts";
import { unaryI64Kernels } from "./elementwise-i64.ts";
import { cosF32, erfF32, expF32, sigmoidF32, sinF32, tanhF32 } from "./elementwise-math.ts";

type Loop = (x: Float32Array, y: Float32Array) => void;
/** `a` and `b` are the attributes of the operator, or its constants. */
type ParameterLoop = (x: Float32Array, y: Float32Array, a: number, b: number) => void;

// Math.max is a branch in V8's code, and the sign of an activation is what no processor can predict: the sum with the
// absolute value has none, and is three times as fast. It fails only for infinities.
const relu: Loop = (x, y) => {
  for (let i = 0; i < y.length; i++) {
    const r = (x[i] + Math.abs(x[i])) * 0.5;
    y[i] = Number.isNaN(r) ? Math.max(x[i], 0) : r;
  }
};
const abs: Loop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.abs(x[i]);
};
const neg: Loop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = -x[i];
};
const sqrt: Loop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.sqrt(x[i]);
};
const reciprocal: Loop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = 1 / x[i];
};
const exp: Loop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = expF32(x[i]);
};
const erf: Loop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = erfF32(x[i]);
};
const sin: Loop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = sinF32(x[i]);
};
const cos: Loop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = cosF32(x[i]);
};
const sigmoid: Loop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = sigmoidF32(x[i]);
};
const tanh: Loop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = tanhF32(x[i]);
};
const hardSwish: Loop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] * Math.max(0, Math.min(1, x[i] / 6 + 0.5));
};
const gelu: Loop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = 0.5 * x[i] * (1 + erfF32(x[i] * Math.SQRT1_2));
};
const geluTanh: Loop = (x, y) => {
  // (1 + tanh(u)) / 2 is sigmoid(2u).
  const c = 2 * Math.sqrt(2 / Math.PI);
  for (let i = 0; i < y.length; i++) {
    const v = x[i];
    y[i] = v * sigmoidF32(c * v * (1 + 0.044715 * v * v));
  }
};
const swish: ParameterLoop = (x, y, alpha) => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] * sigmoidF32(alpha * x[i]);
};
const leakyRelu: ParameterLoop = (x, y, alpha) => {
  for (let i = 0; i < y.length; i++) {
    const v = x[i];
    // min(v, 0) without a branch, as in relu.
    const low = (v - Math.abs(v)) * 0.5;
    const r = v - low + alpha * low;
    y[i] = !Number.isNaN(r) ? r : v < 0 ? alpha * v : v;
  }
};
const elu: ParameterLoop = (x, y, alpha) => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] < 0 ? alpha * (expF32(x[i]) - 1) : x[i];
};
const hardSigmoid: ParameterLoop = (x, y, alpha, beta) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.max(0, Math.min(1, alpha * x[i] + beta));
};
/** clamp from 0 (ReLU6): the lower end without a branch, as in relu. */
const clampFromZero: ParameterLoop = (x, y, _, high) => {
  for (let i = 0; i < y.length; i++) {
    const r = (x[i] + Math.abs(x[i])) * 0.5;
    y[i] = Math.min(Number.isNaN(r) ? Math.max(x[i], 0) : r, high);
  }
};
const clamp: ParameterLoop = (x, y, low, high) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.min(Math.max(x[i], low), high);
};

const f32Pair = (x: TensorType, y: TensorType): boolean => x.dtype === "f32" && y.dtype === "f32";

const plain = (op: AnyOp, loop: Loop): Kernel<HostStep> =>
  kernel(op, `cpu/${op.op.name}/f32`, ([x], [y]) =>
    f32Pair(x, y) ? { inplace: true, run: ([a], [b]) => loop(a as Float32Array, b as Float32Array) } : undefined,
  );

/** A loop with parameters that it finds in the operator's attributes. */
const parametric = (
  op: AnyOp,
  loop: ParameterLoop,
  parameters: (attrs: Attrs) => readonly [number, number?],
): Kernel<HostStep> =>
  kernel(op, `cpu/${op.op.name}/f32`, ([x], [y], attrs) => {
    if (!f32Pair(x, y)) return undefined;
    const [a, b = 0] = parameters(attrs as Attrs);
    return { inplace: true, run: ([p], [q]) => loop(p as Float32Array, q as Float32Array, a, b) };
  });

const alphaOf =
  (op: AnyOp) =>
  (attrs: Attrs): readonly [number, number?] => {
    const a = activationOf(op.op.name, attrs);
    return a?.kind === "hardSigmoid" ? [a.alpha, a.beta] : [a && "alpha" in a ? a.alpha : 1];
  };

/** The operators whose meaning is one function of a number. */
function functionOf(op: OpDef, attrs: Attrs): ((x: number) => number) | undefined {
  const a = activationOf(op.name, attrs);
  if (a) return (x) => applyActivation(a, x);
  return (ops.unaryFunctions as Record<string, (x: number) => number>)[op.name];
}

function map(x: TypedArray, y: TypedArray, f: (x: number) => number): void {
  for (let i = 0; i < y.length; i++) y[i] = f(x[i] as number);
}

const any = (op: AnyOp): Kernel<HostStep> =>
  kernel(op, `cpu/${op.op.name}/any`, ([x], _, attrs) => {
    const f = functionOf(op.op, attrs as Attrs);
    if (!f || (x.dtype !== "f32" && x.dtype !== "f64")) return undefined;
    return { inplace: true, run: ([a], [b]) => map(a, b, f) };
  });

const clipF32 = kernel(clip, "cpu/clip/f32", ([x, min, max], [y]): HostStep | undefined => {
  if (!f32Pair(x, y)) return undefined;
  return {
    inplace: true,
    run([a, lo, hi], [b]) {
      const low = min ? (lo[0] as number) : -Infinity;
      const high = max ? (hi[0] as number) : Infinity;
      const loop = low === 0 ? clampFromZero : clamp;
      loop(a as Float32Array, b as Float32Array, low, high);
    },
  };
});

const isInfinite = (x: Float32Array, y: Uint8Array, a: number, b: number): void => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] === a || x[i] === b ? 1 : 0;
};
const isNotANumber = (x: Float32Array, y: Uint8Array): void => {
  for (let i = 0; i < y.length; i++) y[i] = Number.isNaN(x[i]) ? 1 : 0;
};
const shrunk = (x: Float32Array, y: Float32Array, lambda: number, bias: number): void => {
  for (let i = 0; i < y.length; i++) {
    const v = x[i];
    y[i] = v < -lambda ? v + bias : v > lambda ? v - bias : 0;
  }
};

const tests: readonly Kernel<HostStep>[] = [
  hostKernel(isNan, "cpu/isNan/f32", ([x]) =>
    x.dtype === "f32" ? { run: ([a], [b]) => isNotANumber(a as Float32Array, b as Uint8Array) } : undefined,
  ),
  hostKernel(isInf, "cpu/isInf/f32", ([x], _, { detectNegative = true, detectPositive = true }) => {
    if (x.dtype !== "f32") return undefined;
    const [low, high] = [detectNegative ? -Infinity : NaN, detectPositive ? Infinity : NaN];
    return { run: ([a], [b]) => isInfinite(a as Float32Array, b as Uint8Array, low, high) };
  }),
  hostKernel(ops.shrink, "cpu/shrink/f32", ([x], _, { bias = 0, lambda = 0.5 }) =>
    x.dtype === "f32"
      ? { inplace: true, run: ([a], [b]) => shrunk(a as Float32Array, b as Float32Array, lambda, bias) }
      : undefined,
  ),
];

const functional: readonly AnyOp[] = [
  ops.abs,
  ops.neg,
  ops.sign,
  ops.floor,
  ops.ceil,
  ops.round,
  ops.sqrt,
  ops.reciprocal,
  ops.exp,
  ops.log,
  ops.erf,
  ops.sin,
  ops.cos,
  ops.tan,
  ops.asin,
  ops.acos,
  ops.atan,
  ops.sinh,
  ops.cosh,
  ops.asinh,
  ops.acosh,
  ops.atanh,
  ...ops.activationOps,
];

export const unaryKernels: readonly Kernel<HostStep>[] = [
  plain(ops.relu, relu),
  plain(ops.abs, abs),
  plain(ops.neg, neg),
  plain(ops.sqrt, sqrt),
  plain(ops.reciprocal, reciprocal),
  plain(ops.exp, exp),
  plain(ops.erf, erf),
  plain(ops.sin, sin),
  plain(ops.cos, cos),
  plain(ops.sigmoid, sigmoid),
  plain(ops.tanh, tanh),
  plain(ops.hardSwish, hardSwish),
  kernel(ops.gelu, "cpu/gelu/f32", ([x], [y], { approximate }) => {
    if (!f32Pair(x, y)) return undefined;
    const loop = approximate === "tanh" ? geluTanh : gelu;
    return { inplace: true, run: ([a], [b]) => loop(a as Float32Array, b as Float32Array) };
  }),
  parametric(ops.silu, swish, () => [1]),
  parametric(ops.swish, swish, alphaOf(ops.swish)),
  parametric(ops.leakyRelu, leakyRelu, alphaOf(ops.leakyRelu)),
  parametric(ops.elu, elu, alphaOf(ops.elu)),
  parametric(ops.hardSigmoid, hardSigmoid, alphaOf(ops.hardSigmoid)),
  clipF32,
  ...unaryI64Kernels,
  ...tests,
  ...functional.map(any),
];
