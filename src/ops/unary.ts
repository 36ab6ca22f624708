/** One tensor in, one of the same shape and dtype out. DTypeError for dtypes outside the operator's domain. */
import { roundHalfEven } from "../tensor/float.ts";
import { activationOf, applyActivation } from "./activation.ts";
import { copyElements } from "./copy.ts";
import { type Domain, expectDomain, type FloatUnary, type IntUnary, mapUnary } from "./elementwise.ts";
import { type AnyOp, defineOp, type Op } from "./op.ts";
import { erf as erfOf } from "./special.ts";

type Unary<A = object> = Op<["x"], never, readonly ["y"], A>;

/** What the operators of these names do to a number. Kernels without a loop of their own use them too. */
export const unaryFunctions = {
  abs: Math.abs,
  neg: (x) => -x,
  sign: Math.sign,
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfEven,
  sqrt: Math.sqrt,
  reciprocal: (x) => 1 / x,
  exp: Math.exp,
  log: Math.log,
  erf: erfOf,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  asinh: Math.asinh,
  acosh: Math.acosh,
  atanh: Math.atanh,
} satisfies Record<string, FloatUnary>;

function unary(name: keyof typeof unaryFunctions, domain: Domain = "float", integer?: IntUnary): Unary {
  return defineOp({
    name,
    inputs: ["x"],
    inplace: true,
    infer([x]) {
      expectDomain(name, domain, x);
      return { dtype: x.dtype, shape: x.shape };
    },
    reference([x], _, [y]) {
      mapUnary(x, y, unaryFunctions[name], integer);
    },
  });
}

/** The operators that are activations: their meaning is in activation.ts. */
function activation<A extends object = object>(name: string, domain: Domain = "float", integer?: IntUnary): Unary<A> {
  return defineOp({
    name,
    inputs: ["x"],
    inplace: true,
    infer([x], _: A) {
      expectDomain(name, domain, x);
      return { dtype: x.dtype, shape: x.shape };
    },
    reference([x], attrs, [y]) {
      const a = activationOf(name, attrs as Record<string, unknown>);
      mapUnary(x, y, (v) => applyActivation(a, v), integer);
    },
  });
}

/** The same tensor. Any dtype. */
export const identity = /* @__PURE__ */ defineOp({
  name: "identity",
  inputs: ["x"],
  view: true,
  infer([x]) {
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x], _, [y]) {
    copyElements(x, y);
  },
});

const absBig: IntUnary = (x) => (x < 0n ? -x : x);
const signBig: IntUnary = (x) => (x > 0n ? 1n : x < 0n ? -1n : 0n);

export const abs = /* @__PURE__ */ unary("abs", "numeric", absBig);
export const neg = /* @__PURE__ */ unary("neg", "signed", (x) => -x);
/** -1, 0 or 1; NaN stays NaN. */
export const sign = /* @__PURE__ */ unary("sign", "numeric", signBig);
export const floor = /* @__PURE__ */ unary("floor");
export const ceil = /* @__PURE__ */ unary("ceil");
/** To the nearest integer, halves to even. */
export const round = /* @__PURE__ */ unary("round");
export const sqrt = /* @__PURE__ */ unary("sqrt");
export const reciprocal = /* @__PURE__ */ unary("reciprocal");
export const exp = /* @__PURE__ */ unary("exp");
export const log = /* @__PURE__ */ unary("log");
export const erf = /* @__PURE__ */ unary("erf", "numeric");
export const sin = /* @__PURE__ */ unary("sin");
export const cos = /* @__PURE__ */ unary("cos");
export const tan = /* @__PURE__ */ unary("tan");
export const asin = /* @__PURE__ */ unary("asin");
export const acos = /* @__PURE__ */ unary("acos");
export const atan = /* @__PURE__ */ unary("atan");
export const sinh = /* @__PURE__ */ unary("sinh");
export const cosh = /* @__PURE__ */ unary("cosh");
export const asinh = /* @__PURE__ */ unary("asinh");
export const acosh = /* @__PURE__ */ unary("acosh");
export const atanh = /* @__PURE__ */ unary("atanh");

export interface AlphaAttrs {
  alpha?: number;
}

/** max(x, 0), integers too. */
export const relu = /* @__PURE__ */ activation("relu", "numeric", (x) => (x > 0n ? x : 0n));
export const sigmoid = /* @__PURE__ */ activation("sigmoid");
export const tanh = /* @__PURE__ */ activation("tanh");
/** x sigmoid(x). */
export const silu = /* @__PURE__ */ activation("silu");
/** x sigmoid(alpha x). alpha: default 1. */
export const swish = /* @__PURE__ */ activation<AlphaAttrs>("swish");
/** Gaussian error linear unit (Hendrycks and Gimpel 2016): exact, or with `approximate: "tanh"` the common estimate. */
export const gelu = /* @__PURE__ */ activation<{ approximate?: "none" | "tanh" }>("gelu");
/** max(0, min(1, alpha x + beta)). alpha: default 0.2, beta: default 0.5. */
export const hardSigmoid = /* @__PURE__ */ activation<{ alpha?: number; beta?: number }>("hardSigmoid");
export const hardSwish = /* @__PURE__ */ activation("hardSwish");
/** alpha x below 0. alpha: default 0.01. */
export const leakyRelu = /* @__PURE__ */ activation<AlphaAttrs>("leakyRelu");
/** alpha (exp(x) - 1) below 0. alpha: default 1. */
export const elu = /* @__PURE__ */ activation<AlphaAttrs>("elu");
/** alpha (exp(x / alpha) - 1) below 0. alpha: default 1. */
export const celu = /* @__PURE__ */ activation<AlphaAttrs>("celu");
/** Self-normalizing networks (Klambauer et al. 2017), with that paper's constants by default. */
export const selu = /* @__PURE__ */ activation<{ alpha?: number; gamma?: number }>("selu");
/** x above alpha, else 0. alpha: default 1. */
export const thresholdedRelu = /* @__PURE__ */ activation<AlphaAttrs>("thresholdedRelu");
export const softplus = /* @__PURE__ */ activation("softplus");
export const softsign = /* @__PURE__ */ activation("softsign");
/** x tanh(softplus(x)). */
export const mish = /* @__PURE__ */ activation("mish");

export interface ShrinkAttrs {
  /** Default 0. */
  bias?: number;
  /** Default 0.5. */
  lambda?: number;
}

/** x + bias below -lambda, x - bias above lambda, else 0. */
export const shrink = /* @__PURE__ */ defineOp({
  name: "shrink",
  inputs: ["x"],
  inplace: true,
  infer([x], _: ShrinkAttrs) {
    expectDomain("shrink", "numeric", x);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x], { bias = 0, lambda = 0.5 }, [y]) {
    mapUnary(x, y, (v) => (v < -lambda ? v + bias : v > lambda ? v - bias : 0));
  },
});

/** The operators that activations of the same names are, for backends that make kernels of `activationOf`. */
export const activationOps: readonly AnyOp[] = [
  relu,
  sigmoid,
  tanh,
  silu,
  swish,
  gelu,
  hardSigmoid,
  hardSwish,
  leakyRelu,
  elu,
  celu,
  selu,
  thresholdedRelu,
  softplus,
  softsign,
  mish,
];
