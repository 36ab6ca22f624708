/**
 * Pieces of kernel code. A kernel is one or more passes; each is the body of a JavaScript function that gives element
 * `this.thread.x` of a flat result. Indices are floats in the shader, exact below 2^24, which bounds every tensor here.
 */
import type { Activation } from "../../ops/activation.ts";
import type { AnyOp, AttrsOf } from "../../ops/op.ts";
import { broadcastStrides, type Shape, sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type Kernel, type KernelInput, kernel, type Step } from "../backend.ts";

const isNan = "(floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u";

/** GLSL for what `gpu.js` has no exact form of. */
export const natives = {
  // Divisions of floats round: 9 / 3 may be a little less than 3.
  quotient: "float quotient(float a, float b) { return float(int(a) / int(b)); }",
  remainder: "float remainder(float a, float b) { int i = int(a); int n = int(b); return float(i - n * (i / n)); }",
  // Of NaN, by its bits, drivers make finite numbers, and logarithms of what has none.
  expOf: `float expOf(float x) { return ${isNan} ? x : exp(x); }`,
  logOf: `float logOf(float x) {
    if (${isNan} || x < 0.0) return uintBitsToFloat(0x7fc00000u);
    return x == 0.0 ? uintBitsToFloat(0xff800000u) : floatBitsToUint(x) == 0x7f800000u ? x : log(x);
  }`,
  // The one of the host may overflow.
  tanhOf: `float tanhOf(float x) { return ${isNan} ? x : 1.0 - 2.0 / (exp(2.0 * x) + 1.0); }`,
  softplusOf: `float softplusOf(float x) { return ${isNan} ? x : max(x, 0.0) + log(1.0 + exp(-abs(x))); }`,
  // Abramowitz and Stegun 7.1.26: off by 1.5e-7 at most.
  erfOf: `float erfOf(float x) {
    float t = 1.0 / (1.0 + 0.3275911 * abs(x));
    float p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - p * exp(-x * x));
  }`,
};

export interface Pass {
  /** Elements it computes. */
  readonly count: number;
  /** Sees the inputs by the operator's names for them, and earlier passes as `pass0`, `pass1`. */
  readonly body: string;
}

export interface GpuStep extends Step {
  readonly passes: readonly Pass[];
  /** Names of the inputs that are there, with their positions. */
  readonly parameters: readonly (readonly [name: string, input: number])[];
}

export const isGpuStep = (s: Step): s is GpuStep => "passes" in s;

const maxElements = 1 << 24;
const fits = (t: TensorType): boolean => t.dtype === "f32" && sizeOf(t.shape) > 0 && sizeOf(t.shape) < maxElements;

/** What a clip's ends are where there are none, which are not written. */
const openEnds: Readonly<Record<string, number>> = { min: -Infinity, max: Infinity };

/** Whether shaders have text for the numbers among attributes, and among those of an activation. */
const areWritable = (attrs: object): boolean =>
  Object.entries(attrs).every(([name, v]) => {
    if (typeof v === "object" && v !== null) return areWritable(v);
    return typeof v !== "number" || Number.isFinite(Math.fround(v)) || v === openEnds[name];
  });

/**
 * A kernel in f32 with one result, which is its last pass.
 * @param plan gives the passes, or the body of the only one
 */
export const gpuKernel = <O extends AnyOp>(
  op: O,
  variant: string,
  plan: (inputs: readonly KernelInput[], y: TensorType, attrs: AttrsOf<O>) => readonly Pass[] | string | undefined,
): Kernel<GpuStep> =>
  kernel<GpuStep, O>(op, `gpujs/${op.op.name}/${variant}`, (inputs, outputs, attrs) => {
    const [y, ...others] = outputs;
    if (!y || others.some((o) => o) || ![y, ...inputs.filter((t) => t)].every(fits)) return undefined;
    if (!areWritable(attrs)) return undefined;
    const planned = plan(inputs, y, attrs);
    if (planned === undefined) return undefined;
    const parameters = op.op.inputs
      .map((name, i) => [name.replace("?", ""), i] as const)
      .filter(([, i]) => inputs[i] !== undefined);
    const passes = typeof planned === "string" ? [{ count: sizeOf(y.shape), body: planned }] : planned;
    return { passes, parameters, dispatches: passes.length };
  });

