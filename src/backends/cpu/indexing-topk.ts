/**
 * heap: the k best of n without sorting the n: a heap of the best so far with the worst of them on top, replaced whenever a
 * better element comes; then the heap is emptied from the back of the result. For small k nearly every element costs one
 * comparison.
 * sort: for large k, as numbers without a comparing function.
 */
import { topk } from "../../ops/topk.ts";
import { normalizeAxis, sizeBetween } from "../../tensor/shape.ts";
import { type HostStep, hostKernel, type Kernel } from "../backend.ts";
import { wordView } from "./movement-words.ts";

/** Whether (a, i) comes after (b, j): larger first, NaN first or last, the lower index first among equals. */
function isWorse(a: number, i: number, b: number, j: number, nanFirst: boolean): boolean {
  if (a < b) return true;
  if (a > b) return false;
  if (a === b) return i > j;
  const nan = Number.isNaN(a);
  return nan === Number.isNaN(b) ? i > j : nan !== nanFirst;
}

/** Moves the element at `root` down to its place: no child may be worse than its parent. */
function siftDown(keys: Float64Array, ids: Int32Array, root: number, size: number, nanFirst: boolean): void {
  const key = keys[root];
  const id = ids[root];
  for (let child = 2 * root + 1; child < size; child = 2 * root + 1) {
    if (child + 1 < size && isWorse(keys[child + 1], ids[child + 1], keys[child], ids[child], nanFirst)) child++;
    if (!isWorse(keys[child], ids[child], key, id, nanFirst)) break;
    keys[root] = keys[child];
    ids[root] = ids[child];
    root = child;
  }
  keys[root] = key;
  ids[root] = id;
}

/**
 * Elements as 64-bit integers that fall into the order wanted: the bits of the f32 above its position. NaN is larger than
 * every number, and -0 equals 0.
 */
function sortKeys(bits: Int32Array, at: number, inner: number, largest: boolean, keys: BigUint64Array): Uint32Array {
  const words = new Uint32Array(keys.buffer);
  for (let p = 0; p < keys.length; p++) {
    const b = bits[at + p * inner];
    const size = b & 0x7fffffff;
    const order = size > 0x7f800000 ? 0x7fffffff : b < 0 ? -size : size;
    words[2 * p] = p;
    words[2 * p + 1] = (largest ? -order : order) ^ 0x80000000;
  }
  keys.sort();
  return words;
}

export const topkKernels: readonly Kernel<HostStep>[] = [
  hostKernel(topk, "cpu/topk/sort", ([x], [values, indices], { axis = -1, largest = true }) => {
    const a = normalizeAxis("topk", axis, x.shape.length);
    const k = (values ?? indices).shape[a];
    const n = x.shape[a];
    if (x.dtype !== "f32" || k * 16 < n) return undefined;
    const inner = sizeBetween(x.shape, a + 1, x.shape.length);
    const outer = sizeBetween(x.shape, 0, a);
    const keys = new BigUint64Array(n);
    const view = wordView();
    return {
      run([data], [best, at]) {
        for (let o = 0; o < outer; o++)
          for (let i = 0; i < inner; i++) {
            const words = sortKeys(view(data) as Int32Array, o * n * inner + i, inner, largest, keys);
            for (let p = 0; p < k; p++) {
              const id = words[2 * p];
              const j = (o * k + p) * inner + i;
              if (best) best[j] = data[(o * n + id) * inner + i];
              if (at) at[j] = BigInt(id);
            }
          }
      },
    };
  }),
  hostKernel(topk, "cpu/topk/heap", ([x], [values, indices], { axis = -1, largest = true }) => {
    if (x.dtype !== "f32" && x.dtype !== "f64" && x.dtype !== "i32") return undefined;
    const a = normalizeAxis("topk", axis, x.shape.length);
    const k = (values ?? indices).shape[a];
    const n = x.shape[a];
    const inner = sizeBetween(x.shape, a + 1, x.shape.length);
    const outer = sizeBetween(x.shape, 0, a);
    // The smallest are the largest of the negated.
    const sign = largest ? 1 : -1;
    const keys = new Float64Array(k);
    const ids = new Int32Array(k);
    return {
      run([data], [best, at]) {
        if (k === 0) return;
        const src = data as Float32Array;
        for (let o = 0; o < outer; o++)
          for (let i = 0; i < inner; i++) {
            const base = o * n * inner + i;
            for (let p = 0; p < k; p++) {
              keys[p] = sign * src[base + p * inner];
              ids[p] = p;
            }
            for (let p = (k >> 1) - 1; p >= 0; p--) siftDown(keys, ids, p, k, largest);
            let worst = keys[0];
            for (let p = k; p < n; p++) {
              const key = sign * src[base + p * inner];
              if (key <= worst || isWorse(key, p, worst, ids[0], largest)) continue;
              keys[0] = key;
              ids[0] = p;
              siftDown(keys, ids, 0, k, largest);
              worst = keys[0];
            }
            for (let p = k - 1; p >= 0; p--) {
              const j = (o * k + p) * inner + i;
              if (best) best[j] = src[base + ids[0] * inner];
              if (at) at[j] = BigInt(ids[0]);
              keys[0] = keys[p];
              ids[0] = ids[p];
              siftDown(keys, ids, 0, p, largest);
            }
          }
      },
    };
  }),
];
