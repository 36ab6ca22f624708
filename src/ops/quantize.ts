/**
 * Linear quantization (ONNX QuantizeLinear and relatives): y = saturate(round(x / scale) + zeroPoint) and back. `scale`
 * is a scalar, one for each index along `axis`, or one for each block of `blockSize` elements along it.
 */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { type DType, dtypes, isFloat, isInteger } from "../tensor/dtype.ts";
import { roundHalfEven } from "../tensor/float.ts";
import { normalizeAxis, sameShape, sizeBetween, sizeOf } from "../tensor/shape.ts";
import { emptyTensor, type TensorType } from "../tensor/tensor.ts";
import { encodeNumbers } from "./cast.ts";
import { dtypeError, expectDType, shapeError } from "./check.ts";
import { integerRange } from "./integers.ts";
import { defineOp } from "./op.ts";

export interface GranularityAttrs {
  /** The axis that scales go along. Default 1. */
  axis?: number;
  /** Elements that share a scale along the axis. Default 0: not blocked. */
  blockSize?: number;
}

/** Where the scale of an element is: `[outer, n, inner]` elements, scale `(o * blocks + floor(k / block)) * inner + i`. */
export interface ScaleLayout {
  outer: number;
  n: number;
  inner: number;
  kind: "tensor" | "axis" | "block";
  block: number;
}

/** How `scale` covers `x`. Throws ShapeError where it does not. */
export function scaleLayout(
  op: string,
  x: TensorType,
  scale: TensorType,
  { axis = 1, blockSize = 0 }: GranularityAttrs,
): ScaleLayout {
  const rank = x.shape.length;
  const split = (a: number, kind: "axis" | "block", block: number): ScaleLayout => ({
    outer: sizeBetween(x.shape, 0, a),
    n: x.shape[a],
    inner: sizeBetween(x.shape, a + 1, rank),
    kind,
    block,
  });
  if (blockSize > 0) {
    const a = normalizeAxis(op, axis, rank);
    const expected = x.shape.map((d, i) => (i === a ? Math.ceil(d / blockSize) : d));
    if (!sameShape(scale.shape, expected)) shapeError(op, `scale must be [${expected}] for blocks`, x, scale);
    return split(a, "block", blockSize);
  }
  if (sizeOf(scale.shape) === 1 && scale.shape.length <= 1)
    return { outer: 1, n: 1, inner: sizeOf(x.shape), kind: "tensor", block: 0 };
  // A vector has but one axis, whatever the attribute says.
  const a = rank === 1 ? 0 : normalizeAxis(op, axis, rank);
  if (scale.shape.length !== 1 || scale.shape[0] !== x.shape[a])
    shapeError(op, `scale must be a scalar or have the size of axis ${axis}`, x, scale);
  return split(a, "axis", 1);
}

/** Calls `visit(element, scale index)` for all elements in order. */
function forEachScale({ outer, n, inner, kind, block }: ScaleLayout, visit: (e: number, s: number) => void): void {
  const blocks = Math.ceil(n / block);
  let e = 0;
  for (let o = 0; o < outer; o++)
    for (let k = 0; k < n; k++)
      for (let i = 0; i < inner; i++)
        visit(e++, kind === "tensor" ? 0 : kind === "axis" ? k : (o * blocks + Math.floor(k / block)) * inner + i);
}

function checkZeroPoint(op: string, dtype: DType, scale: TensorType, zeroPoint: TensorType | undefined): void {
  if (!zeroPoint) return;
  if (zeroPoint.dtype !== dtype) dtypeError(op, `the zero point must be ${dtype}`, zeroPoint);
  if (!sameShape(zeroPoint.shape, scale.shape) && sizeOf(zeroPoint.shape) * sizeOf(scale.shape) !== 1)
    shapeError(op, "scale and zero point differ in shape", scale, zeroPoint);
}

/** Rounds to the precision of a float dtype; others compute in f32. */
function rounder(dtype: DType): (v: number) => number {
  if (dtype === "f64") return (v) => v;
  if (dtype !== "f16" && dtype !== "bf16") return Math.fround;
  const probe = emptyTensor({ dtype, shape: [1] });
  return (v) => {
    fromF64([v], probe);
    return toF64(probe)[0];
  };
}

const isLowFloat = (dtype: DType): boolean => isFloat(dtype) && dtypes[dtype].bytes === 1 && dtype !== "f8e8m0";
const quantizable = (dtype: DType): boolean => isLowFloat(dtype) || (isInteger(dtype) && dtypes[dtype].bits <= 16);

export interface QuantizeLinearAttrs extends GranularityAttrs {
  /** Default: that of the zero point, or u8. */
  dtype?: DType;
  /** What x / scale is computed in. Default: the dtype of `scale`. */
  precision?: DType;
  /** fp8: values out of range become the largest one. Default true. */
  saturate?: boolean;
}

