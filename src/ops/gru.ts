import { defineOp } from "./op.ts";
import {
  applyCell,
  type CellActivation,
  cellActivations,
  clipped,
  dot,
  outputTypes,
  type RecurrentAttrs,
  recurrentGeometry,
  runCell,
} from "./recurrent.ts";

export interface GruAttrs extends RecurrentAttrs {
  /** The reset gate scales r h + bias instead of h. Default false. */
  linearBeforeReset?: boolean;
}

const gruActivations: readonly CellActivation[] = [{ kind: "sigmoid" }, { kind: "tanh" }];

/**
 * Gated recurrent unit (ONNX GRU 22). x [seq, batch, input], w [directions, 3 hidden, input], r [directions, 3 hidden,
 * hidden], bias [directions, 6 hidden], lengths [batch] (integers), h [directions, batch, hidden]; gates in the order
 * update, reset, hidden. Outputs: y [seq, directions, batch, hidden] and the last h.
 */
export const gru = /* @__PURE__ */ defineOp({
  name: "gru",
  inputs: ["x", "w", "r", "bias?", "lengths?", "h?"],
  outputs: ["y", "lastH"],
  infer([x, w, r, bias, lengths, h], attrs: GruAttrs) {
    return outputTypes(recurrentGeometry("gru", 3, attrs, x, w, r, bias, lengths, [h]), x.dtype);
  },
  reference(inputs, attrs, outputs) {
    runCell("gru", 3, inputs, attrs, outputs, ({ x, w, r, bias, h, input, hidden: n }) => {
      const [update, reset, scaled, next] = Array.from({ length: 4 }, () => new Float64Array(n));
      const cell = (d: number, xRow: number, state: number): void => {
        const [f, act] = cellActivations(attrs, d, gruActivations);
        const shift = (k: number, u: number): number => (bias ? bias[d * 6 * n + k * n + u] : 0);
        const fromInput = (k: number, u: number): number =>
          dot(x, xRow, w, (d * 3 * n + k * n + u) * input, input) + shift(k, u);
        const fromState = (k: number, u: number, of: Float64Array, at: number): number =>
          dot(of, at, r, (d * 3 * n + k * n + u) * n, n) + shift(3 + k, u);
        for (let u = 0; u < n; u++) {
          update[u] = applyCell(f, clipped(fromInput(0, u) + fromState(0, u, h, state), attrs.clip));
          reset[u] = applyCell(f, clipped(fromInput(1, u) + fromState(1, u, h, state), attrs.clip));
          scaled[u] = reset[u] * h[state + u];
        }
        for (let u = 0; u < n; u++) {
          const recurrent = attrs.linearBeforeReset ? reset[u] * fromState(2, u, h, state) : fromState(2, u, scaled, 0);
          const candidate = applyCell(act, clipped(fromInput(2, u) + recurrent, attrs.clip));
          next[u] = (1 - update[u]) * candidate + update[u] * h[state + u];
        }
        h.set(next, state);
      };
      return { cell };
    });
  },
});
