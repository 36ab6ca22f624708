/** What LSTM, GRU and RNN share: shapes, directions, activations. */

import { fromF64, toF64, toNumbers } from "../tensor/convert.ts";
import { type DType, isInteger } from "../tensor/dtype.ts";
import { InputError } from "../tensor/errors.ts";
import { roundHalfEven } from "../tensor/float.ts";
import { sameShape } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { type Activation, applyActivation } from "./activation.ts";
import { dtypeError, expectFloat, expectRank, sameDType, shapeError } from "./check.ts";
import { dynamicScale } from "./quantize.ts";

/** The activations that ONNX allows in recurrent cells. */
export type CellActivation =
  | Activation
  | { kind: "affine"; alpha: number; beta: number }
  | { kind: "scaledTanh"; alpha: number; beta: number };

export interface RecurrentAttrs {
  /** Default "forward". */
  direction?: "forward" | "reverse" | "bidirectional";
  /** Limits what goes into activations to [-clip, clip]. Default: none. */
  clip?: number;
  /** One for each gate function, for each direction. Default: the paper's. */
  activations?: readonly CellActivation[];
  /** x and y are [batch, seq, ...] and states [batch, directions, hidden]. Default false: [seq, batch, ...]. */
  batchFirst?: boolean;
}

export function applyCell(a: CellActivation, x: number): number {
  if (a.kind === "affine") return a.alpha * x + a.beta;
  if (a.kind === "scaledTanh") return a.alpha * Math.tanh(a.beta * x);
  // ONNX keeps x = alpha in ThresholdedRelu inside cells.
  if (a.kind === "thresholdedRelu") return x >= a.alpha ? x : 0;
  return applyActivation(a, x);
}

export const clipped = (x: number, clip: number | undefined): number =>
  clip === undefined ? x : Math.min(Math.max(x, -clip), clip);

/** The `count` activations of direction `d`. */
export function cellActivations(
  { activations }: RecurrentAttrs,
  d: number,
  defaults: readonly CellActivation[],
): readonly CellActivation[] {
  if (!activations || activations.length === 0) return defaults;
  const n = defaults.length;
  return activations.slice(d * n, (d + 1) * n);
}

export interface RecurrentGeometry {
  seq: number;
  batch: number;
  input: number;
  hidden: number;
  directions: number;
  batchFirst: boolean;
}

/** Offset of x's row for step `t` of sample `b`. */
export const inputRow = (g: RecurrentGeometry, t: number, b: number): number =>
  (g.batchFirst ? b * g.seq + t : t * g.batch + b) * g.input;

/** Offset of y's row. */
export const outputRow = (g: RecurrentGeometry, t: number, d: number, b: number): number =>
  (g.batchFirst ? (b * g.seq + t) * g.directions + d : (t * g.directions + d) * g.batch + b) * g.hidden;

/** Offset of a state's row. */
export const stateRow = (g: RecurrentGeometry, d: number, b: number): number =>
  (g.batchFirst ? b * g.directions + d : d * g.batch + b) * g.hidden;

/** Whether direction `d` runs from the end to the start. */
export const runsBackward = ({ direction = "forward" }: RecurrentAttrs, d: number): boolean =>
  direction === "reverse" || d === 1;

/** The step of a sample that direction `d` takes as its `s`-th: padding after `length` is left alone. */
export const stepAt = (backward: boolean, s: number, length: number): number => (backward ? length - 1 - s : s);

/**
 * Checks the inputs that all cells have and gives the sizes.
 * @param gates rows of weights for each hidden unit
 */
export function recurrentGeometry(
  op: string,
  gates: number,
  attrs: RecurrentAttrs,
  x: TensorType,
  w: TensorType,
  r: TensorType,
  bias?: TensorType,
  lengths?: TensorType,
  states: readonly (TensorType | undefined)[] = [],
): RecurrentGeometry {
  sameDType(op, x, w, r, bias, ...states);
  expectFloat(op, x);
  for (const t of [x, w, r]) expectRank(op, t, 3);
  const { direction = "forward", batchFirst = false } = attrs;
  const directions = direction === "bidirectional" ? 2 : 1;
  const [seq, batch] = batchFirst ? [x.shape[1], x.shape[0]] : [x.shape[0], x.shape[1]];
  const input = x.shape[2];
  const hidden = r.shape[2];
  if (!sameShape(w.shape, [directions, gates * hidden, input])) shapeError(op, "w does not match", x, w, r);
  if (!sameShape(r.shape, [directions, gates * hidden, hidden])) shapeError(op, "r does not match", x, w, r);
  if (bias && !sameShape(bias.shape, [directions, 2 * gates * hidden])) shapeError(op, "bias does not match", bias, r);
  if (lengths && !isInteger(lengths.dtype)) dtypeError(op, "sequence lengths are integers", lengths);
  if (lengths && !sameShape(lengths.shape, [batch])) shapeError(op, "takes one length a sample", lengths, x);
  // An LSTM has one function less than gates, and so has a GRU.
  const functions = directions * Math.max(1, gates - 1);
  const given = attrs.activations?.length ?? 0;
  if (given !== 0 && given !== functions) throw new InputError(`${op}: takes ${functions} activations, got ${given}`);
  const g = { seq, batch, input, hidden, directions, batchFirst };
  for (const s of states)
    if (s && !sameShape(s.shape, stateShape(g))) shapeError(op, `states are [${stateShape(g)}]`, s);
  return g;
}

