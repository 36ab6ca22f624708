/**
 * LSTM, GRU and RNN, f32, with their default activations. The products with the input need no earlier step, so all of
 * them are one product before the loop; in the loop each step multiplies the states of the whole batch. Weights are
 * stored by rows of what they multiply, so every product is of rows with rows: four of them share each load.
 */
import { gru } from "../../ops/gru.ts";
import { lstm } from "../../ops/lstm.ts";
import type { AnyOp, AttrsOf } from "../../ops/op.ts";
import {
  outputRow,
  type RecurrentAttrs,
  type RecurrentGeometry,
  recurrentGeometry,
  roundToBytes,
  runsBackward,
  stateRow,
  stepAt,
} from "../../ops/recurrent.ts";
import { rnn } from "../../ops/rnn.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { type HostStep, hostKernel, type Kernel, type KernelInput } from "../backend.ts";
import { sigmoidF32, tanhF32 } from "./elementwise-math.ts";

/** out[r][c] = a[r] . w[c] (+ what is there), for `rows` rows of a and `columns` rows of w from `wAt`, `k` long. */
function productOfRows(
  a: Float32Array,
  rows: number,
  w: Float32Array,
  wAt: number,
  columns: number,
  k: number,
  out: Float64Array,
): void {
  for (let r = 0; r < rows; r++) {
    const x = r * k;
    let c = 0;
    for (; c + 3 < columns; c += 4) {
      const p = wAt + c * k;
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let i = 0; i < k; i++) {
        const v = a[x + i];
        s0 += v * w[p + i];
        s1 += v * w[p + k + i];
        s2 += v * w[p + 2 * k + i];
        s3 += v * w[p + 3 * k + i];
      }
      const at = r * columns + c;
      out[at] = s0;
      out[at + 1] = s1;
      out[at + 2] = s2;
      out[at + 3] = s3;
    }
    for (; c < columns; c++) {
      let s = 0;
      for (let i = 0; i < k; i++) s += a[x + i] * w[wAt + c * k + i];
      out[r * columns + c] = s;
    }
  }
}

/** What a cell reads and writes. */
interface Cell {
  /** Products with the input, [rows of x, gates * hidden]. */
  fromInput: Float64Array;
  /** Products with the state, [batch, gates * hidden]. */
  fromState: Float64Array;
  /** Both biases added, except where the cell needs them apart. */
  bias: Float64Array;
  h: Float32Array;
  c: Float64Array;
}

function lstmCell({ fromInput, fromState, bias, h, c }: Cell, n: number, x: number, b: number): void {
  const [X, H, S] = [x * 4 * n, b * 4 * n, b * n];
  for (let u = 0; u < n; u++) {
    const input = sigmoidF32(fromInput[X + u] + fromState[H + u] + bias[u]);
    const output = sigmoidF32(fromInput[X + n + u] + fromState[H + n + u] + bias[n + u]);
    const forget = sigmoidF32(fromInput[X + 2 * n + u] + fromState[H + 2 * n + u] + bias[2 * n + u]);
    const candidate = tanhF32(fromInput[X + 3 * n + u] + fromState[H + 3 * n + u] + bias[3 * n + u]);
    const cell = forget * c[S + u] + input * candidate;
    c[S + u] = cell;
    h[S + u] = output * tanhF32(cell);
  }
}

function rnnCell({ fromInput, fromState, bias, h }: Cell, n: number, x: number, b: number): void {
  const [X, S] = [x * n, b * n];
  for (let u = 0; u < n; u++) h[S + u] = tanhF32(fromInput[X + u] + fromState[S + u] + bias[u]);
}

/** GRU whose reset gate scales the product: `bias[3n..]` is the state's part of the hidden gate's bias. */
function gruCell({ fromInput, fromState, bias, h }: Cell, n: number, x: number, b: number): void {
  const [X, H, S] = [x * 3 * n, b * 3 * n, b * n];
  for (let u = 0; u < n; u++) {
    const update = sigmoidF32(fromInput[X + u] + fromState[H + u] + bias[u]);
    const reset = sigmoidF32(fromInput[X + n + u] + fromState[H + n + u] + bias[n + u]);
    const recurrent = reset * (fromState[H + 2 * n + u] + bias[3 * n + u]);
    const candidate = tanhF32(fromInput[X + 2 * n + u] + recurrent + bias[2 * n + u]);
    h[S + u] = (1 - update) * candidate + update * h[S + u];
  }
}

