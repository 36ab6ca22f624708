import { fromF64, toF64 } from "../tensor/convert.ts";
import { isBig } from "../tensor/dtype.ts";
import { roundHalfEven } from "../tensor/float.ts";
import { sizeOf, stridesOf } from "../tensor/shape.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { dtypeError, expectFloat, shapeError } from "./check.ts";
import { movers } from "./copy.ts";
import { defineOp } from "./op.ts";
import { cubicWeight, linearWeight } from "./resample.ts";

export type PaddingMode = "zeros" | "border" | "reflection";

export interface GridSampleAttrs {
  /** Default `linear`: bilinear, trilinear and so on by rank. */
  mode?: "linear" | "nearest" | "cubic";
  /** What lies outside the input. Default `zeros`. */
  paddingMode?: PaddingMode;
  /** -1 and 1 are the centres of the corner elements, instead of their outer edges. Default false. */
  alignCorners?: boolean;
}

/** Reflects v at the borders until it lies between them. */
function reflect(v: number, min: number, max: number): number {
  const range = max - min;
  if (range <= 0) return min;
  const beyond = v < min ? min - v : v > max ? v - max : 0;
  if (beyond === 0) return v;
  const rest = beyond % range;
  const fromNear = Math.floor(beyond / range) % 2 === 0;
  return v < min === fromNear ? min + rest : max - rest;
}

/**
 * Position in an axis of n elements of the normalised coordinate `g`, brought inside as the padding mode says. Rounded
 * to f32 where the grid is no wider, so that ties of the nearest mode fall as they do in f32 arithmetic.
 */
export function gridPosition(g: number, n: number, attrs: GridSampleAttrs, wide: boolean): number {
  const exact = attrs.alignCorners ? ((g + 1) / 2) * (n - 1) : ((g + 1) * n - 1) / 2;
  let v = wide ? exact : Math.fround(exact);
  if (attrs.mode === "nearest") v = roundHalfEven(v);
  const min = attrs.alignCorners ? 0 : -0.5;
  const max = attrs.alignCorners ? n - 1 : n - 0.5;
  if (v < min || v > max) {
    // Cubic samples keep their place, and the elements they miss repeat the border, as in PyTorch.
    if (attrs.paddingMode === "border" && attrs.mode !== "cubic") v = Math.max(0, Math.min(n - 1, v));
    else if (attrs.paddingMode === "reflection") v = reflect(v, min, max);
  }
  return v;
}

/** The element that position `i` (whole) reads; -1 for the zeros around the input. NaN and infinities read zero too. */
export function gridElement(i: number, n: number, attrs: GridSampleAttrs): number {
  if (i >= 0 && i < n) return i;
  if (attrs.paddingMode === "border") return i < 0 ? 0 : i >= n ? n - 1 : -1;
  if (attrs.paddingMode === "reflection" && Number.isFinite(i))
    return Math.trunc(reflect(i, attrs.alignCorners ? 0 : -0.5, attrs.alignCorners ? n - 1 : n - 0.5));
  return -1;
}

const radii = { nearest: 0, linear: 1, cubic: 2 } as const;

/**
 * Samples x [N, C, D1 .. Dr] at the positions in grid [N, E1 .. Er, r], whose last axis lists coordinates from the
 * innermost axis outwards, -1 to 1 across the input. Gives [N, C, E1 .. Er]. Source: Spatial Transformer Networks,
 * arXiv 1506.02025; the cubic kernel has a = -0.75.
 * @throws ShapeError where the batches or the number of coordinates differ
 */
export const gridSample = /* @__PURE__ */ defineOp({
  name: "gridSample",
  inputs: ["x", "grid"],
  infer([x, grid], attrs: GridSampleAttrs) {
    expectFloat("gridSample", grid);
    const spatial = x.shape.length - 2;
    if (spatial < 1) shapeError("gridSample", "takes batch, channels and at least one more axis", x);
    if (grid.shape.length !== x.shape.length || grid.shape[0] !== x.shape[0] || grid.shape[spatial + 1] !== spatial)
      shapeError("gridSample", `the grid must be [${x.shape[0]}, ..., ${spatial}] of rank ${spatial + 2}`, x, grid);
    if (x.dtype === "string" && attrs.mode !== "nearest") dtypeError("gridSample", "interpolates numbers", x);
    const shape = [x.shape[0], x.shape[1], ...grid.shape.slice(1, -1)];
    if (sizeOf(x.shape.slice(2)) === 0 && sizeOf(shape) > 0) shapeError("gridSample", "nothing to sample from", x);
    return { dtype: x.dtype, shape };
  },
  reference([x, grid], attrs, [y]) {
    const [batches, channels, ...dims] = x.shape;
    const rank = dims.length;
    const strides = stridesOf(dims);
    const plane = sizeOf(dims);
    const points = sizeOf(grid.shape.slice(1, -1));
    const coordinates = toF64(grid);
    const wide = grid.dtype === "f64";
    const position = new Array<number>(rank);
    const sample = attrs.mode === "nearest" ? nearestSampler(x, y) : weightedSampler(x, y);
    for (let n = 0; n < batches; n++)
      for (let p = 0; p < points; p++) {
        for (let d = 0; d < rank; d++)
          position[d] = gridPosition(coordinates[(n * points + p) * rank + rank - 1 - d], dims[d], attrs, wide);
        const taps = tapsAt(position, dims, strides, attrs);
        for (let c = 0; c < channels; c++) sample((n * channels + c) * plane, taps, (n * channels + c) * points + p);
      }
    if (attrs.mode !== "nearest") fromF64((sample as ReturnType<typeof weightedSampler>).values, y);
  },
});

/** Offsets (-1: zero) and weights of everything that a position reads. */
function tapsAt(
  position: readonly number[],
  dims: readonly number[],
  strides: readonly number[],
  attrs: GridSampleAttrs,
): [number, number][] {
  const radius = radii[attrs.mode ?? "linear"];
  let taps: [number, number][] = [[0, 1]];
  position.forEach((v, d) => {
    const first = radius === 0 ? v : Math.floor(v) - radius + 1;
    const next: [number, number][] = [];
    for (let t = 0; t < Math.max(1, 2 * radius); t++) {
      const weight = radius === 0 ? 1 : radius === 1 ? linearWeight(first + t - v) : cubicWeight(first + t - v, -0.75);
      const i = gridElement(first + t, dims[d], attrs);
      for (const [offset, w] of taps) next.push([offset < 0 || i < 0 ? -1 : offset + i * strides[d], w * weight]);
    }
    taps = next;
  });
  return taps;
}

type Sampler = (base: number, taps: readonly [number, number][], to: number) => void;

function nearestSampler(x: HostTensor, y: HostTensor): Sampler {
  const { src, dst } = movers(x, y);
  const zero = (x.dtype === "string" ? "" : isBig(x.dtype) ? 0n : 0) as number;
  return (base, [[offset]], to) => {
    dst[to] = offset < 0 ? zero : src[base + offset];
  };
}

function weightedSampler(x: HostTensor, y: HostTensor): Sampler & { values: Float64Array } {
  const src = toF64(x);
  const values = new Float64Array(sizeOf(y.shape));
  const sample: Sampler = (base, taps, to) => {
    let sum = 0;
    for (const [offset, weight] of taps) if (offset >= 0) sum += weight * src[base + offset];
    values[to] = sum;
  };
  return Object.assign(sample, { values });
}
