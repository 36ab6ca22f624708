import { fromF64, toF64 } from "../tensor/convert.ts";
import { normalizeAxes, sizeBetween, sizeOf, stridesOf } from "../tensor/shape.ts";
import { emptyTensor, type HostTensor, type TensorType } from "../tensor/tensor.ts";
import { dtypeError, shapeError, valuesOf } from "./check.ts";
import { movers } from "./copy.ts";
import { defineOp, type Operand } from "./op.ts";
import { axisTaps, type CoordinateMode, type NearestMode, type ResizedAxis, type Taps } from "./resample.ts";

export interface ResizeAttrs {
  /** Default `nearest`. */
  mode?: "nearest" | "linear" | "cubic";
  /** Default `half_pixel`. */
  coordinateTransformationMode?: CoordinateMode;
  /** Default `round_prefer_floor`. */
  nearestMode?: NearestMode;
  /** Default -0.75. */
  cubicCoeffA?: number;
  /** Samples outside the input get no weight, instead of repeating its edge. Default false. */
  excludeOutside?: boolean;
  /** Default false. */
  antialias?: boolean;
  /** What samples outside the input are under `tf_crop_and_resize`. Default 0. */
  extrapolationValue?: number;
  /** Axes that roi, scales and sizes speak of. Default: all. */
  axes?: readonly number[];
  /** Whether `sizes` are bounds that the aspect ratio may undercut or exceed. Default `stretch`. */
  keepAspectRatioPolicy?: "stretch" | "not_larger" | "not_smaller";
}

type Given = Operand | HostTensor | undefined;

/** The numbers of an optional host input; undefined also for the empty tensor that stands for "not given". */
function listOf(name: string, t: Given): number[] | undefined {
  if (!t) return undefined;
  const list = valuesOf("resize", name, "data" in t ? { ...t, value: t } : t);
  return list.length ? list : undefined;
}

/** How every axis of `x` is resized. Shared by the shape rule, the reference and the kernels. */
export function resizedAxes(x: TensorType, roi: Given, scales: Given, sizes: Given, attrs: ResizeAttrs): ResizedAxis[] {
  const rank = x.shape.length;
  const axes = attrs.axes ? normalizeAxes("resize", attrs.axes, rank) : x.shape.map((_, i) => i);
  const crops = attrs.coordinateTransformationMode === "tf_crop_and_resize";
  const regions = crops ? listOf("roi", roi) : undefined;
  const factors = listOf("scales", scales);
  const lengths = listOf("sizes", sizes);
  const expect = (name: string, list: number[] | undefined, n: number): void => {
    if (list && list.length !== n) shapeError("resize", `${name} has ${list.length} elements instead of ${n}`, x);
  };
  expect("roi", regions, 2 * axes.length);
  expect("scales", factors, axes.length);
  expect("sizes", lengths, axes.length);
  if (crops && !regions) shapeError("resize", "tf_crop_and_resize needs roi", x);
  if (!factors === !lengths && rank > 0) shapeError("resize", "takes either scales or sizes", x);
  if (factors?.some((f) => !(f > 0))) shapeError("resize", `scales must be positive, got [${factors}]`, x);
  if (lengths?.some((n) => !Number.isInteger(n) || n < 0))
    shapeError("resize", `sizes must be whole and not negative, got [${lengths}]`, x);

  const result: ResizedAxis[] = x.shape.map((n) => ({ input: n, output: n, num: 1, den: 1, roi: [0, 1] }));
  const common = lengths && commonScale(axes, lengths, x, attrs);
  axes.forEach((axis, i) => {
    const input = x.shape[axis];
    const region: [number, number] = regions ? [regions[i], regions[axes.length + i]] : [0, 1];
    if (factors) {
      // The product is rounded to f32, as the scale was: 10 elements times 0.7 are 7.
      const extent = crops ? input * (region[1] - region[0]) : input;
      const output = Math.max(0, Math.floor(Math.fround(extent * factors[i])));
      result[axis] = { input, output, num: factors[i], den: 1, roi: region };
    } else if (common) {
      const output = Math.floor((input * common.num) / common.den + 0.5);
      result[axis] = { input, output, ...common, roi: region };
    } else {
      const output = lengths![i];
      result[axis] = { input, output, num: output, den: input, roi: region };
    }
  });
  for (const { input, output } of result)
    if (input === 0 && output > 0) shapeError("resize", `nothing to make ${output} elements from`, x);
  return result;
}

