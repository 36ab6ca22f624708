/** What products of quantized tensors share: zero points and scales that go along rows or columns, requantization. */
import { toF64 } from "../tensor/convert.ts";
import { type DType, isInteger } from "../tensor/dtype.ts";
import { roundHalfEven } from "../tensor/float.ts";
import { broadcastShapes, broadcastStrides, forEachOffset, type Shape, sameShape } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { encodeNumbers } from "./cast.ts";
import { dtypeError, shapeError } from "./check.ts";
import { integerRange } from "./integers.ts";

/**
 * Strides that read a zero point or scale as if it had the `target` shape. A vector goes along rows (the last axis but
 * one) or columns (the last); scalars and vectors of one element are for all; other shapes broadcast.
 */
export function parameterStrides(op: string, t: TensorType, target: Shape, along: "rows" | "columns"): number[] {
  const vector = t.shape.length === 1 && t.shape[0] !== 1;
  const shape = vector && along === "rows" ? [t.shape[0], 1] : t.shape.length === 1 && !vector ? [] : t.shape;
  const fits = shape.length <= target.length && sameShape(broadcastShapes(op, shape, target), target);
  if (!fits) shapeError(op, `zero point or scale does not fit [${target}]`, t);
  return broadcastStrides(shape, target);
}

/** x - zeroPoint in doubles, which hold every 8-bit difference and sums of their products exactly. */
export function withoutZero(
  op: string,
  x: HostTensor,
  zeroPoint: HostTensor | undefined,
  along: "rows" | "columns",
): Float64Array {
  const values = toF64(x);
  if (!zeroPoint) return values;
  const zero = toF64(zeroPoint);
  const strides = parameterStrides(op, zeroPoint, x.shape, along);
  const out = new Float64Array(values.length);
  forEachOffset(x.shape, [strides], (i, at) => {
    out[i] = values[i] - zero[at[0]];
  });
  return out;
}

/** Throws unless the zero point has the dtype of what it is for. */
export function checkZeroDType(op: string, x: TensorType, zeroPoint: TensorType | undefined): void {
  if (zeroPoint && zeroPoint.dtype !== x.dtype) dtypeError(op, "zero point differs in dtype", x, zeroPoint);
}

/** Stores saturate(round(sums[i] factor(i)) + zero); the product is rounded to f32 first. */
export function requantize(sums: Float64Array, factor: (i: number) => number, zero: number, y: HostTensor): void {
  const out = sums.map((s, i) => {
    const v = Math.fround(s * factor(i));
    return isInteger(y.dtype) ? clampTo(y.dtype, roundHalfEven(v) + zero) : v + zero;
  });
  encodeNumbers(out, y, { saturate: true });
}

function clampTo(dtype: DType, v: number): number {
  const [low, high] = integerRange(dtype).map(Number);
  return Math.min(Math.max(v, low), high);
}