/** What runs after the products of a step, for all samples whose sequence has it. */
type StepCell = (cell: Cell, g: RecurrentGeometry, x: number, b: number) => void;

interface Plan {
  gates: number;
  /** Rows of weights that the state multiplies before the cell. */
  recurrentGates: number;
  step: StepCell;
  /** Between the products and the cells, for the whole batch: GRU's second product. */
  between?: (cell: Cell, g: RecurrentGeometry, r: Float32Array, rAt: number, xRows: Int32Array) => void;
  splitHiddenBias?: boolean;
  /** Makes what the state's product reads, from the state and the rows of it that take the step. */
  prepare?: (h: Float32Array, rows: readonly number[]) => Float32Array;
}

/** Both halves of direction `d`'s bias added; with `split` the last gate's state half is kept apart, after them. */
function addBiases(bias: Float32Array | undefined, d: number, gates: number, n: number, split: boolean): Float64Array {
  const out = new Float64Array((gates + 1) * n);
  if (!bias) return out;
  const at = d * 2 * gates * n;
  for (let i = 0; i < gates * n; i++) {
    const apart = split && i >= (gates - 1) * n;
    out[i] = bias[at + i] + (apart ? 0 : bias[at + gates * n + i]);
    if (apart) out[n + i] = bias[at + gates * n + i];
  }
  return out;
}

/** Where the states begin of the samples that take a step. */
function liveRows(xRows: Int32Array, n: number): number[] {
  const rows: number[] = [];
  for (let b = 0; b < xRows.length; b++) if (xRows[b] >= 0) rows.push(b * n);
  return rows;
}

function run(
  g: RecurrentGeometry,
  attrs: RecurrentAttrs,
  { gates, recurrentGates, step, between, splitHiddenBias = false, prepare }: Plan,
  inputs: (TypedArray | undefined)[],
  outputs: (TypedArray | undefined)[],
  cell: Cell,
  /** Scratch: the row of x that each sample reads at a step, -1 where its sequence has ended. */
  xRows: Int32Array,
): void {
  const [x, w, r, bias, lengths, h0, c0] = inputs as (Float32Array | undefined)[];
  const [y, lastH, lastC] = outputs as (Float32Array | undefined)[];
  const { seq, batch, hidden: n, directions } = g;
  y?.fill(0);
  for (let d = 0; d < directions; d++) {
    productOfRows(x!, seq * batch, w!, d * gates * n * g.input, gates * n, g.input, cell.fromInput);
    cell.bias = addBiases(bias, d, gates, n, splitHiddenBias);
    for (let b = 0; b < batch; b++) {
      const state = stateRow(g, d, b);
      for (let u = 0; u < n; u++) {
        cell.h[b * n + u] = h0 ? h0[state + u] : 0;
        cell.c[b * n + u] = c0 ? c0[state + u] : 0;
      }
    }
    const backward = runsBackward(attrs, d);
    for (let s = 0; s < seq; s++) {
      const at = (b: number): number => stepAt(backward, s, lengths ? Math.min(Number(lengths[b]), seq) : seq);
      for (let b = 0; b < batch; b++) {
        const t = at(b);
        const live = t >= 0 && (!lengths || s < Number(lengths[b]));
        xRows[b] = live ? (g.batchFirst ? b * seq + t : t * batch + b) : -1;
      }
      const h = prepare?.(cell.h, liveRows(xRows, n)) ?? cell.h;
      productOfRows(h, batch, r!, d * gates * n * n, recurrentGates * n, n, cell.fromState);
      between?.(cell, g, r!, d * gates * n * n, xRows);
      for (let b = 0; b < batch; b++) {
        if (xRows[b] < 0) continue;
        step(cell, g, xRows[b], b);
        y?.set(cell.h.subarray(b * n, (b + 1) * n), outputRow(g, at(b), d, b));
      }
    }
    for (let b = 0; b < batch; b++) {
      const state = stateRow(g, d, b);
      lastH?.set(cell.h.subarray(b * n, (b + 1) * n), state);
      lastC?.set(cell.c.subarray(b * n, (b + 1) * n), state);
    }
  }
}

