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

const rnnActivations: readonly CellActivation[] = [{ kind: "tanh" }];

/**
 * The plain recurrent cell h = f(w x + r h + bias) (ONNX RNN 22). x [seq, batch, input], w [directions, hidden, input],
 * r [directions, hidden, hidden], bias [directions, 2 hidden], lengths [batch] (integers), h [directions, batch,
 * hidden]. Outputs: y [seq, directions, batch, hidden] and the last h.
 */
export const rnn = /* @__PURE__ */ defineOp({
  name: "rnn",
  inputs: ["x", "w", "r", "bias?", "lengths?", "h?"],
  outputs: ["y", "lastH"],
  infer([x, w, r, bias, lengths, h], attrs: RecurrentAttrs) {
    const g = recurrentGeometry("rnn", 1, attrs, x, w, r, bias, lengths, [h]);
    return [
      { dtype: x.dtype, shape: outputShape(g) },
      { dtype: x.dtype, shape: stateShape(g) },
    ];
  },
  reference([x, w, r, bias, lengths, h], attrs, [y, lastH]) {
    const g = recurrentGeometry("rnn", 1, attrs, x, w, r, bias, lengths);
    const n = g.hidden;
    const [xs, ws, rs] = [toF64(x), toF64(w), toF64(r)];
    const bs = bias && toF64(bias);
    const hs = h ? toF64(h).slice() : new Float64Array(lastH.data.length);
    const out = new Float64Array(y.data.length);
    const next = new Float64Array(n);
    forEachStep(g, attrs, lengths && numbersOf(lengths), hs, out, (d, _, xRow, state) => {
      const [f] = cellActivations(attrs, d, rnnActivations);
      for (let u = 0; u < n; u++) {
        const row = d * n + u;
        const shift = bs ? bs[d * 2 * n + u] + bs[d * 2 * n + n + u] : 0;
        const sum = dot(xs, xRow, ws, row * g.input, g.input) + dot(hs, state, rs, row * n, n) + shift;
        next[u] = applyCell(f, clipped(sum, attrs.clip));
      }
      hs.set(next, state);
    });
    fromF64(out, y);
    fromF64(hs, lastH);
  },
});
