/**
 * The activations that matmul and convolution kernels apply to a result before they store it (their epilogue), and the
 * meaning of the operators of the same names. Backends translate `kind`; this file is the ground truth in float64.
 */
import type { Attrs } from "./op.ts";
import { erfc, sigmoid, softplus } from "./special.ts";

export type Activation =
  | { kind: "relu" }
  /** min(max(x, min), max): ReLU6 is clip(0, 6). Either end may be infinite. */
  | { kind: "clip"; min: number; max: number }
  | { kind: "leakyRelu"; alpha: number }
  | { kind: "thresholdedRelu"; alpha: number }
  | { kind: "elu"; alpha: number }
  | { kind: "celu"; alpha: number }
  | { kind: "selu"; alpha: number; gamma: number }
  | { kind: "sigmoid" }
  | { kind: "tanh" }
  /** x sigmoid(x). */
  | { kind: "silu" }
  /** x sigmoid(alpha x): ONNX Swish; QuickGelu is alpha 1.702. */
  | { kind: "swish"; alpha: number }
  /** x Phi(x), exact. */
  | { kind: "gelu" }
  /** The tanh approximation of gelu. */
  | { kind: "geluTanh" }
  | { kind: "hardSigmoid"; alpha: number; beta: number }
  | { kind: "hardSwish" }
  | { kind: "softplus" }
  | { kind: "softsign" }
  | { kind: "mish" };

/** `a` applied to one number; `x` itself where there is none. NaN stays NaN. */
export function applyActivation(a: Activation | undefined, x: number): number {
  if (a === undefined) return x;
  switch (a.kind) {
    case "relu":
      return Math.max(x, 0);
    case "clip":
      return Math.min(Math.max(x, a.min), a.max);
    case "leakyRelu":
      return x < 0 ? a.alpha * x : x;
    case "thresholdedRelu":
      return x <= a.alpha ? 0 : x;
    case "elu":
      return x < 0 ? a.alpha * Math.expm1(x) : x;
    case "celu":
      return x < 0 ? a.alpha * Math.expm1(x / a.alpha) : x;
    case "selu":
      return a.gamma * (x <= 0 ? a.alpha * Math.expm1(x) : x);
    case "sigmoid":
      return sigmoid(x);
    case "tanh":
      return Math.tanh(x);
    case "silu":
      return x * sigmoid(x);
    case "swish":
      return x * sigmoid(a.alpha * x);
    case "gelu":
      return 0.5 * x * erfc(-x * Math.SQRT1_2);
    case "geluTanh":
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
    case "hardSigmoid":
      return Math.max(0, Math.min(1, a.alpha * x + a.beta));
    case "hardSwish":
      return x * Math.max(0, Math.min(1, x / 6 + 0.5));
    case "softplus":
      return softplus(x);
    case "softsign":
      return x / (1 + Math.abs(x));
    case "mish":
      return x * Math.tanh(softplus(x));
  }
}

const optionalNumber = (v: unknown, fallback: number): number => (typeof v === "number" ? v : fallback);

/**
 * What the operator `op` does as an activation; undefined for operators that are none. `clip` is not here: its bounds
 * are inputs.
 */
export function activationOf(op: string, attrs: Attrs = {}): Activation | undefined {
  const alpha = (fallback: number): number => optionalNumber(attrs.alpha, fallback);
  switch (op) {
    case "relu":
    case "sigmoid":
    case "tanh":
    case "silu":
    case "hardSwish":
    case "softplus":
    case "softsign":
    case "mish":
      return { kind: op };
    case "gelu":
      return { kind: attrs.approximate === "tanh" ? "geluTanh" : "gelu" };
    case "leakyRelu":
      return { kind: op, alpha: alpha(0.01) };
    case "elu":
    case "celu":
    case "thresholdedRelu":
      return { kind: op, alpha: alpha(1) };
    case "swish":
      return alpha(1) === 1 ? { kind: "silu" } : { kind: op, alpha: alpha(1) };
    case "selu":
      return { kind: op, alpha: alpha(1.6732632423543772), gamma: optionalNumber(attrs.gamma, 1.0507009873554805) };
    case "hardSigmoid":
      return { kind: op, alpha: alpha(0.2), beta: optionalNumber(attrs.beta, 0.5) };
    default:
      return undefined;
  }
}