const stateShape = ({ batchFirst, batch, directions, hidden }: RecurrentGeometry): number[] =>
  batchFirst ? [batch, directions, hidden] : [directions, batch, hidden];

const outputShape = ({ batchFirst, seq, batch, directions, hidden }: RecurrentGeometry): number[] =>
  batchFirst ? [batch, seq, directions, hidden] : [seq, directions, batch, hidden];

/** The types of y and the last h. */
export const outputTypes = (g: RecurrentGeometry, dtype: DType): [TensorType, TensorType] => [
  { dtype, shape: outputShape(g) },
  { dtype, shape: stateShape(g) },
];

/** sum of a[i] b[i] over n elements. */
export function dot(a: Float64Array, ai: number, b: Float64Array, bi: number, n: number): number {
  let s = 0;
  for (let i = 0; i < n; i++) s += a[ai + i] * b[bi + i];
  return s;
}

/**
 * Copies the rows of `n` elements that start at `rows`, each value rounded to the nearest one that u8 can hold with the
 * scale and zero point that cover all of these rows.
 */
export function roundToBytes<A extends Float32Array | Float64Array>(
  h: A,
  rows: ArrayLike<number>,
  n: number,
  out: A,
): void {
  let low = 0;
  let high = 0;
  for (let r = 0; r < rows.length; r++)
    for (let i = rows[r]; i < rows[r] + n; i++) {
      const v = Math.fround(h[i]);
      if (v < low) low = v;
      if (v > high) high = v;
    }
  const { step, zero } = dynamicScale(low, high);
  for (let r = 0; r < rows.length; r++)
    for (let i = rows[r]; i < rows[r] + n; i++) {
      const q = roundHalfEven(Math.fround(Math.fround(h[i]) / step)) + zero;
      out[i] = (Math.min(Math.max(q, 0), 255) - zero) * step;
    }
}

/** The inputs of every cell, and what one of its steps works with, in float64. */
export interface CellRun extends RecurrentGeometry {
  readonly x: Float64Array;
  readonly w: Float64Array;
  readonly r: Float64Array;
  readonly bias?: Float64Array;
  /** The state, changed in place. */
  readonly h: Float64Array;
}

type CellInputs = readonly [HostTensor, HostTensor, HostTensor, HostTensor?, HostTensor?, HostTensor?, ...unknown[]];

/**
 * The reference of a cell. `make` gives what is called for every direction, step and sample, in an order in which states
 * exist when they are needed: it updates the row `state` of `h` (and what else it keeps); what it leaves in `h` becomes y's
 * row. Padded steps of y stay zero. `before` is called ahead of each step with the state rows of the samples that take it.
 */
export function runCell(
  op: string,
  gates: number,
  [x, w, r, bias, lengths, h]: CellInputs,
  attrs: RecurrentAttrs,
  [y, lastH]: readonly HostTensor[],
  make: (run: CellRun) => {
    cell(d: number, xRow: number, state: number): void;
    before?(states: readonly number[]): void;
  },
): void {
  const g = recurrentGeometry(op, gates, attrs, x, w, r, bias, lengths);
  const hs = h ? toF64(h).slice() : new Float64Array(lastH.data.length);
  const { cell, before } = make({ ...g, x: toF64(x), w: toF64(w), r: toF64(r), bias: bias && toF64(bias), h: hs });
  const given = lengths && toNumbers(lengths);
  const out = new Float64Array(y.data.length);
  const samples = Array.from({ length: g.batch }, (_, b) => b);
  const lengthOf = (b: number): number => Math.min(given?.[b] ?? g.seq, g.seq);
  for (let d = 0; d < g.directions; d++)
    for (let s = 0; s < g.seq; s++) {
      const live = samples.filter((b) => s < lengthOf(b));
      before?.(live.map((b) => stateRow(g, d, b)));
      for (const b of live) {
        const state = stateRow(g, d, b);
        const t = stepAt(runsBackward(attrs, d), s, lengthOf(b));
        cell(d, inputRow(g, t, b), state);
        out.set(hs.subarray(state, state + g.hidden), outputRow(g, t, d, b));
      }
    }
  fromF64(out, y);
  fromF64(hs, lastH);
}
