/**
 * Resize on typed arrays. Everything about positions is worked out at plan time (see ops/resample.ts).
 * - nearest: gathers rows by an index table; a row that comes from the same source as the one above is copied from it.
 * - separable: f32 linear, cubic and antialiased, one pass for each resized axis, so 2 + 2 taps instead of 2 x 2. Passes
 *   that shrink come first; each plane goes through all passes while it is in the cache. Passes along inner axes add up
 *   whole rows with unit stride.
 * - bytes: u8 linear on two neighbouring axes, all four taps at once.
 */
import type { Taps } from "../../ops/resample.ts";
import { resize, resizedAxes, resizeTaps } from "../../ops/resize.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { sizeBetween, sizeOf, stridesOf } from "../../tensor/shape.ts";
import { type HostStep, type Kernel, kernel } from "../backend.ts";

/** The taps of a resize whose host inputs are known, or undefined where elements are extrapolated. */
function plannedTaps(
  inputs: Parameters<Kernel<HostStep>["plan"]>[0],
  attrs: Parameters<typeof resizeTaps>[1],
): Taps[] | undefined {
  const [x, roi, scales, sizes] = inputs;
  const axes = resizedAxes(x!, roi?.constant, scales?.constant, sizes?.constant, attrs);
  const taps = resizeTaps(axes, attrs);
  return taps.some((t) => t.outside) ? undefined : taps;
}

const nearest = kernel<HostStep, typeof resize>(resize, "cpu/resize/nearest", (inputs, [y], attrs) => {
  if ((attrs.mode ?? "nearest") !== "nearest") return undefined;
  const taps = plannedTaps(inputs, attrs);
  if (!taps) return undefined;
  const { shape } = inputs[0];
  const last = Math.max(0, taps.map((t) => !t.identity).lastIndexOf(true));
  const inner = sizeBetween(shape, last + 1, shape.length);
  const length = shape.length ? y.shape[last] : 1;
  // Where each row of the output starts in the input.
  let rows = Int32Array.of(0);
  const strides = stridesOf(shape);
  for (let d = 0; d < last; d++) {
    const { index } = taps[d];
    const next = new Int32Array(rows.length * index.length);
    rows.forEach((base, r) => {
      for (let k = 0; k < index.length; k++) next[r * index.length + k] = base + index[k] * strides[d];
    });
    rows = next;
  }
  const columns = shape.length ? taps[last].index.map((i) => i * inner) : Int32Array.of(0);
  return {
    run([x], [out]) {
      const width = length * inner;
      for (let r = 0; r < rows.length; r++) {
        const to = r * width;
        if (r > 0 && rows[r] === rows[r - 1]) out.copyWithin(to, to - width, to);
        else if (inner === 1) gatherRow(x as Float32Array, rows[r], columns, out as Float32Array, to);
        else gatherBlocks(x, rows[r], columns, inner, out, to);
      }
    },
  };
});

function gatherRow(x: Float32Array, base: number, columns: Int32Array, y: Float32Array, to: number): void {
  for (let k = 0; k < columns.length; k++) y[to + k] = x[base + columns[k]];
}

function gatherBlocks(
  x: TypedArray,
  base: number,
  columns: Int32Array,
  inner: number,
  y: TypedArray,
  to: number,
): void {
  for (let k = 0; k < columns.length; k++) {
    const from = base + columns[k];
    y.set(x.subarray(from, from + inner) as never, to + k * inner);
  }
}

interface Pass {
  outer: number;
  from: number;
  to: number;
  inner: number;
  count: number;
  index: Int32Array;
  weight: Float32Array;
}

const separable = kernel<HostStep, typeof resize>(resize, "cpu/resize/separable", (inputs, [y], attrs) => {
  if ((attrs.mode ?? "nearest") === "nearest" || y.dtype !== "f32") return undefined;
  const taps = plannedTaps(inputs, attrs);
  const active = taps?.map((t, axis) => ({ t, axis })).filter(({ t }) => !t.identity);
  if (!active?.length) return undefined;
  const { shape } = inputs[0];
  const first = active[0].axis;
  const planes = sizeBetween(shape, 0, first);
  const dims = shape.slice(first);
  const planeIn = sizeOf(dims);
  const planeOut = sizeBetween(y.shape, first, y.shape.length);
  const growth = ({ axis }: { axis: number }): number => y.shape[axis] / shape[axis];
  active.sort((a, b) => growth(a) - growth(b) || a.axis - b.axis);
  const passes = active.map(({ t, axis }): Pass => {
    const at = axis - first;
    const outer = sizeBetween(dims, 0, at);
    const inner = sizeBetween(dims, at + 1, dims.length);
    const from = dims[at];
    dims[at] = y.shape[axis];
    return { outer, from, to: dims[at], inner, count: t.count, index: t.index, weight: Float32Array.from(t.weight) };
  });
  // Two buffers that the passes between the first and the last take turns with.
  const between = Math.max(0, ...passes.slice(0, -1).map((p) => p.outer * p.to * p.inner));
  return {
    workspaceBytes: 2 * between * 4,
    run([x], [out], workspace) {
      const { buffer, byteOffset } = workspace;
      const a = new Float32Array(buffer, byteOffset, between);
      const b = new Float32Array(buffer, byteOffset + between * 4, between);
      for (let plane = 0; plane < planes; plane++) {
        let src = x as Float32Array;
        let at = plane * planeIn;
        passes.forEach((pass, i) => {
          const last = i === passes.length - 1;
          const dst = last ? (out as Float32Array) : i % 2 === 0 ? a : b;
          const to = last ? plane * planeOut : 0;
          if (pass.inner > 1) blendRows(src, at, dst, to, pass);
          else if (pass.count === 2) blendPairs(src, at, dst, to, pass);
          else blendTaps(src, at, dst, to, pass);
          src = dst;
          at = 0;
        });
      }
    },
  };
});

