import { fromF64, toF64 } from "../tensor/convert.ts";
import { sameShape } from "../tensor/shape.ts";
import { expectDType, numbersOf, shapeError } from "./check.ts";
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
  roundToBytes,
  stateShape,
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
    const state = { dtype: x.dtype, shape: stateShape(g) };
    return [{ dtype: x.dtype, shape: outputShape(g) }, state, state];
  },
  reference([x, w, r, bias, lengths, h, c, peepholes], attrs, [y, lastH, lastC]) {
    const g = recurrentGeometry("lstm", 4, attrs, x, w, r, bias, lengths);
    const n = g.hidden;
    const [xs, ws, rs] = [toF64(x), toF64(w), toF64(r)];
    const bs = bias && toF64(bias);
    const ps = peepholes && toF64(peepholes);
    const hs = h ? toF64(h).slice() : new Float64Array(lastH.data.length);
    const cs = c ? toF64(c).slice() : new Float64Array(lastC.data.length);
    const out = new Float64Array(y.data.length);
    const next = new Float64Array(n);
    // What r multiplies.
    const given = attrs.quantizeState ? new Float64Array(hs.length) : hs;
    const prepare = attrs.quantizeState && ((states: readonly number[]) => roundToBytes(hs, states, n, given));
    const step = (d: number, _: number, xRow: number, state: number): void => {
      const [f, act, outAct] = cellActivations(attrs, d, lstmActivations);
      for (let u = 0; u < n; u++) {
        const gate = (k: number): number => {
          const row = d * 4 * n + k * n + u;
          const shift = bs ? bs[d * 8 * n + k * n + u] + bs[d * 8 * n + (4 + k) * n + u] : 0;
          return dot(xs, xRow, ws, row * g.input, g.input) + dot(given, state, rs, row * n, n) + shift;
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
      hs.set(next, state);
    };
    forEachStep(g, attrs, lengths && numbersOf(lengths), hs, out, step, prepare || undefined);
    fromF64(out, y);
    fromF64(hs, lastH);
    fromF64(cs, lastC);
  },
});
