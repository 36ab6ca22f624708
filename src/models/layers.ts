/** Layers over named weights, written with the public operators. */

import type { SymbolicValue } from "../graph/builder.ts";
import { type GraphDefinition, graph } from "../graph/define.ts";
import type { Dim, Graph } from "../graph/ir.ts";
import { batchNorm } from "../ops/batch-norm.ts";
import { conv } from "../ops/conv.ts";
import { gemm } from "../ops/gemm.ts";
import { InputError } from "../tensor/errors.ts";
import type { Shape } from "../tensor/shape.ts";
import { type Weights, weightOf } from "./weights.ts";

export interface Layers {
  /** x W^T + b with `name.weight` [out, in] and `name.bias` [out]; x is [batch, in]. */
  linear(name: string, x: SymbolicValue): SymbolicValue;
  /** `name.weight` [out, in / groups, h, w], `name.bias` if it is there. */
  conv(name: string, x: SymbolicValue, options?: { stride?: number; padding?: number; groups?: number }): SymbolicValue;
  /** `name.weight`, `.bias`, `.running_mean`, `.running_var`. */
  batchNorm(name: string, x: SymbolicValue, epsilon?: number): SymbolicValue;
}

/** Of an axis where it is known, or any. */
const sizeAt = (x: SymbolicValue, axis: number): number => x.type?.shape[axis] ?? -1;

/** @throws InputError, ShapeError for weights that are missing or don't fit `x`, as far as its shape is known: see `network` */
export function layers({ weight }: GraphDefinition, weights: Weights): Layers {
  const named = (name: string, shape: Shape): SymbolicValue => weight(weightOf(weights, name, shape));
  const optional = (name: string, shape: Shape): SymbolicValue | undefined =>
    weights.has(name) ? named(name, shape) : undefined;
  return {
    linear(name, x) {
      const w = named(`${name}.weight`, [-1, sizeAt(x, 1)]);
      return gemm(x, w, optional(`${name}.bias`, [w.shape[0]]), { transposeB: true });
    },
    conv(name, x, { stride = 1, padding = 0, groups = 1 } = {}) {
      const attrs = { strides: [stride, stride], pads: [padding, padding, padding, padding], groups };
      const channels = sizeAt(x, 1);
      const w = named(`${name}.weight`, [-1, channels < 0 ? -1 : channels / groups, -1, -1]);
      return conv(x, w, optional(`${name}.bias`, [w.shape[0]]), attrs);
    },
    batchNorm(name, x, epsilon = 1e-5) {
      const [scale, bias, mean, variance] = ["weight", "bias", "running_mean", "running_var"];
      const part = (suffix: string): SymbolicValue => named(`${name}.${suffix}`, [sizeAt(x, 1)]);
      return batchNorm(x, part(scale), part(bias), part(mean), part(variance), { epsilon });
    },
  };
}

/**
 * A graph for batches of any size. It is defined for a batch of one first: there all shapes are known, so that weights that
 * don't fit are refused here and not by a run.
 */
export function network(
  name: string,
  define: (g: GraphDefinition, batch: Dim) => Record<string, SymbolicValue>,
): Graph {
  graph((g) => define(g, 1), { name });
  return graph((g) => define(g, "batch"), { name });
}

/** @throws InputError for a name of an input or output that is none */
export function checkNames(who: string, names: { readonly input: unknown; readonly output: unknown }): void {
  for (const [key, name] of Object.entries(names))
    if (typeof name !== "string") throw new InputError(`${who}: ${key} takes a name, as { ${key}: "x" }`);
}

export const areSizes = (shape: unknown): shape is readonly number[] =>
  Array.isArray(shape) && shape.every((d) => Number.isSafeInteger(d) && d > 0);
