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
    return outputTypes(recurrentGeometry("rnn", 1, attrs, x, w, r, bias, lengths, [h]), x.dtype);
  },
  reference(inputs, attrs, outputs) {
    runCell("rnn", 1, inputs, attrs, outputs, ({ x, w, r, bias, h, input, hidden: n }) => {
      const next = new Float64Array(n);
      return {
        cell(d, xRow, state) {
          const [f] = cellActivations(attrs, d, rnnActivations);
          for (let u = 0; u < n; u++) {
            const row = d * n + u;
            const shift = bias ? bias[d * 2 * n + u] + bias[d * 2 * n + n + u] : 0;
            const sum = dot(x, xRow, w, row * input, input) + dot(h, state, r, row * n, n) + shift;
            next[u] = applyCell(f, clipped(sum, attrs.clip));
          }
          h.set(next, state);
        },
      };
    });
  },
});
