/**
 * heap: the k best of n without sorting the n: a heap of the best so far with the worst of them on top, replaced whenever a
 * better element comes; then the heap is emptied from the back of the result. For small k nearly every element costs one
 * comparison. Elements are doubles, of which the best are the largest. 64-bit integers are compared by their words, and in
 * the heap as the doubles next to them, which are in the same order but for equal ones: these are compared by words too.
 * sort: for large k, byte by byte, which takes as long whatever k is.
 */
import { topk } from "../../ops/topk.ts";
import { type DType, isBig, isInteger, type TypedArray } from "../../tensor/dtype.ts";
import { normalizeAxis, type Shape, sizeBetween } from "../../tensor/shape.ts";
import { type HostStep, hostKernel, type Kernel } from "../backend.ts";
import { wordView } from "./movement-words.ts";

/** 64-bit integers along an axis, as words. What `high` and `low` flip makes the best the largest, of signed high words. */
interface WideRow {
  words: Int32Array;
  /** Word of the first one, and words from one to the next. */
  at: number;
  readonly step: number;
  readonly high: number;
  readonly low: number;
}

const keyOf = ({ words, at, step, high, low }: WideRow, p: number): number =>
  (words[at + p * step + 1] ^ high) * 2 ** 32 + ((words[at + p * step] ^ low) >>> 0);

/** Whether element i comes after element j. */
function isLater({ words, at, step, high, low }: WideRow, i: number, j: number): boolean {
  const [p, q] = [at + i * step, at + j * step];
  const [a, b] = [words[p + 1] ^ high, words[q + 1] ^ high];
  if (a !== b) return a < b;
  const [c, d] = [(words[p] ^ low) >>> 0, (words[q] ^ low) >>> 0];
  return c === d ? i > j : c < d;
}

/** The first element from `p` on that is larger than element `worst`, or n. */
function nextWide({ words, at, step, high, low }: WideRow, p: number, n: number, worst: number): number {
  const top = words[at + worst * step + 1] ^ high;
  const bottom = (words[at + worst * step] ^ low) >>> 0;
  for (let w = at + p * step; p < n; p++, w += step) {
    const h = words[w + 1] ^ high;
    if (h > top || (h === top && (words[w] ^ low) >>> 0 > bottom)) return p;
  }
  return n;
}

/** The first element from `p` on that is larger than `worst`, or that either is NaN; or n. */
function next(row: Float64Array, p: number, n: number, worst: number): number {
  for (; p < n; p++) if (!(row[p] <= worst)) return p;
  return n;
}

/** Elements of one axis. */
interface Row {
  readonly n: number;
  readonly keys: Float64Array;
  /** Instead of `keys`. */
  readonly wide?: WideRow;
  readonly nanFirst: boolean;
}

/** Whether (a, i) comes after (b, j): larger first, NaN first or last, the lower index first among equals. */
function isWorse(a: number, i: number, b: number, j: number, { wide, nanFirst }: Row): boolean {
  if (a < b) return true;
  if (a > b) return false;
  if (a === b) return wide ? isLater(wide, i, j) : i > j;
  const nan = Number.isNaN(a);
  return nan === Number.isNaN(b) ? i > j : nan !== nanFirst;
}

/** Moves the element at `root` down to its place: no child may be worse than its parent. */
function siftDown(keys: Float64Array, ids: Int32Array, root: number, size: number, row: Row): void {
  const key = keys[root];
  const id = ids[root];
  for (let child = 2 * root + 1; child < size; child = 2 * root + 1) {
    if (child + 1 < size && isWorse(keys[child + 1], ids[child + 1], keys[child], ids[child], row)) child++;
    if (!isWorse(keys[child], ids[child], key, id, row)) break;
    keys[root] = keys[child];
    ids[root] = ids[child];
    root = child;
  }
  keys[root] = key;
  ids[root] = id;
}

