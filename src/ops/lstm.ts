import { fromF64, toF64 } from "../tensor/convert.ts";
import { sameShape } from "../tensor/shape.ts";
import { expectDType, shapeError } from "./check.ts";
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
  roundToBytes,
  runCell,
} from "./recurrent.ts";

export interface LstmAttrs extends RecurrentAttrs {
  /** The forget gate is 1 - the input gate. Default false. */
  inputForget?: boolean;
  /**
   * Before it is multiplied with `r`, the state of the batch is rounded to what u8 with one scale can hold, at every step
   * (com.microsoft DynamicQuantizeLSTM). f32 only. Default false.
   */
  quantizeState?: boolean;
}

const lstmActivations: readonly CellActivation[] = [{ kind: "sigmoid" }, { kind: "tanh" }, { kind: "tanh" }];

/**
 * Long short-term memory (ONNX LSTM 22). x [seq, batch, input], w [directions, 4 hidden, input], r [directions,
 * 4 hidden, hidden], bias [directions, 8 hidden], lengths [batch] (integers), h and c [directions, batch, hidden],
 * peepholes [directions, 3 hidden]; gates in the order input, output, forget, cell. Outputs: y [seq, directions,
 * batch, hidden], the last h and c.
 */
export const lstm = /* @__PURE__ */ defineOp({
  name: "lstm",
  inputs: ["x", "w", "r", "bias?", "lengths?", "h?", "c?", "peepholes?"],
  outputs: ["y", "lastH", "lastC"],
  infer([x, w, r, bias, lengths, h, c, peepholes], attrs: LstmAttrs) {
    const g = recurrentGeometry("lstm", 4, attrs, x, w, r, bias, lengths, [h, c]);
    if (attrs.quantizeState) expectDType("lstm", x, "f32");
    if (peepholes && !sameShape(peepholes.shape, [g.directions, 3 * g.hidden]))
      shapeError("lstm", "peepholes do not match", peepholes, r);
    const [y, state] = outputTypes(g, x.dtype);
    return [y, state, state];
  },
  reference(inputs, attrs, outputs) {
    const [c, peepholes] = inputs.slice(6);
    const lastC = outputs[2];
    const cs = c ? toF64(c).slice() : new Float64Array(lastC.data.length);
    const ps = peepholes && toF64(peepholes);
    runCell("lstm", 4, inputs, attrs, outputs, ({ x, w, r, bias, h, input: width, hidden: n }) => {
      const next = new Float64Array(n);
      // What r multiplies.
      const given = attrs.quantizeState ? new Float64Array(h.length) : h;
      return {
        before: attrs.quantizeState ? (states) => roundToBytes(h, states, n, given) : undefined,
        cell(d, xRow, state) {
          const [f, act, outAct] = cellActivations(attrs, d, lstmActivations);
          for (let u = 0; u < n; u++) {
            const gate = (k: number): number => {
              const row = d * 4 * n + k * n + u;
              const shift = bias ? bias[d * 8 * n + k * n + u] + bias[d * 8 * n + (4 + k) * n + u] : 0;
              return dot(x, xRow, w, row * width, width) + dot(given, state, r, row * n, n) + shift;
            };
            const peep = (k: number, cell: number): number => (ps ? ps[d * 3 * n + k * n + u] * cell : 0);
            const before = cs[state + u];
            const input = applyCell(f, clipped(gate(0) + peep(0, before), attrs.clip));
            const forget = attrs.inputForget ? 1 - input : applyCell(f, clipped(gate(2) + peep(2, before), attrs.clip));
            const cell = forget * before + input * applyCell(act, clipped(gate(3), attrs.clip));
            const output = applyCell(f, clipped(gate(1) + peep(1, cell), attrs.clip));
            cs[state + u] = cell;
            next[u] = output * applyCell(outAct, cell);
          }
          h.set(next, state);
        },
      };
    });
    fromF64(cs, lastC);
  },
});