/** Along the innermost axis, two taps. */
function blendPairs(x: Float32Array, at: number, y: Float32Array, to: number, p: Pass): void {
  const { index, weight } = p;
  for (let o = 0; o < p.outer; o++) {
    const base = at + o * p.from;
    const end = 2 * p.to;
    for (let k = 0; k < end; k += 2) y[to++] = weight[k] * x[base + index[k]] + weight[k + 1] * x[base + index[k + 1]];
  }
}

/** Along the innermost axis, any number of taps. */
function blendTaps(x: Float32Array, at: number, y: Float32Array, to: number, p: Pass): void {
  const { index, weight, count } = p;
  for (let o = 0; o < p.outer; o++) {
    const base = at + o * p.from;
    for (let k = 0, t = 0; k < p.to; k++) {
      let sum = 0;
      for (const end = t + count; t < end; t++) sum += weight[t] * x[base + index[t]];
      y[to++] = sum;
    }
  }
}

/** Along an outer axis: weighted sums of rows of `inner` elements. */
function blendRows(x: Float32Array, at: number, y: Float32Array, to: number, p: Pass): void {
  const { index, weight, count, inner } = p;
  for (let o = 0; o < p.outer; o++)
    for (let k = 0, t = 0; k < p.to; k++, to += inner) {
      const base = at + o * p.from * inner;
      // The filters all have an even number of taps.
      for (const end = t + count; t < end; t += 2) {
        const w0 = weight[t];
        const w1 = weight[t + 1];
        const r0 = base + index[t] * inner;
        const r1 = base + index[t + 1] * inner;
        if (t + count === end) for (let i = 0; i < inner; i++) y[to + i] = w0 * x[r0 + i] + w1 * x[r1 + i];
        else for (let i = 0; i < inner; i++) y[to + i] += w0 * x[r0 + i] + w1 * x[r1 + i];
      }
    }
}

const bytesLinear = kernel<HostStep, typeof resize>(resize, "cpu/resize/bytes", (inputs, [y], attrs) => {
  if (attrs.mode !== "linear" || y.dtype !== "u8") return undefined;
  const taps = plannedTaps(inputs, attrs);
  if (!taps) return undefined;
  const { shape } = inputs[0];
  const resized = taps.flatMap((t, axis) => (t.identity ? [] : [axis]));
  const [first, second] = resized;
  if (resized.length !== 2 || second !== first + 1 || taps[first].count !== 2 || taps[second].count !== 2)
    return undefined;
  const inner = sizeBetween(shape, second + 1, shape.length);
  const outer = sizeBetween(shape, 0, first);
  const width = shape[second] * inner;
  const plane = shape[first] * width;
  const [rows, columns] = [taps[first], taps[second]];
  const rowLength = y.shape[second] * inner;
  const starts = columns.index.map((i) => i * inner);
  const blend = inner > 1 ? blendBlocks : blendBytes;
  return {
    run([x], [out]) {
      for (let o = 0, to = 0; o < outer; o++)
        for (let r = 0; r < y.shape[first]; r++, to += rowLength) {
          const top = o * plane + rows.index[2 * r] * width;
          const bottom = o * plane + rows.index[2 * r + 1] * width;
          const [upper, lower] = [rows.weight[2 * r], rows.weight[2 * r + 1]];
          blend(x as Uint8Array, top, bottom, upper, lower, starts, columns.weight, inner, out as Uint8Array, to);
        }
    },
  };
});

/** One row of the output. Doubles, and sums in the order of the reference, as what they come to is truncated. */
function blendBytes(
  x: Uint8Array,
  top: number,
  bottom: number,
  upper: number,
  lower: number,
  starts: Int32Array,
  weights: Float64Array,
  _inner: number,
  y: Uint8Array,
  to: number,
): void {
  for (let k = 0; k < starts.length; k += 2) {
    const left = starts[k];
    const right = starts[k + 1];
    y[to++] =
      weights[k] * (upper * x[top + left] + lower * x[bottom + left]) +
      weights[k + 1] * (upper * x[top + right] + lower * x[bottom + right]);
  }
}

/** The same for blocks of `inner` elements, which an inner loop is for: single ones take half as long again in it. */
const blendBlocks: typeof blendBytes = (x, top, bottom, upper, lower, starts, weights, inner, y, to) => {
  for (let k = 0; k < starts.length; k += 2) {
    const w0 = weights[k];
    const w1 = weights[k + 1];
    for (let i = 0; i < inner; i++) {
      const left = starts[k] + i;
      const right = starts[k + 1] + i;
      y[to++] =
        w0 * (upper * x[top + left] + lower * x[bottom + left]) +
        w1 * (upper * x[top + right] + lower * x[bottom + right]);
    }
  }
};

export const resizeKernels: Kernel<HostStep>[] = [nearest, separable, bytesLinear];