/** A finite number as source text. */
export const literal = (v: number): string => (v < 0 ? `(${v})` : `${v}`);

/** `at / by` and `at % by` of whole numbers, simplified where that is easy. */
export const quotient = (at: string, by: number): string => (by === 1 ? at : `quotient(${at}, ${by})`);
export const remainder = (at: string, by: number): string => (by === 1 ? "0" : `remainder(${at}, ${by})`);

/** Offset into a tensor of `shape`, broadcast to `target`, of the element whose flat index in `target` is `at`. */
export function offsetIn(shape: Shape, target: Shape, at: string): string {
  return offsetBy(broadcastStrides(shape, target), target, at);
}

/** The same by strides: neighbouring axes that advance together are one term. */
export function offsetBy(strides: readonly number[], target: Shape, at: string): string {
  const terms: string[] = [];
  const inner = stridesOf(target);
  for (let d = target.length - 1; d >= 0; d--) {
    const stride = strides[d];
    let size = target[d];
    let outer = d;
    while (outer > 0 && strides[outer - 1] === stride * size) size *= target[--outer];
    if (stride !== 0 && size > 1) {
      const position = quotient(at, inner[d]);
      const coordinate = outer === 0 ? position : remainder(position, size);
      terms.push(stride === 1 ? coordinate : `${coordinate} * ${stride}`);
    }
    d = outer;
  }
  return terms.length ? terms.join(" + ") : "0";
}

/** The expression of an activation on a variable `v`. */
export function activationCode(a: Activation | undefined, v: string): string {
  if (!a) return v;
  const sigmoid = (x: string): string => `(1 / (1 + expOf(-(${x}))))`;
  const expm1 = (x: string): string => `(Math.exp(${x}) - 1)`;
  const unit = (x: string): string => `Math.max(0, Math.min(1, ${x}))`;
  switch (a.kind) {
    case "relu":
      return `(${v} < 0 ? 0 : ${v})`;
    case "clip": {
      const raised = a.min === -Infinity ? v : `Math.max(${v}, ${literal(a.min)})`;
      return a.max === Infinity ? raised : `Math.min(${raised}, ${literal(a.max)})`;
    }
    case "leakyRelu":
      return `(${v} < 0 ? ${literal(a.alpha)} * ${v} : ${v})`;
    case "thresholdedRelu":
      return `(${v} <= ${literal(a.alpha)} ? 0 : ${v})`;
    case "elu":
      return `(${v} < 0 ? ${literal(a.alpha)} * ${expm1(v)} : ${v})`;
    case "celu":
      return `(${v} < 0 ? ${literal(a.alpha)} * ${expm1(`${v} / ${literal(a.alpha)}`)} : ${v})`;
    case "selu":
      return `${literal(a.gamma)} * (${v} <= 0 ? ${literal(a.alpha)} * ${expm1(v)} : ${v})`;
    case "sigmoid":
      return sigmoid(v);
    case "tanh":
      return `tanhOf(${v})`;
    case "silu":
      return `${v} * ${sigmoid(v)}`;
    case "swish":
      return `${v} * ${sigmoid(`${literal(a.alpha)} * ${v}`)}`;
    case "gelu":
      return `0.5 * ${v} * (1 + erfOf(${v} * ${Math.SQRT1_2}))`;
    case "geluTanh":
      return `0.5 * ${v} * (1 + tanhOf(${Math.sqrt(2 / Math.PI)} * (${v} + 0.044715 * ${v} * ${v} * ${v})))`;
    case "hardSigmoid":
      return unit(`${literal(a.alpha)} * ${v} + ${literal(a.beta)}`);
    case "hardSwish":
      return `${v} * ${unit(`${v} / 6 + 0.5`)}`;
    case "softplus":
      return `softplusOf(${v})`;
    case "softsign":
      return `${v} / (1 + Math.abs(${v}))`;
    case "mish":
      return `${v} * tanhOf(softplusOf(${v}))`;
  }
}
