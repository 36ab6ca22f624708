/** Layers over named weights, written with the public operators. */

import type { SymbolicValue } from "../graph/builder.ts";
import type { GraphDefinition } from "../graph/define.ts";
import { batchNorm } from "../ops/batch-norm.ts";
import { conv } from "../ops/conv.ts";
import { gemm } from "../ops/gemm.ts";
import { type Weights, weightOf } from "./weights.ts";

export interface Layers {
  /** x W^T + b with `name.weight` [out, in] and `name.bias` [out]; x is [batch, in]. */
  linear(name: string, x: SymbolicValue): SymbolicValue;
  /** `name.weight` [out, in / groups, h, w], `name.bias` if it is there. */
  conv(name: string, x: SymbolicValue, options?: { stride?: number; padding?: number; groups?: number }): SymbolicValue;
  /** `name.weight`, `.bias`, `.running_mean`, `.running_var`. */
  batchNorm(name: string, x: SymbolicValue, epsilon?: number): SymbolicValue;
}

export function layers({ weight }: GraphDefinition, weights: Weights): Layers {
  const named = (name: string): SymbolicValue => weight(weightOf(weights, name));
  const optional = (name: string): SymbolicValue | undefined => (weights.has(name) ? named(name) : undefined);
  return {
    linear: (name, x) => gemm(x, named(`${name}.weight`), optional(`${name}.bias`), { transposeB: true }),
    conv(name, x, { stride = 1, padding = 0, groups = 1 } = {}) {
      const attrs = { strides: [stride, stride], pads: [padding, padding, padding, padding], groups };
      return conv(x, named(`${name}.weight`), optional(`${name}.bias`), attrs);
    },
    batchNorm(name, x, epsilon = 1e-5) {
      const [scale, bias, mean, variance] = ["weight", "bias", "running_mean", "running_var"];
      const part = (suffix: string): SymbolicValue => named(`${name}.${suffix}`);
      return batchNorm(x, part(scale), part(bias), part(mean), part(variance), { epsilon });
    },
  };
}
