/**
 * Gathers and scatters: indices are resolved and checked first, into a table of offsets; then words are moved. Slices
 * that are contiguous move as rows. Reductions are for f32.
 */
import { gather } from "../../ops/gather.ts";
import { gatherElements } from "../../ops/gather-elements.ts";
import { gatherNd } from "../../ops/gather-nd.ts";
import { resolveIndex } from "../../ops/indices.ts";
import { oneHot } from "../../ops/one-hot.ts";
import { reverseSequence, sequenceLengths } from "../../ops/reverse-sequence.ts";
import type { ScatterAttrs } from "../../ops/scatter.ts";
import { scatterElements } from "../../ops/scatter-elements.ts";
import { scatterNd } from "../../ops/scatter-nd.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { normalizeAxis, type Shape, sizeBetween, sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type HostStep, hostKernel, type Kernel } from "../backend.ts";
import { copyRow, wordsPerElement, wordView } from "./movement-words.ts";

/** Fills `offsets` from the run's indices. */
type Resolver = (indices: TypedArray, offsets: Int32Array) => void;

/**
 * Reads the k-th index: 64-bit ones by their low word, where the high one is its sign; anything else is outside every
 * axis.
 */
function readIndex(words: Int32Array, k: number, big: boolean): number {
  if (!big) return words[k];
  const low = words[2 * k];
  return words[2 * k + 1] === low >> 31 ? low : words[2 * k + 1] * 2 ** 32 + (low >>> 0);
}

/** Offsets (times `scale`) of indices into one axis. */
function axisOffsets(op: string, t: TensorType, size: number, axis: number, scale: number): Resolver {
  const view = wordView();
  const big = t.dtype === "i64";
  return (indices, offsets) => {
    const words = view(indices) as Int32Array;
    for (let k = 0; k < offsets.length; k++) {
      const i = readIndex(words, k, big);
      offsets[k] = (i >= 0 && i < size ? i : resolveIndex(op, i, size, axis)) * scale;
    }
  };
}

/** Offsets (times `scale`) of the slices named by index tuples, in an array of `shape`. */
function tupleOffsets(op: string, t: TensorType, shape: Shape, batchDims: number, scale: number): Resolver {
  const view = wordView();
  const big = t.dtype === "i64";
  const tuple = t.shape.at(-1)!;
  const strides = stridesOf(shape).slice(batchDims);
  const batches = sizeBetween(shape, 0, batchDims);
  const batchSize = sizeBetween(shape, batchDims, shape.length);
  const sizes = shape.slice(batchDims);
  return (indices, offsets) => {
    const words = view(indices) as Int32Array;
    const perBatch = offsets.length / batches;
    for (let k = 0; k < offsets.length; k++) {
      let at = Math.floor(k / perBatch) * batchSize;
      for (let d = 0; d < tuple; d++)
        at += resolveIndex(op, readIndex(words, k * tuple + d, big), sizes[d], batchDims + d) * strides[d];
      offsets[k] = at * scale;
    }
  };
}

/** y = rows of `row` words of x at the offsets, for each of `outer` parts of `stride` words. */
function gatherRows(resolve: Resolver, count: number, row: number, outer: number, stride: number): HostStep {
  const offsets = new Int32Array(count);
  const [srcOf, dstOf] = [wordView(), wordView()];
  return {
    run([x, indices], [y]) {
      resolve(indices, offsets);
      const [src, dst] = [srcOf(x), dstOf(y)];
      let j = 0;
      for (let o = 0; o < outer; o++) {
        const base = o * stride;
        if (row === 1) for (let k = 0; k < count; k++) dst[j++] = src[base + offsets[k]];
        else for (let k = 0; k < count; k++, j += row) copyRow(src, base + offsets[k], dst, j, row);
      }
    },
  };
}

/** y = x with rows of `row` words written at the offsets. */
function scatterRows(resolve: Resolver, count: number, row: number): HostStep {
  const offsets = new Int32Array(count);
  const [xOf, srcOf, dstOf] = [wordView(), wordView(), wordView()];
  return {
    run([x, indices, updates], [y]) {
      resolve(indices, offsets);
      const [src, dst] = [srcOf(updates), dstOf(y)];
      dst.set(xOf(x));
      for (let k = 0, i = 0; k < count; k++, i += row) copyRow(src, i, dst, offsets[k], row);
    },
  };
}