/** Floats or i32 to integers of up to 16 bits (halves round to even, saturating), fp8 or fp4. */
export const quantizeLinear = /* @__PURE__ */ defineOp({
  name: "quantizeLinear",
  inputs: ["x", "scale", "zeroPoint?"],
  infer([x, scale, zeroPoint], attrs: QuantizeLinearAttrs) {
    const dtype = attrs.dtype ?? zeroPoint?.dtype ?? "u8";
    if (!isFloat(x.dtype) && x.dtype !== "i32") dtypeError("quantizeLinear", "takes float or i32 tensors", x);
    if (!isFloat(scale.dtype) && scale.dtype !== "i32") dtypeError("quantizeLinear", "scale must be float", scale);
    if (!quantizable(dtype)) dtypeError("quantizeLinear", `does not quantize to ${dtype}`, x);
    checkZeroPoint("quantizeLinear", dtype, scale, zeroPoint);
    scaleLayout("quantizeLinear", x, scale, attrs);
    return { dtype, shape: x.shape };
  },
  reference([x, scale, zeroPoint], attrs, [y]) {
    const round = rounder(attrs.precision ?? scale.dtype);
    const xs = toF64(x);
    const scales = toF64(scale);
    const zeros = zeroPoint && toF64(zeroPoint);
    const out = new Float64Array(xs.length);
    const integer = isInteger(y.dtype);
    const [low, high] = integerRange(y.dtype).map(Number);
    forEachScale(scaleLayout("quantizeLinear", x, scale, attrs), (e, s) => {
      const q = round(round(xs[e]) / round(scales[s]));
      const zero = zeros ? zeros[s] : 0;
      out[e] = integer ? Math.min(Math.max(roundHalfEven(q) + zero, low), high) : q + zero;
    });
    encodeNumbers(out, y, { saturate: attrs.saturate });
  },
});

export interface DequantizeLinearAttrs extends GranularityAttrs {
  /** Default: the dtype of `scale`. */
  dtype?: DType;
}

/** (x - zeroPoint) scale. `x` is what quantizeLinear gives, or i32. */
export const dequantizeLinear = /* @__PURE__ */ defineOp({
  name: "dequantizeLinear",
  inputs: ["x", "scale", "zeroPoint?"],
  infer([x, scale, zeroPoint], attrs: DequantizeLinearAttrs) {
    const dtype = attrs.dtype ?? scale.dtype;
    if (!quantizable(x.dtype) && x.dtype !== "i32") dtypeError("dequantizeLinear", "takes quantized tensors", x);
    if (!isFloat(scale.dtype)) dtypeError("dequantizeLinear", "scale must be float", scale);
    if (!isFloat(dtype)) dtypeError("dequantizeLinear", `does not give ${dtype}`, x);
    checkZeroPoint("dequantizeLinear", x.dtype, scale, zeroPoint);
    scaleLayout("dequantizeLinear", x, scale, attrs);
    return { dtype, shape: x.shape };
  },
  reference([x, scale, zeroPoint], attrs, [y]) {
    // Embeddings and the like are folded this way: doubles of all elements would be eight times what they take.
    const xs = x.dtype === "u8" || x.dtype === "i8" ? (x.data as Uint8Array) : toF64(x);
    const scales = toF64(scale);
    const zeros = zeroPoint && toF64(zeroPoint);
    const out = y.dtype === "f32" ? (y.data as Float32Array) : new Float64Array(xs.length);
    forEachScale(scaleLayout("dequantizeLinear", x, scale, attrs), (e, s) => {
      out[e] = (xs[e] - (zeros ? zeros[s] : 0)) * scales[s];
    });
    if (out !== y.data) fromF64(out, y);
  },
});

export interface DynamicQuantizeAttrs {
  /**
   * Each row, along the last axis, has its own scale and zero point: [..., 1]. Not in ONNX, where all of x has one of each.
   * Default false.
   */
  perRow?: boolean;
}

/** Rows of `x` that are quantized on their own, and how long they are. */
export function dynamicRows(x: TensorType, { perRow }: DynamicQuantizeAttrs): { rows: number; n: number } {
  const size = sizeOf(x.shape);
  const n = perRow ? x.shape[x.shape.length - 1] : size;
  return { rows: perRow ? size / Math.max(n, 1) : 1, n };
}

/**
 * f32 to u8 with the scale and zero point that cover the values of `x` (of each row) and 0. Results: y, scale, zero point.
 * ONNX DynamicQuantizeLinear-11.
 */
export const dynamicQuantizeLinear = /* @__PURE__ */ defineOp({
  name: "dynamicQuantizeLinear",
  inputs: ["x"],
  outputs: ["y", "scale", "zeroPoint"],
  infer([x], { perRow }: DynamicQuantizeAttrs) {
    expectDType("dynamicQuantizeLinear", x, "f32");
    if (perRow && x.shape.length === 0) shapeError("dynamicQuantizeLinear", "a scalar has no rows", x);
    const shape = perRow ? [...x.shape.slice(0, -1), 1] : [];
    return [
      { dtype: "u8", shape: x.shape },
      { dtype: "f32", shape },
      { dtype: "u8", shape },
    ];
  },
  reference([x], attrs, [y, scale, zeroPoint]) {
    const src = x.data as Float32Array;
    const { rows, n } = dynamicRows(x, attrs);
    for (let r = 0; r < rows; r++) {
      let low = 0;
      let high = 0;
      for (let i = r * n; i < (r + 1) * n; i++) {
        low = Math.min(low, src[i]);
        high = Math.max(high, src[i]);
      }
      const { step, zero } = dynamicScale(low, high);
      scale.data[r] = step;
      zeroPoint.data[r] = zero;
      for (let i = r * n; i < (r + 1) * n; i++)
        y.data[i] = Math.min(Math.max(roundHalfEven(Math.fround(src[i] / step)) + zero, 0), 255);
    }
  },
});

/** Scale (f32) and zero point of u8 values that cover [low, high], which holds 0. All zeros have scale 1. */
export function dynamicScale(low: number, high: number): { step: number; zero: number } {
  const step = Math.fround(Math.fround(high - low) / 255) || 1;
  const zero = roundHalfEven(Math.min(Math.max(Math.fround(-low / step), 0), 255));
  return { step, zero };
}
