/** Activations over finished results while they are in cache. */
import { type Activation, applyActivation } from "../../ops/activation.ts";

/** y[i] = activation(y[i]) for i in [from, to). The cheap ones have loops of their own, without a call per element. */
export function activate(a: Activation | undefined, y: Float32Array, from: number, to: number): void {
  if (a === undefined) return;
  if (a.kind === "relu") {
    for (let i = from; i < to; i++) if (y[i] < 0) y[i] = 0;
  } else if (a.kind === "clip") {
    // Where the ends cross, everything is max.
    const { max } = a;
    const min = Math.min(a.min, max);
    for (let i = from; i < to; i++) {
      const v = y[i];
      if (v > max) y[i] = max;
      else if (v < min) y[i] = min;
    }
  } else if (a.kind === "leakyRelu") {
    const { alpha } = a;
    for (let i = from; i < to; i++) if (y[i] < 0) y[i] *= alpha;
  } else if (a.kind === "sigmoid") {
    for (let i = from; i < to; i++) y[i] = 1 / (1 + Math.exp(-y[i]));
  } else if (a.kind === "silu") {
    for (let i = from; i < to; i++) y[i] /= 1 + Math.exp(-y[i]);
  } else if (a.kind === "hardSwish") {
    for (let i = from; i < to; i++) {
      const v = y[i];
      y[i] = v <= -3 ? v * 0 : v >= 3 ? v : (v * (v + 3)) / 6;
    }
  } else for (let i = from; i < to; i++) y[i] = applyActivation(a, y[i]);
}
