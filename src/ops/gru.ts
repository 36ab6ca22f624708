import { fromF64, toF64 } from "../tensor/convert.ts";
import { numbersOf } from "./check.ts";
import { defineOp } from "./op.ts";
import {
  applyCell,
  type CellActivation,
  cellActivations,
  clipped,
  dot,
  forEachStep,
  outputShape,
  type RecurrentAttrs,
  recurrentGeometry,
  stateShape,
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
    const g = recurrentGeometry("gru", 3, attrs, x, w, r, bias, lengths, [h]);
    return [
      { dtype: x.dtype, shape: outputShape(g) },
      { dtype: x.dtype, shape: stateShape(g) },
    ];
  },
  reference([x, w, r, bias, lengths, h], attrs, [y, lastH]) {
    const g = recurrentGeometry("gru", 3, attrs, x, w, r, bias, lengths);
    const n = g.hidden;
    const [xs, ws, rs] = [toF64(x), toF64(w), toF64(r)];
    const bs = bias && toF64(bias);
    const hs = h ? toF64(h).slice() : new Float64Array(lastH.data.length);
    const out = new Float64Array(y.data.length);
    const update = new Float64Array(n);
    const reset = new Float64Array(n);
    const scaled = new Float64Array(n);
    forEachStep(g, attrs, lengths && numbersOf(lengths), hs, out, (d, _, xRow, state) => {
      const [f, act] = cellActivations(attrs, d, gruActivations);
      const shift = (k: number, u: number): number => (bs ? bs[d * 6 * n + k * n + u] : 0);
      const fromInput = (k: number, u: number): number =>
        dot(xs, xRow, ws, (d * 3 * n + k * n + u) * g.input, g.input) + shift(k, u);
      const fromState = (k: number, u: number, of: Float64Array, at: number): number =>
        dot(of, at, rs, (d * 3 * n + k * n + u) * n, n) + shift(3 + k, u);
      for (let u = 0; u < n; u++) {
        update[u] = applyCell(f, clipped(fromInput(0, u) + fromState(0, u, hs, state), attrs.clip));
        reset[u] = applyCell(f, clipped(fromInput(1, u) + fromState(1, u, hs, state), attrs.clip));
        scaled[u] = reset[u] * hs[state + u];
      }
      const next = new Float64Array(n);
      for (let u = 0; u < n; u++) {
        const recurrent = attrs.linearBeforeReset ? reset[u] * fromState(2, u, hs, state) : fromState(2, u, scaled, 0);
        const candidate = applyCell(act, clipped(fromInput(2, u) + recurrent, attrs.clip));
        next[u] = (1 - update[u]) * candidate + update[u] * hs[state + u];
      }
      hs.set(next, state);
    });
    fromF64(out, y);
    fromF64(hs, lastH);
  },
});