/** Leaves the places of the best elements in `ids`, best first. `keys` is as long. */
function selectBest(row: Row, keys: Float64Array, ids: Int32Array): void {
  const { n, wide } = row;
  const k = ids.length;
  for (let p = 0; p < k; p++) {
    keys[p] = wide ? keyOf(wide, p) : row.keys[p];
    ids[p] = p;
  }
  for (let p = (k >> 1) - 1; p >= 0; p--) siftDown(keys, ids, p, k, row);
  for (let p = k; ; p++) {
    p = wide ? nextWide(wide, p, n, ids[0]) : next(row.keys, p, n, keys[0]);
    if (p === n) break;
    const key = wide ? keyOf(wide, p) : row.keys[p];
    if (isWorse(key, p, keys[0], ids[0], row)) continue;
    keys[0] = key;
    ids[0] = p;
    siftDown(keys, ids, 0, k, row);
  }
  for (let p = k - 1; p > 0; p--) {
    const worst = ids[0];
    keys[0] = keys[p];
    ids[0] = ids[p];
    siftDown(keys, ids, 0, p, row);
    ids[p] = worst;
  }
}

/** Below this many elements a loop beats the call of `set`. */
const shortRow = 32;

/** keys = the elements, or with `sign` -1 their opposites. */
function readKeys(x: Float32Array, at: number, inner: number, sign: number, keys: Float64Array): void {
  const n = keys.length;
  if (inner === 1 && n >= shortRow) {
    keys.set(x.subarray(at, at + n));
    if (sign < 0) for (let p = 0; p < n; p++) keys[p] = -keys[p];
  } else for (let p = 0; p < n; p++) keys[p] = sign * x[at + p * inner];
}

/** dtypes that can be sorted. */
const sortable: readonly DType[] = ["f32", "i32", "i64", "u64"];

/** What one row is sorted with. */
class Sorter {
  /** Words of each element's key, low ones first: unsigned numbers, of which the best is the smallest. */
  private readonly keys: Uint32Array;
  private ids: Int32Array;
  private spare: Int32Array;
  private readonly counts = new Int32Array(256);
  private readonly wide: boolean;

  constructor(
    private readonly n: number,
    private readonly dtype: DType,
    private readonly largest: boolean,
  ) {
    this.wide = isBig(dtype);
    this.keys = new Uint32Array(this.wide ? 2 * n : n);
    this.ids = new Int32Array(n);
    this.spare = new Int32Array(n);
  }

  /** The places of the elements in order, the lower one first among equals. */
  sort(words: Int32Array, at: number, inner: number): Int32Array {
    if (this.wide) this.readWide(words, 2 * at, 2 * inner);
    else if (this.dtype === "f32") this.readFloats(words, at, inner);
    else this.readIntegers(words, at, inner);
    for (let p = 0; p < this.n; p++) this.ids[p] = p;
    for (let word = 0; word < (this.wide ? 2 : 1); word++)
      for (let shift = 0; shift < 32; shift += 8) this.sortByte(word, shift);
    return this.ids;
  }

  private readIntegers(words: Int32Array, at: number, inner: number): void {
    const flip = this.largest ? 0x7fffffff : 1 << 31;
    for (let p = 0; p < this.n; p++) this.keys[p] = words[at + p * inner] ^ flip;
  }

  private readWide(words: Int32Array, at: number, step: number): void {
    const low = this.largest ? -1 : 0;
    const high = this.dtype === "i64" ? low ^ (1 << 31) : low;
    for (let p = 0; p < this.n; p++) {
      this.keys[2 * p] = words[at + p * step] ^ low;
      this.keys[2 * p + 1] = words[at + p * step + 1] ^ high;
    }
  }

  /** NaN is larger than every number, and -0 equals 0. */
  private readFloats(bits: Int32Array, at: number, inner: number): void {
    for (let p = 0; p < this.n; p++) {
      const b = bits[at + p * inner];
      const size = b & 0x7fffffff;
      const order = size > 0x7f800000 ? 0x7fffffff : b < 0 ? -size : size;
      this.keys[p] = (this.largest ? -order : order) ^ 0x80000000;
    }
  }