/** The one scale that keeps the aspect ratio within `lengths`. Undefined where axes stretch independently. */
function commonScale(
  axes: readonly number[],
  lengths: readonly number[],
  x: TensorType,
  { keepAspectRatioPolicy: policy = "stretch" }: ResizeAttrs,
): { num: number; den: number } | undefined {
  if (policy === "stretch") return undefined;
  const scales = axes.map((axis, i) => ({ num: lengths[i], den: x.shape[axis] }));
  const larger = policy === "not_smaller";
  return scales.reduce((a, b) => (b.num * a.den > a.num * b.den === larger ? b : a));
}

/** The taps of every axis, with the defaults filled in. */
export const resizeTaps = (axes: readonly ResizedAxis[], attrs: ResizeAttrs): Taps[] =>
  axes.map((axis) =>
    axisTaps(axis, {
      mode: attrs.mode ?? "nearest",
      coordinateTransformationMode: attrs.coordinateTransformationMode ?? "half_pixel",
      nearestMode: attrs.nearestMode ?? "round_prefer_floor",
      cubicCoeffA: attrs.cubicCoeffA ?? -0.75,
      excludeOutside: attrs.excludeOutside ?? false,
      antialias: attrs.antialias ?? false,
    }),
  );

/**
 * Resamples any of the axes to `scales` times their length, or to `sizes`. `nearest` moves elements of any dtype;
 * `linear` and `cubic` interpolate numbers, separably over all resized axes; integers truncate.
 * @throws ShapeError unless exactly one of scales and sizes is given, with one element for each axis
 */
export const resize = /* @__PURE__ */ defineOp({
  name: "resize",
  inputs: ["x", "roi?", "scales?", "sizes?"],
  host: ["roi", "scales", "sizes"],
  infer([x, roi, scales, sizes], attrs: ResizeAttrs) {
    if ((attrs.mode ?? "nearest") !== "nearest" && x.dtype === "string")
      dtypeError("resize", `${attrs.mode} interpolation takes numbers`, x);
    return { dtype: x.dtype, shape: resizedAxes(x, roi, scales, sizes, attrs).map((a) => a.output) };
  },
  reference([x, roi, scales, sizes], attrs, [y]) {
    const taps = resizeTaps(resizedAxes(x, roi, scales, sizes, attrs), attrs);
    if ((attrs.mode ?? "nearest") === "nearest") gather(x, y, taps);
    else {
      let values = toF64(x);
      const shape = [...x.shape];
      taps.forEach((t, axis) => {
        if (!t.identity) values = resampleAxis(values, shape, axis, t);
      });
      fromF64(values, y);
    }
    extrapolate(y, taps, attrs.extrapolationValue ?? 0);
  },
});

function resampleAxis(x: Float64Array, shape: number[], axis: number, { count, index, weight }: Taps): Float64Array {
  const outer = sizeBetween(shape, 0, axis);
  const inner = sizeBetween(shape, axis + 1, shape.length);
  const from = shape[axis];
  const to = index.length / count;
  shape[axis] = to;
  const y = new Float64Array(outer * to * inner);
  for (let o = 0; o < outer; o++)
    for (let k = 0; k < to; k++)
      for (let i = 0; i < inner; i++) {
        let sum = 0;
        for (let t = k * count; t < (k + 1) * count; t++)
          if (weight[t] !== 0) sum += weight[t] * x[(o * from + index[t]) * inner + i];
        y[(o * to + k) * inner + i] = sum;
      }
  return y;
}

/** Calls `visit` with the coordinates of every element of y, in order. */
function eachElement(shape: readonly number[], visit: (linear: number, at: readonly number[]) => void): void {
  const at = shape.map(() => 0);
  const total = sizeOf(shape);
  for (let linear = 0; linear < total; linear++) {
    visit(linear, at);
    for (let d = shape.length - 1; d >= 0; d--) {
      if (++at[d] < shape[d]) break;
      at[d] = 0;
    }
  }
}

function gather(x: HostTensor, y: HostTensor, taps: readonly Taps[]): void {
  const strides = stridesOf(x.shape);
  const { src, dst } = movers(x, y);
  eachElement(y.shape, (linear, at) => {
    let from = 0;
    for (let d = 0; d < at.length; d++) from += taps[d].index[at[d]] * strides[d];
    dst[linear] = src[from];
  });
}

function extrapolate(y: HostTensor, taps: readonly Taps[], value: number): void {
  if (!taps.some((t) => t.outside)) return;
  const fill = emptyTensor({ dtype: y.dtype, shape: [1] });
  if (y.dtype !== "string") fromF64([value], fill);
  const { src, dst } = movers(fill, y);
  eachElement(y.shape, (linear, at) => {
    if (at.some((a, d) => taps[d].outside?.[a])) dst[linear] = src[0];
  });
}