/** Where each element of `indices` points in an array of `shape` along an axis, in elements. */
function elementOffsets(op: string, t: TensorType, shape: Shape, axis: number): Resolver {
  const strides = stridesOf(shape);
  const inAxis = axisOffsets(op, t, shape[axis], axis, strides[axis]);
  const others = strides.map((s, a) => (a === axis ? 0 : s));
  const last = t.shape.length - 1;
  const [width, step] = [t.shape[last], others[last]];
  const index = new Int32Array(last);
  return (indices, offsets) => {
    inAxis(indices, offsets);
    index.fill(0);
    let base = 0;
    for (let row = 0; row < offsets.length; row += width) {
      for (let c = 0; c < width; c++) offsets[row + c] += base + c * step;
      for (let d = last - 1; d >= 0; d--) {
        base += others[d];
        if (++index[d] < t.shape[d]) break;
        base -= others[d] * index[d];
        index[d] = 0;
      }
    }
  };
}

/** The resolver with offsets in words. */
const scaled =
  (resolve: Resolver, words: number): Resolver =>
  (indices, offsets) => {
    resolve(indices, offsets);
    if (words > 1) for (let k = 0; k < offsets.length; k++) offsets[k] *= words;
  };

type Reduction = NonNullable<ScatterAttrs["reduction"]>;
const reductions: Partial<Record<Reduction, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  mul: (a, b) => a * b,
  max: Math.max,
  min: Math.min,
};

/** y = x with rows of `row` elements of f32 joined to those at the offsets, one after the other. */
function reduceRows(resolve: Resolver, count: number, row: number, reduction: Reduction): HostStep | undefined {
  const combine = reductions[reduction];
  if (!combine) return undefined;
  const offsets = new Int32Array(count);
  return {
    run([x, indices, updates], [y]) {
      resolve(indices, offsets);
      const [src, dst] = [updates as Float32Array, y as Float32Array];
      dst.set(x as Float32Array);
      for (let k = 0, i = 0; k < count; k++)
        for (let j = offsets[k]; j < offsets[k] + row; j++) dst[j] = combine(dst[j], src[i++]);
    },
  };
}

/** The sequences' steps as rows of words, whichever of the two axes is the outer one. */
function reversal(x: TensorType, lengths: TensorType, batch: number, time: number): HostStep {
  const { shape } = x;
  const [first, second] = batch < time ? [batch, time] : [time, batch];
  const row = sizeBetween(shape, second + 1, shape.length) * wordsPerElement(x.dtype);
  const [outer, between] = [sizeBetween(shape, 0, first), sizeBetween(shape, first + 1, second)];
  const [strideOut, strideIn] = [between * shape[second] * row, row];
  const stride = time === first ? strideOut : strideIn;
  const [srcOf, dstOf] = [wordView(), wordView()];
  return {
    run([a, n], [b]) {
      const long = sequenceLengths({ dtype: lengths.dtype, data: n }, shape, time);
      const [src, dst] = [srcOf(a), dstOf(b)];
      let at = 0;
      for (let o = 0; o < outer; o++)
        for (let i = 0; i < shape[first]; i++)
          for (let m = 0; m < between; m++)
            for (let j = 0; j < shape[second]; j++, at += row) {
              const [t, count] = time === first ? [i, long[j]] : [j, long[i]];
              copyRow(src, t < count ? at + (count - 1 - 2 * t) * stride : at, dst, at, row);
            }
    },
  };
}

