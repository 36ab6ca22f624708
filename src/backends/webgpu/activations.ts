/** Activations as WGSL: of the operators of the same names, and of what products do before they store. */
import type { Activation } from "../../ops/activation.ts";
import { splat } from "./wgsl.ts";

const scaled = (factor: number, x: string): string => (factor === 0 ? `zeroTimes(${x})` : `${splat(factor)} * ${x}`);

/** An expression of `x`, a name, in one or four lanes. */
export function activated(a: Activation | undefined, x: string): string {
  switch (a?.kind) {
    case undefined:
      return x;
    case "relu":
      return `maxNan(${x}, T(0.0))`;
    case "clip":
      return `minNan(maxNan(${x}, ${splat(a.min)}), ${splat(a.max)})`;
    case "leakyRelu":
      return `select(${x}, ${scaled(a.alpha, x)}, ${x} < T(0.0))`;
    case "thresholdedRelu":
      return `select(${x}, T(0.0), ${x} <= ${splat(a.alpha)})`;
    case "elu":
      return `select(${x}, ${splat(a.alpha)} * (exp(${x}) - T(1.0)), ${x} < T(0.0))`;
    case "celu":
      return `select(${x}, ${splat(a.alpha)} * (exp(${x} / ${splat(a.alpha)}) - T(1.0)), ${x} < T(0.0))`;
    case "selu":
      return `${splat(a.gamma)} * select(${x}, ${splat(a.alpha)} * (exp(${x}) - T(1.0)), ${x} <= T(0.0))`;
    case "sigmoid":
      return `sigmoid(${x})`;
    case "tanh":
      return `tanhOf(${x})`;
    case "silu":
      return `${x} * sigmoid(${x})`;
    case "swish":
      return `${x} * sigmoid(${splat(a.alpha)} * ${x})`;
    case "gelu":
      return `gelu(${x})`;
    case "geluTanh":
      return `geluTanh(${x})`;
    case "hardSigmoid":
      return `maxNan(T(0.0), minNan(T(1.0), ${splat(a.alpha)} * ${x} + ${splat(a.beta)}))`;
    case "hardSwish":
      return `${x} * clamp(${x} / T(6.0) + T(0.5), T(0.0), T(1.0))`;
    case "softplus":
      return `softplus(${x})`;
    case "softsign":
      return `${x} / (T(1.0) + abs(${x}))`;
    case "mish":
      return `${x} * tanhOf(softplus(${x}))`;
  }
}
