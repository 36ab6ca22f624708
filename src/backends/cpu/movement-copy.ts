/**
 * Strided copies. A walk over many axes is first simplified: axes of size 1 go, neighbours that are contiguous on both
 * sides become one. What is left is an odometer over the outer axes around one of these planes (two axes):
 *   rows    both sides contiguous along the last axis: memory copies of whole rows
 *   fill    the source stands still along the last axis (broadcasting): fills
 *   lines   the source is at its densest along the last axis, with a step: a loop along it
 *   strips  a transpose: 8 columns at a time down the rows, so that 8 streams are read in order and every write fills half
 *           a cache line. Half the time of square blocks of 8, 16 or 32, whose inner loops are too short
 */
import type { StridedWalk } from "../../ops/strided.ts";
import type { DType, TypedArray } from "../../tensor/dtype.ts";
import { copyRow, type Words, wordsPerElement, wordView } from "./movement-words.ts";

interface Axis {
  size: number;
  from: number;
  to: number;
}

type Plane = (src: Words, i: number, dst: Words, j: number, outer: Axis, inner: Axis) => void;

/** A function that copies along the walk, for elements of `dtype`. */
export function stridedCopy(walk: StridedWalk, dtype: DType): (x: TypedArray, y: TypedArray) => void {
  const words = wordsPerElement(dtype);
  const axes = simplify(walk, words);
  const [from, to] = [walk.from.base * words, walk.to.base * words];
  const [srcOf, dstOf] = [wordView(), wordView()];
  if (axes === undefined) return () => {};
  const { outer, plane, rows, columns } = split(axes);
  const index = new Int32Array(outer.length);
  const turns = outer.reduce((n, a) => n * a.size, 1);
  return (x, y) => {
    const [src, dst] = [srcOf(x), dstOf(y)];
    index.fill(0);
    let [i, j] = [from, to];
    for (let turn = 0; turn < turns; turn++) {
      plane(src, i, dst, j, rows, columns);
      for (let d = outer.length - 1; d >= 0; d--) {
        const axis = outer[d];
        i += axis.from;
        j += axis.to;
        if (++index[d] < axis.size) break;
        i -= axis.from * axis.size;
        j -= axis.to * axis.size;
        index[d] = 0;
      }
    }
  };
}

/** The walk in words with as few axes as possible. Undefined when there is nothing to copy. */
function simplify({ shape, from, to }: StridedWalk, words: number): Axis[] | undefined {
  const axes: Axis[] = [];
  const add = (a: Axis): void => {
    const last = axes.at(-1);
    if (last && last.from === a.from * a.size && last.to === a.to * a.size) {
      last.size *= a.size;
      last.from = a.from;
      last.to = a.to;
    } else axes.push(a);
  };
  for (let d = 0; d < shape.length; d++) {
    if (shape[d] === 0) return undefined;
    if (shape[d] > 1) add({ size: shape[d], from: from.strides[d] * words, to: to.strides[d] * words });
  }
  if (words > 1) add({ size: words, from: 1, to: 1 });
  return axes;
}

const one: Axis = { size: 1, from: 0, to: 0 };

function split(axes: readonly Axis[]): { outer: Axis[]; plane: Plane; rows: Axis; columns: Axis } {
  const columns = axes.at(-1) ?? { size: 1, from: 1, to: 1 };
  const rest = axes.slice(0, -1);
  if (columns.to === 1 && (columns.from === 1 || columns.from === 0))
    return { outer: rest.slice(0, -1), plane: columns.from ? copyRows : fillRows, rows: rest.at(-1) ?? one, columns };
  // Strips pair the last axis with the one along which the source is densest.
  const densest = rest.reduce(
    (best, a, k) => (best < 0 || Math.abs(a.from) < Math.abs(rest[best].from) ? k : best),
    -1,
  );
  if (densest < 0 || Math.abs(columns.from) <= Math.abs(rest[densest].from))
    return { outer: rest.slice(0, -1), plane: copyLines, rows: rest.at(-1) ?? one, columns };
  return { outer: rest.filter((_, k) => k !== densest), plane: copyStrips, rows: rest[densest], columns };
}

function copyRows(src: Words, i: number, dst: Words, j: number, rows: Axis, columns: Axis): void {
  for (let r = 0; r < rows.size; r++, i += rows.from, j += rows.to) copyRow(src, i, dst, j, columns.size);
}

function fillRows(src: Words, i: number, dst: Words, j: number, rows: Axis, columns: Axis): void {
  for (let r = 0; r < rows.size; r++, i += rows.from, j += rows.to) dst.fill(src[i], j, j + columns.size);
}

function copyLines(src: Words, i: number, dst: Words, j: number, rows: Axis, columns: Axis): void {
  const [n, sc, dc] = [columns.size, columns.from, columns.to];
  for (let r = 0; r < rows.size; r++, i += rows.from, j += rows.to)
    for (let c = 0, s = i, d = j; c < n; c++, s += sc, d += dc) dst[d] = src[s];
}

function copyStrips(src: Words, i: number, dst: Words, j: number, rows: Axis, columns: Axis): void {
  const [n, sr, dr, sc, dc] = [rows.size, rows.from, rows.to, columns.from, columns.to];
  let c = 0;
  for (; c + 8 <= columns.size; c += 8) {
    let s = i + c * sc;
    let d = j + c * dc;
    for (let r = 0; r < n; r++, s += sr, d += dr) {
      dst[d] = src[s];
      dst[d + dc] = src[s + sc];
      dst[d + 2 * dc] = src[s + 2 * sc];
      dst[d + 3 * dc] = src[s + 3 * sc];
      dst[d + 4 * dc] = src[s + 4 * sc];
      dst[d + 5 * dc] = src[s + 5 * sc];
      dst[d + 6 * dc] = src[s + 6 * sc];
      dst[d + 7 * dc] = src[s + 7 * sc];
    }
  }
  for (; c < columns.size; c++)
    for (let r = 0, s = i + c * sc, d = j + c * dc; r < n; r++, s += sr, d += dr) dst[d] = src[s];
}
