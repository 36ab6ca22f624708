import { ShapeError } from "./errors.ts";

/** Dimensions of a dense row-major tensor. `[]` is a scalar. */
export type Shape = readonly number[];

/** Number of elements. 1 for a scalar, 0 when any dimension is 0. */
export function sizeOf(shape: Shape): number {
  let n = 1;
  for (let i = 0; i < shape.length; i++) n *= shape[i];
  return n;
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let s = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = s;
    s *= shape[i];
  }
  return strides;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** `f32[2,3]` for messages. */
export const formatType = (t: { dtype: string; shape: readonly (number | string)[] }): string =>
  `${t.dtype}[${t.shape.join(",")}]`;

/** NumPy broadcasting of any number of shapes. Throws ShapeError naming `op`. */
export function broadcastShapes(op: string, ...shapes: Shape[]): number[] {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const out = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    const lead = rank - shape.length;
    for (let i = 0; i < shape.length; i++) {
      const d = shape[i];
      const o = out[lead + i];
      if (d === o || d === 1) continue;
      if (o !== 1)
        throw new ShapeError(`${op}: shapes do not broadcast: ${shapes.map((s) => `[${s}]`).join(" and ")}`, { op });
      out[lead + i] = d;
    }
  }
  return out;
}

/** Strides that read a tensor of `shape` as if it had `target`'s shape: 0 along repeated axes. */
export function broadcastStrides(shape: Shape, target: Shape): number[] {
  const own = stridesOf(shape);
  const lead = target.length - shape.length;
  return target.map((_, i) => (i < lead || shape[i - lead] === 1 ? 0 : own[i - lead]));
}

/** An axis in [-rank, rank) as one in [0, rank). Throws ShapeError. */
export function normalizeAxis(op: string, axis: number, rank: number): number {
  const a = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || a < 0 || a >= rank)
    throw new ShapeError(`${op}: axis ${axis} is outside a tensor of rank ${rank}`, { op });
  return a;
}

/** Distinct axes in [0, rank), in the order given. Throws ShapeError on a repeated one. */
export function normalizeAxes(op: string, axes: readonly number[], rank: number): number[] {
  const out = axes.map((a) => normalizeAxis(op, a, rank));
  if (new Set(out).size !== out.length) throw new ShapeError(`${op}: axes [${axes}] repeat an axis`, { op });
  return out;
}

/** Product of the dimensions in [from, to). */
export function sizeBetween(shape: Shape, from: number, to: number): number {
  let n = 1;
  for (let i = from; i < to; i++) n *= shape[i];
  return n;
}

/**
 * Calls `visit(linearIndex, offsets)` for every element of `shape` in row-major order, where offsets[t] is the offset
 * that strides[t] gives. One `offsets` array is reused. Used by references and by generic kernels.
 */
export function forEachOffset(
  shape: Shape,
  strides: readonly (readonly number[])[],
  visit: (linear: number, offsets: Int32Array | Float64Array) => void,
): void {
  const rank = shape.length;
  const total = sizeOf(shape);
  const index = new Array<number>(rank).fill(0);
  const offsets = new Float64Array(strides.length);
  for (let i = 0; i < total; i++) {
    visit(i, offsets);
    for (let d = rank - 1; d >= 0; d--) {
      for (let t = 0; t < strides.length; t++) offsets[t] += strides[t][d];
      if (++index[d] < shape[d]) break;
      for (let t = 0; t < strides.length; t++) offsets[t] -= strides[t][d] * shape[d];
      index[d] = 0;
    }
  }
}