/** The kernel of `op` for default activations without clipping. */
function recurrentKernel<O extends AnyOp>(
  op: O,
  name: string,
  gates: number,
  planOf: (inputs: readonly (KernelInput | undefined)[], attrs: AttrsOf<O>, g: RecurrentGeometry) => Plan | undefined,
): Kernel<HostStep> {
  return hostKernel(op, name, (inputs, _, attrs) => {
    const a = attrs as RecurrentAttrs;
    const [x, w, r] = inputs;
    if (x.dtype !== "f32" || a.clip !== undefined || (a.activations && a.activations.length > 0)) return undefined;
    const g = recurrentGeometry(op.op.name, gates, a, x, w, r);
    const plan = planOf(inputs, attrs, g);
    if (!plan) return undefined;
    const { seq, batch, hidden } = g;
    const products = seq * batch * gates * hidden;
    const fromState = new Float64Array(batch * gates * hidden);
    const [h, c] = [new Float32Array(batch * hidden), new Float64Array(batch * hidden)];
    const xRows = new Int32Array(batch);
    return {
      workspaceBytes: products * 8,
      run(inputs, outputs, workspace) {
        const fromInput = new Float64Array(workspace.buffer, workspace.byteOffset, products);
        run(g, a, plan, inputs, outputs, { fromInput, fromState, bias: fromState, h, c }, xRows);
      },
    };
  });
}

/** The default GRU: the reset gate scales the state before its product. */
const resetFirst = (g: RecurrentGeometry): Plan => {
  const { batch, hidden: n } = g;
  const reset = new Float32Array(batch * n);
  const product = new Float64Array(batch * n);
  return {
    gates: 3,
    recurrentGates: 2,
    between({ fromInput, fromState, bias, h }, _, r, rAt, xRows) {
      for (let b = 0; b < batch; b++) {
        const X = Math.max(0, xRows[b]) * 3 * n;
        for (let u = 0; u < n; u++)
          reset[b * n + u] =
            h[b * n + u] * sigmoidF32(fromInput[X + n + u] + fromState[b * 2 * n + n + u] + bias[n + u]);
      }
      productOfRows(reset, batch, r, rAt + 2 * n * n, n, n, product);
    },
    step({ fromInput, fromState, bias, h }, _, x, b) {
      for (let u = 0; u < n; u++) {
        const update = sigmoidF32(fromInput[x * 3 * n + u] + fromState[b * 2 * n + u] + bias[u]);
        const candidate = tanhF32(fromInput[x * 3 * n + 2 * n + u] + product[b * n + u] + bias[2 * n + u]);
        h[b * n + u] = (1 - update) * candidate + update * h[b * n + u];
      }
    },
  };
};

/** The state as u8 holds it. */
const rounded = ({ batch, hidden }: RecurrentGeometry): Plan["prepare"] => {
  const out = new Float32Array(batch * hidden);
  return (h, rows) => {
    roundToBytes(h, rows, hidden, out);
    return out;
  };
};

const whole =
  (cell: (cell: Cell, n: number, x: number, b: number) => void): StepCell =>
  (c, g, x, b) =>
    cell(c, g.hidden, x, b);

export const recurrentKernels: readonly Kernel<HostStep>[] = [
  recurrentKernel(lstm, "cpu/lstm/batched", 4, (inputs, { inputForget = false, quantizeState = false }, g) => {
    if (inputs[7] || inputForget) return undefined;
    return { gates: 4, recurrentGates: 4, step: whole(lstmCell), prepare: quantizeState ? rounded(g) : undefined };
  }),
  recurrentKernel(gru, "cpu/gru/linearBeforeReset", 3, (_, { linearBeforeReset = false }) =>
    linearBeforeReset ? { gates: 3, recurrentGates: 3, step: whole(gruCell), splitHiddenBias: true } : undefined,
  ),
  recurrentKernel(gru, "cpu/gru/resetFirst", 3, (_, { linearBeforeReset = false }, g) =>
    linearBeforeReset ? undefined : resetFirst(g),
  ),
  recurrentKernel(rnn, "cpu/rnn/batched", 1, () => ({ gates: 1, recurrentGates: 1, step: whole(rnnCell) })),
];
