import { wordsOf } from "../tensor/convert.ts";
import { normalizeAxis, sizeBetween, sizeOf } from "../tensor/shape.ts";
import { emptyTensor } from "../tensor/tensor.ts";
import { movers } from "./copy.ts";
import { expectTensor } from "./host-values.ts";
import { i64Tensor } from "./indices.ts";
import { defineOp } from "./op.ts";
import { type Comparable, comparable, compareAt } from "./order.ts";

export interface UniqueAttrs {
  /** Compare slices along this axis. Default: the elements of the flattened tensor. */
  axis?: number;
  /** Ascending (the default), or in order of first occurrence. */
  sorted?: boolean;
}

/** An axis of a tensor: [outer, n, inner]. */
interface Slices {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
}

/** Negative, 0 or positive as slice i along the axis is below, equal to or above slice j: element by element. */
const sliceOrder =
  (values: Comparable, { outer, n, inner }: Slices) =>
  (i: number, j: number): number => {
    for (let o = 0; o < outer; o++)
      for (let k = 0; k < inner; k++) {
        const c = compareAt(values, (o * n + i) * inner + k, (o * n + j) * inner + k);
        if (c !== 0) return c;
      }
    return 0;
  };

/** Two words for each element, equal where elements are. */
function wordsOfElements(values: Comparable): Int32Array {
  if (values instanceof BigInt64Array || values instanceof BigUint64Array) return wordsOf(values);
  if (values instanceof Float64Array) {
    // There is one 0, and one NaN.
    const words = wordsOf(values.map((v) => v + 0));
    for (let i = 0; i < values.length; i++) if (Number.isNaN(values[i])) words.set([0, -1], 2 * i);
    return words;
  }
  const numbers = new Map<unknown, number>();
  const words = new Int32Array(2 * values.length);
  for (let i = 0; i < values.length; i++) {
    if (!numbers.has(values[i])) numbers.set(values[i], numbers.size);
    words[2 * i] = numbers.get(values[i])!;
  }
  return words;
}

/** The words of one slice after the other. */
function wordsOfSlices(values: Comparable, { outer, n, inner }: Slices): Int32Array {
  const words = wordsOfElements(values);
  if (outer === 1) return words;
  const slices = new Int32Array(words.length);
  const length = 2 * inner;
  for (let i = 0, to = 0; i < n; i++)
    for (let o = 0; o < outer; o++, to += length)
      slices.set(words.subarray((o * n + i) * length, (o * n + i + 1) * length), to);
  return slices;
}

/** Numbers slices of `length` words by first occurrence: a hash table of those numbers, with linear probing. */
class Groups {
  /** The first slice of each. */
  readonly first: number[] = [];
  readonly counts: number[] = [];
  private readonly bits: number;
  private readonly table: Int32Array;

  constructor(
    private readonly words: Int32Array,
    private readonly length: number,
    n: number,
  ) {
    this.bits = Math.max(1, Math.ceil(Math.log2(2 * n)));
    this.table = new Int32Array(2 ** this.bits).fill(-1);
  }

  /** Slice i is of this group. */
  add(i: number): number {
    const slot = this.slotOf(this.words, i);
    if (this.table[slot] < 0) {
      this.table[slot] = this.first.push(i) - 1;
      this.counts.push(0);
    }
    this.counts[this.table[slot]]++;
    return this.table[slot];
  }

  /** The group of slice i of some other words; -1 if none is. */
  find = (words: Int32Array, i: number): number => this.table[this.slotOf(words, i)];

  private slotOf(words: Int32Array, i: number): number {
    const { length, table } = this;
    let hash = 0;
    for (let w = i * length; w < (i + 1) * length; w++) {
      hash = Math.imul(hash ^ words[w], 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    let slot = Math.imul(hash, 0x85ebca6b) >>> (32 - this.bits);
    while (table[slot] >= 0 && !this.equals(this.first[table[slot]], words, i)) slot = (slot + 1) % table.length;
    return slot;
  }

  private equals(j: number, words: Int32Array, i: number): boolean {
    const { length } = this;
    for (let w = 0; w < length; w++) if (this.words[j * length + w] !== words[i * length + w]) return false;
    return true;
  }
}

/** Groups in ascending order. */
function ascending(groups: Groups, values: Comparable, slices: Slices): number[] {
  const { first } = groups;
  if (slices.outer * slices.inner === 1 && !Array.isArray(values)) {
    // Sorting numbers without a function is many times as fast, but loses where they were.
    const sorted = (values as Float64Array).slice(0, first.length);
    first.forEach((i, k) => {
      sorted[k] = (values as Float64Array)[i];
    });
    const words = wordsOfElements(sorted.sort());
    return first.map((_, k) => groups.find(words, k));
  }
  const order = sliceOrder(values, slices);
  return first.map((_, g) => g).sort((g, h) => order(first[g], first[h]));
}

/**
 * The distinct elements (or slices), the position of each one's first occurrence, for every element of `x` its position
 * among the distinct ones, and how often each occurs. The last three are i64 vectors. NaNs are equal to each other.
 */
export const unique = /* @__PURE__ */ defineOp({
  name: "unique",
  inputs: ["x"],
  outputs: ["y", "indices", "inverse", "counts"],
  evaluate([value], { axis, sorted = true }: UniqueAttrs) {
    const x = expectTensor("unique", value);
    const shape = axis === undefined ? [sizeOf(x.shape)] : [...x.shape];
    const a = axis === undefined ? 0 : normalizeAxis("unique", axis, shape.length);
    const n = shape[a];
    const outer = sizeBetween(shape, 0, a);
    const inner = sizeBetween(shape, a + 1, shape.length);
    const slices = { outer, n, inner };
    const values = comparable(x);
    const groups = new Groups(wordsOfSlices(values, slices), 2 * outer * inner, n);
    const inverse = new Int32Array(n);
    for (let i = 0; i < n; i++) inverse[i] = groups.add(i);
    const order = sorted ? ascending(groups, values, slices) : groups.first.map((_, g) => g);
    const first = order.map((g) => groups.first[g]);
    const places = new Int32Array(order.length);
    order.forEach((g, k) => {
      places[g] = k;
    });
    shape[a] = order.length;
    const y = emptyTensor({ dtype: x.dtype, shape });
    const { src, dst } = movers(x, y);
    let j = 0;
    for (let o = 0; o < outer; o++)
      for (const i of first) for (let k = 0; k < inner; k++) dst[j++] = src[(o * n + i) * inner + k];
    const counts = order.map((g) => groups.counts[g]);
    return [y, i64Tensor(first), i64Tensor(inverse.map((g) => places[g])), i64Tensor(counts)];
  },
});
