/**
 * Strided copies. A walk over many axes is first simplified: axes of size 1 go, neighbours that are contiguous on both
 * sides become one. What is left is an odometer over the outer axes around one of these planes (two axes):
 *   rows    both sides contiguous along the last axis: memory copies of whole rows
 *   fill    the source stands still along the last axis (broadcasting): fills
 *   blocks  anything else, such as a transpose: 16 x 16 blocks, so that the cache lines that are read with a stride are
 *           used up before they leave the cache
 */
import type { StridedWalk } from "../../ops/strided.ts";
import type { DType, TypedArray } from "../../tensor/dtype.ts";
import { type Words, wordsPerElement, wordView } from "./movement-words.ts";

interface Axis {
  size: number;
  from: number;
  to: number;
}

type Plane = (src: Words, i: number, dst: Words, j: number, outer: Axis, inner: Axis) => void;

/** Below this many words a loop beats the call of `set`. */
const shortRow = 48;
const block = 16;

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
  // Blocks pair the last axis with the one along which the source is densest.
  const densest = rest.reduce(
    (best, a, k) => (best < 0 || Math.abs(a.from) < Math.abs(rest[best].from) ? k : best),
    -1,
  );
  return { outer: rest.filter((_, k) => k !== densest), plane: copyBlocks, rows: rest[densest] ?? one, columns };
}

function copyRows(src: Words, i: number, dst: Words, j: number, rows: Axis, columns: Axis): void {
  const n = columns.size;
  for (let r = 0; r < rows.size; r++, i += rows.from, j += rows.to) {
    if (n >= shortRow) dst.set(src.subarray(i, i + n), j);
    else for (let c = 0; c < n; c++) dst[j + c] = src[i + c];
  }
}

function fillRows(src: Words, i: number, dst: Words, j: number, rows: Axis, columns: Axis): void {
  for (let r = 0; r < rows.size; r++, i += rows.from, j += rows.to) dst.fill(src[i], j, j + columns.size);
}

function copyBlocks(src: Words, i: number, dst: Words, j: number, rows: Axis, columns: Axis): void {
  const [sr, dr, sc, dc] = [rows.from, rows.to, columns.from, columns.to];
  for (let r0 = 0; r0 < rows.size; r0 += block) {
    const r1 = Math.min(r0 + block, rows.size);
    for (let c0 = 0; c0 < columns.size; c0 += block) {
      const c1 = Math.min(c0 + block, columns.size);
      for (let r = r0; r < r1; r++) {
        let s = i + r * sr + c0 * sc;
        let d = j + r * dr + c0 * dc;
        for (let c = c0; c < c1; c++, s += sc, d += dc) dst[d] = src[s];
      }
    }
  }
}