export const indexingKernels: readonly Kernel<HostStep>[] = [
  hostKernel(gather, "cpu/gather/rows", ([x, indices], _, { axis = 0 }) => {
    const a = normalizeAxis("gather", axis, x.shape.length);
    const row = sizeBetween(x.shape, a + 1, x.shape.length) * wordsPerElement(x.dtype);
    const resolve = axisOffsets("gather", indices, x.shape[a], a, row);
    return gatherRows(resolve, sizeOf(indices.shape), row, sizeBetween(x.shape, 0, a), x.shape[a] * row);
  }),
  hostKernel(gatherNd, "cpu/gatherNd/rows", ([x, indices], _, { batchDims = 0 }) => {
    const tuple = indices.shape.at(-1)!;
    const words = wordsPerElement(x.dtype);
    const row = sizeBetween(x.shape, batchDims + tuple, x.shape.length) * words;
    const resolve = tupleOffsets("gatherNd", indices, x.shape, batchDims, words);
    return gatherRows(resolve, sizeOf(indices.shape) / tuple, row, 1, 0);
  }),
  hostKernel(gatherElements, "cpu/gatherElements/offsets", ([x, indices], _, { axis = 0 }) => {
    const a = normalizeAxis("gatherElements", axis, x.shape.length);
    const words = wordsPerElement(x.dtype);
    const resolve = scaled(elementOffsets("gatherElements", indices, x.shape, a), words);
    return gatherRows(resolve, sizeOf(indices.shape), words, 1, 0);
  }),
  hostKernel(scatterElements, "cpu/scatterElements/offsets", ([x, indices], _, { axis = 0, reduction = "none" }) => {
    if (reduction !== "none") return undefined;
    const a = normalizeAxis("scatterElements", axis, x.shape.length);
    const words = wordsPerElement(x.dtype);
    const resolve = scaled(elementOffsets("scatterElements", indices, x.shape, a), words);
    return scatterRows(resolve, sizeOf(indices.shape), words);
  }),
  hostKernel(scatterNd, "cpu/scatterNd/rows", ([x, indices], _, { reduction = "none" }) => {
    if (reduction !== "none") return undefined;
    const tuple = indices.shape.at(-1)!;
    const words = wordsPerElement(x.dtype);
    const row = sizeBetween(x.shape, tuple, x.shape.length) * words;
    const resolve = tupleOffsets("scatterNd", indices, x.shape, 0, words);
    return scatterRows(resolve, sizeOf(indices.shape) / tuple, row);
  }),
  hostKernel(scatterElements, "cpu/scatterElements/reduce", ([x, indices], _, { axis = 0, reduction = "none" }) => {
    if (x.dtype !== "f32") return undefined;
    const a = normalizeAxis("scatterElements", axis, x.shape.length);
    const resolve = elementOffsets("scatterElements", indices, x.shape, a);
    return reduceRows(resolve, sizeOf(indices.shape), 1, reduction);
  }),
  hostKernel(scatterNd, "cpu/scatterNd/reduce", ([x, indices], _, { reduction = "none" }) => {
    if (x.dtype !== "f32") return undefined;
    const tuple = indices.shape.at(-1)!;
    const row = sizeBetween(x.shape, tuple, x.shape.length);
    return reduceRows(tupleOffsets("scatterNd", indices, x.shape, 0, 1), sizeOf(indices.shape) / tuple, row, reduction);
  }),
  hostKernel(reverseSequence, "cpu/reverseSequence/rows", ([x, lengths], _, { batchAxis = 1, timeAxis = 0 }) => {
    const rank = x.shape.length;
    const axes = [batchAxis, timeAxis].map((a) => normalizeAxis("reverseSequence", a, rank));
    return reversal(x, lengths, axes[0], axes[1]);
  }),
  hostKernel(oneHot, "cpu/oneHot/i64", ([indices], [y], { axis = -1 }) => {
    if (indices.dtype !== "i64" && indices.dtype !== "i32") return undefined;
    const a = normalizeAxis("oneHot", axis, y.shape.length);
    const depth = y.shape[a];
    const inner = sizeBetween(y.shape, a + 1, y.shape.length);
    const big = indices.dtype === "i64";
    const count = sizeOf(indices.shape);
    const view = wordView();
    return {
      run([at, , values], [out]) {
        const words = view(at) as Int32Array;
        const [off, on] = values as Float32Array;
        const dst = out as Float32Array;
        dst.fill(off);
        for (let k = 0; k < count; k++) {
          const i = readIndex(words, k, big);
          const hot = i < 0 ? i + depth : i;
          if (hot >= 0 && hot < depth) dst[(Math.floor(k / inner) * depth + hot) * inner + (k % inner)] = on;
        }
      },
    };
  }),
];