  /** Sorts by one byte and leaves the order of equals as it is. Nothing to do where all are equal, as in small integers. */
  private sortByte(word: number, shift: number): void {
    const { n, keys, ids, spare, counts } = this;
    const step = this.wide ? 2 : 1;
    counts.fill(0);
    for (let p = word; p < keys.length; p += step) counts[(keys[p] >>> shift) & 255]++;
    if (counts[(keys[word] >>> shift) & 255] === n) return;
    for (let digit = 0, before = 0; digit < 256; digit++) {
      const count = counts[digit];
      counts[digit] = before;
      before += count;
    }
    for (let p = 0; p < n; p++) spare[counts[(keys[ids[p] * step + word] >>> shift) & 255]++] = ids[p];
    this.ids = spare;
    this.spare = ids;
  }
}

/** Takes, of each row, the k elements that `places` names when it is told where the row starts in x. */
function forRows(
  shape: Shape,
  axis: number,
  k: number,
  [x, best, at]: readonly [TypedArray, TypedArray | undefined, Int32Array | undefined],
  places: (start: number) => Int32Array,
): void {
  const n = shape[axis];
  const inner = sizeBetween(shape, axis + 1, shape.length);
  const outer = sizeBetween(shape, 0, axis);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      const start = o * n * inner + i;
      const ids = places(start);
      for (let p = 0; p < k; p++) {
        const id = ids[p];
        const j = (o * k + p) * inner + i;
        if (best) best[j] = x[start + id * inner];
        // The words of an i64.
        if (at) {
          at[2 * j] = id;
          at[2 * j + 1] = 0;
        }
      }
    }
}

/** dtypes whose array holds their values. */
const direct = (dtype: DType): boolean => dtype === "f32" || dtype === "f64" || isInteger(dtype);

export const topkKernels: readonly Kernel<HostStep>[] = [
  hostKernel(topk, "cpu/topk/sort", ([x], [values, indices], { axis = -1, largest = true }) => {
    const a = normalizeAxis("topk", axis, x.shape.length);
    const k = (values ?? indices).shape[a];
    const n = x.shape[a];
    if (!sortable.includes(x.dtype) || k * 16 < n) return undefined;
    const inner = sizeBetween(x.shape, a + 1, x.shape.length);
    const sorter = new Sorter(n, x.dtype, largest);
    const [view, indexView] = [wordView(), wordView()];
    return {
      run([data], [best, at]) {
        const words = view(data) as Int32Array;
        const sorted = (start: number) => sorter.sort(words, start, inner);
        forRows(x.shape, a, k, [data, best, at && (indexView(at) as Int32Array)], sorted);
      },
    };
  }),
  hostKernel(topk, "cpu/topk/heap", ([x], [values, indices], { axis = -1, largest = true }) => {
    if (!direct(x.dtype)) return undefined;
    const a = normalizeAxis("topk", axis, x.shape.length);
    const k = (values ?? indices).shape[a];
    const n = x.shape[a];
    const inner = sizeBetween(x.shape, a + 1, x.shape.length);
    const flip = largest ? 0 : -1;
    const wide: WideRow | undefined = isBig(x.dtype)
      ? {
          words: new Int32Array(),
          at: 0,
          step: 2 * inner,
          high: x.dtype === "u64" ? flip ^ (1 << 31) : flip,
          low: flip,
        }
      : undefined;
    const row: Row = { n, keys: new Float64Array(wide ? 0 : n), wide, nanFirst: largest };
    const keys = new Float64Array(k);
    const ids = new Int32Array(k);
    const [view, indexView] = [wordView(), wordView()];
    return {
      run([data], [best, at]) {
        if (k === 0) return;
        if (wide) wide.words = view(data) as Int32Array;
        const places = (start: number) => {
          if (wide) wide.at = 2 * start;
          // The smallest are the largest of the opposites.
          else readKeys(data as Float32Array, start, inner, largest ? 1 : -1, row.keys);
          selectBest(row, keys, ids);
          return ids;
        };
        forRows(x.shape, a, k, [data, best, at && (indexView(at) as Int32Array)], places);
      },
    };
  }),
];
