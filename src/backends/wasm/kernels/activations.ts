/**
 * The activations of an epilogue as vector functions. A product has short ones inline in its tiles. Long ones are a pass over
 * the rows that it has just written: setting up their constants takes longer than a vector takes, so that gelu is 1.7 ns per
 * number for a row and 6.2 for a vector at a time.
 */
import type { Activation } from "../../../ops/activation.ts";
import { type Expr, type FunctionBuilder, f32x4, v128 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import { constant, exp, gelu, geluTanh, log, relu, sigmoid, silu, tanh, type VectorFunction } from "./math.ts";
import { type RunFunction, runFunction } from "./vector.ts";

const clip =
  (min: number, max: number): VectorFunction =>
  (f, x) => {
    const low = min === -Infinity ? x : f32x4.pmax(x, constant(f, min));
    return max === Infinity ? low : f32x4.pmin(low, constant(f, max));
  };

const leakyRelu =
  (alpha: number): VectorFunction =>
  (f, x) => {
    const v = f.let(x);
    return v128.bitselect(f32x4.mul(v, constant(f, alpha)), v, f32x4.lt(v, constant(f, 0)));
  };

const hardSigmoid =
  (alpha: number, beta: number): VectorFunction =>
  (f, x) =>
    f32x4.pmax(
      f32x4.pmin(f32x4.add(f32x4.mul(x, constant(f, alpha)), constant(f, beta)), constant(f, 1)),
      constant(f, 0),
    );

const hardSwish: VectorFunction = (f, x) => {
  const v = f.let(x);
  return f32x4.mul(v, hardSigmoid(1 / 6, 0.5)(f, v));
};

const swish =
  (alpha: number): VectorFunction =>
  (f, x) => {
    const v = f.let(x);
    return f32x4.mul(v, sigmoid(f, f32x4.mul(v, constant(f, alpha))));
  };

/** log(1 + e^x) = max(x, 0) + log(1 + e^-|x|). */
const softplus: VectorFunction = (f, x) => {
  const v = f.let(x);
  const small = exp(f, f32x4.neg(f32x4.abs(v)));
  return f32x4.add(f32x4.max(v, constant(f, 0)), log(f, f32x4.add(small, constant(f, 1))));
};

const mish: VectorFunction = (f, x) => {
  const v = f.let(x);
  return f32x4.mul(v, tanh(f, softplus(f, v)));
};

/** e^x - 1 for x <= 0 without cancellation: with t = tanh(x / 2), 2 t / (1 - t). */
const expm1: VectorFunction = (f, x) => {
  const t = f.let(tanh(f, f32x4.mul(x, constant(f, 0.5))));
  return f32x4.div(f32x4.add(t, t), f32x4.sub(constant(f, 1), t));
};

/** alpha (e^(x / width) - 1) below zero, x above, all times gamma. */
const elu =
  (alpha: number, width = 1, gamma = 1): VectorFunction =>
  (f, x) => {
    const v = f.let(x);
    const low = expm1(f, f32x4.mul(v, constant(f, 1 / width)));
    const y = v128.bitselect(f32x4.mul(low, constant(f, alpha)), v, f32x4.lt(v, constant(f, 0)));
    return gamma === 1 ? y : f32x4.mul(y, constant(f, gamma));
  };

const thresholdedRelu =
  (alpha: number): VectorFunction =>
  (f, x) => {
    const v = f.let(x);
    return v128.andnot(v, f32x4.le(v, constant(f, alpha)));
  };

const softsign: VectorFunction = (f, x) => {
  const v = f.let(x);
  return f32x4.div(v, f32x4.add(f32x4.abs(v), constant(f, 1)));
};

interface Entry {
  readonly make: VectorFunction;
  /** A handful of instructions: inlined. */
  readonly short?: boolean;
}

function entryOf(a: Activation): Entry {
  switch (a.kind) {
    case "relu":
      return { make: relu, short: true };
    case "clip":
      return { make: clip(a.min, a.max), short: true };
    case "leakyRelu":
      return { make: leakyRelu(a.alpha), short: true };
    case "hardSigmoid":
      return { make: hardSigmoid(a.alpha, a.beta), short: true };
    case "hardSwish":
      return { make: hardSwish, short: true };
    case "sigmoid":
      return { make: sigmoid };
    case "tanh":
      return { make: tanh };
    case "silu":
      return { make: silu };
    case "swish":
      return { make: swish(a.alpha) };
    case "gelu":
      return { make: gelu };
    case "geluTanh":
      return { make: geluTanh };
    case "softplus":
      return { make: softplus };
    case "mish":
      return { make: mish };
    case "elu":
      return { make: elu(a.alpha) };
    case "celu":
      return { make: elu(a.alpha, a.alpha) };
    case "selu":
      return { make: elu(a.alpha, 1, a.gamma) };
    case "thresholdedRelu":
      return { make: thresholdedRelu(a.alpha), short: true };
    case "softsign":
      return { make: softsign, short: true };
  }
}

/** The activation as a function to be inlined. `short`: a handful of instructions. */
export function activationVector(a: Activation): { readonly make: VectorFunction; readonly short: boolean } {
  const { make, short = false } = entryOf(a);
  return { make, short };
}

/** Whether an epilogue can apply it. Not where the exponential would be of positive numbers. */
export const hasActivation = (a: Activation | undefined): boolean => a?.kind !== "celu" || a.alpha > 0;

/** Distinguishes specialised functions: `relu`, `clip(0,6)`. */
export function activationKey(a: Activation | undefined): string {
  if (!a) return "";
  const { kind, ...rest } = a;
  const values = Object.values(rest);
  return values.length ? `${kind}(${values.join()})` : kind;
}

/** An activation for `emitGemm` and `emitProduct`. */
export interface ProductActivation {
  readonly activation?: VectorFunction;
  /** Or a function for rows of the result. */
  readonly pass?: RunFunction;
}

export function productActivation(e: Pick<StepEmitter, "shared">, a: Activation | undefined): ProductActivation {
  if (!a) return {};
  const { make, short } = activationVector(a);
  if (short) return { activation: make };
  const operands = [{ element: "f32", repeated: false }] as const;
  const value = (f: FunctionBuilder, [x]: readonly Expr<"v128">[]) => make(f, x);
  return { pass: runFunction(e, { name: activationKey(a), operands, result: "f32", short, value }) };
}
