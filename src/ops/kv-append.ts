import { fromF64, toF64 } from "../tensor/convert.ts";
import type { TypedArray } from "../tensor/dtype.ts";
import { InputError } from "../tensor/errors.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { expectDType, expectFloat, numbersOf, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

/** Checks `position` and `sequence`: i32, one for each token, or one: the first token's, and that of all. */
export function checkTokens(
  op: string,
  tokens: number,
  cache: TensorType,
  position: TensorType,
  sequence: TensorType | undefined,
): void {
  for (const t of [position, sequence]) {
    if (!t) continue;
    expectDType(op, t, "i32");
    if (![1, tokens].includes(sizeOf(t.shape))) shapeError(op, `takes one position, or ${tokens}`, t);
  }
  if (sequence && sizeOf(sequence.shape) !== sizeOf(position.shape))
    shapeError(op, "positions and sequences differ in number", position, sequence);
  if (cache.shape.length !== 2 && !(sequence && cache.shape.length === 3))
    shapeError(op, "caches are [rows, n], or [sequences, rows, n] where tokens say which", cache);
}

/** For each token its sequence and its position there. Sequence -1: the token fills a gap, and has neither. */
export function placesOf(tokens: number, position: HostTensor, sequence: HostTensor | undefined): [number, number][] {
  const at = numbersOf(position);
  const of = sequence ? numbersOf(sequence) : [0];
  return Array.from({ length: tokens }, (_, t) => [of[of.length === 1 ? 0 : t], at.length === 1 ? at[0] + t : at[t]]);
}

/** What is said of a row that a cache does not have: state may have fewer rows than its graph declares. */
export function misplaced(op: string, row: number, rows: number, sequence?: number): string {
  const whose = sequence === undefined ? "" : ` of sequence ${sequence}`;
  const mended =
    row < 0 ? "positions count from 0" : `of state, run() reserves as many as its graph declares: { rows: ${row + 1} }`;
  return `${op}: row ${row}${whose} is outside a cache of ${rows}; ${mended}`;
}

/** Throws InputError. */
export function refuseRow(op: string, row: number, rows: number, sequence = 0): never {
  throw new InputError(misplaced(op, row, rows, sequence || undefined), { op });
}

/** What is said of a number that becomes infinite in f16, or is NaN: kernels read finite ones only from caches. */
export const unfit = "kvAppend: a key or value is NaN or beyond the 65504 of f16; keep caches in f32";

/** Throws InputError where rows that were rounded to f16 have such a number. */
export function refuseUnfit(rows: TypedArray): void {
  for (const bits of rows as Uint16Array)
    if ((bits & 0x7c00) === 0x7c00) throw new InputError(unfit, { op: "kvAppend" });
}

/** Rows of a cache that begins at element `from`: as state it may hold fewer than are declared. */
export function rowsFrom(cache: HostTensor, s: number): { from: number; rows: number } {
  const n = cache.shape.at(-1)!;
  if (cache.shape.length === 2) return { from: 0, rows: s === 0 ? cache.data.length / n : 0 };
  return { from: s * cache.shape[1] * n, rows: s >= 0 && s < cache.shape[0] ? cache.shape[1] : 0 };
}

/**
 * Writes the rows of new tokens into a cache: cache [rows, n], x [..., tokens, n], position i32 [1], the row of the first
 * one. The cache may be of another float dtype, to which rows are rounded. Gives the cache. Where that is state of the
 * session it is changed in place.
 *
 * Tokens of several sequences have a position and a `sequence` each: i32 [tokens]; which of the states of the run it is,
 * or of cache [sequences, rows, n]. Rows of sequence -1 are not written.
 * @throws ShapeError where the rows differ, or there are more tokens than rows; InputError for a row outside of the cache,
 *   and for numbers that a cache of f16 does not hold
 */
export const kvAppend = /* @__PURE__ */ defineOp({
  name: "kvAppend",
  inputs: ["cache", "x", "position", "sequence?"],
  states: ["cache"],
  mutates: true,
  infer([cache, x, position, sequence]) {
    expectFloat("kvAppend", cache);
    expectFloat("kvAppend", x);
    const [rows, n] = cache.shape.slice(-2);
    checkTokens("kvAppend", sizeOf(x.shape) / n, cache, position, sequence);
    if (x.shape.at(-1) !== n || (sizeOf(position.shape) === 1 && sizeOf(x.shape) > rows * n))
      shapeError("kvAppend", "rows differ, or there are more tokens than rows", cache, x);
    return { dtype: cache.dtype, shape: cache.shape };
  },
  reference([cache, x, position, sequence], _, [y]) {
    const n = cache.shape.at(-1)!;
    const src = toF64(x);
    const out = y.data as TypedArray;
    if (cache.data !== y.data) out.set(cache.data as never);
    placesOf(src.length / n, position, sequence).forEach(([s, row], t) => {
      if (s === -1) return;
      const { from, rows } = rowsFrom(cache, s);
      if (row < 0 || row >= rows) refuseRow("kvAppend", row, rows, s);
      const at = from + row * n;
      const to = out.subarray(at, at + n);
      fromF64(src.subarray(t * n, (t + 1) * n), { dtype: y.dtype, data: to });
      if (y.dtype === "f16") refuseUnfit(to);
    });
  },
});
