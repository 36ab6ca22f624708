/**
 * Elements as numbers and back, for every dtype. References compute in float64: they read with `toF64` and write with
 * `fromF64`, which rounds once to the dtype. i64 and u64 beyond 2^53 need their BigInt arrays read directly.
 */
import { type DType, isBig, type TensorData, type TypedArray } from "./dtype.ts";
import { DTypeError } from "./errors.ts";
import { decodeTable, encodeFloats, type SmallFloat } from "./float.ts";

interface Elements {
  dtype: DType;
  data: TensorData;
}

const isSmallFloat = (dtype: DType): dtype is SmallFloat =>
  dtype === "f16" || dtype === "bf16" || /^f[468]e/.test(dtype);

/** All elements as doubles. A Float64Array tensor is returned as it is: do not write to the result. */
export function toF64(t: Elements): Float64Array {
  const { dtype, data } = t;
  if (data instanceof Float64Array) return data;
  if (dtype === "string") throw new DTypeError("strings are not numbers", { types: [dtype] });
  const out = new Float64Array(data.length);
  if (isSmallFloat(dtype)) {
    const table = decodeTable(dtype);
    for (let i = 0; i < out.length; i++) out[i] = table[data[i] as number];
  } else if (isBig(dtype)) {
    const words = wordsOf(data as BigInt64Array);
    const unsign = dtype === "u64" ? 2 ** 32 : 0;
    // The sum is rounded once, like the integer itself.
    for (let i = 0; i < out.length; i++) {
      const high = words[2 * i + 1];
      out[i] = (high < 0 ? high + unsign : high) * 2 ** 32 + (words[2 * i] >>> 0);
    }
  } else out.set(data as Float32Array);
  return out;
}

const wrapI4 = (v: number): number => ((v & 15) << 28) >> 28;
const wrapI2 = (v: number): number => ((v & 3) << 30) >> 30;

/**
 * Stores doubles into `out`, rounding floats to nearest even and truncating towards zero for integers (losing high bits
 * that these don't have; i64 and u64 as `storeBigInts` does; NaN gives 0). `bool` stores 1 for anything but 0.
 */
export function fromF64(values: ArrayLike<number>, out: Elements): void {
  const { dtype, data } = out;
  const n = values.length;
  if (isSmallFloat(dtype)) {
    // f8e8m0 has neither zero nor infinity: out of range, its ends are the useful answer.
    encodeFloats(dtype, values, data as Uint8Array, dtype === "f8e8m0");
  } else if (dtype === "i64" || dtype === "u64") {
    storeBigInts(values, data as BigInt64Array);
  } else if (dtype === "bool") {
    const d = data as Uint8Array;
    for (let i = 0; i < n; i++) d[i] = values[i] !== 0 ? 1 : 0;
  } else if (dtype === "i4" || dtype === "i2") {
    const d = data as Int8Array;
    for (let i = 0; i < n; i++) d[i] = dtype === "i4" ? wrapI4(values[i]) : wrapI2(values[i]);
  } else if (dtype === "u4" || dtype === "u2") {
    const d = data as Uint8Array;
    for (let i = 0; i < n; i++) d[i] = values[i] & (dtype === "u4" ? 15 : 3);
  } else if (dtype === "string") {
    throw new DTypeError("numbers are not strings", { types: [dtype] });
  } else (data as Float32Array).set(values);
}

/** The words of 64-bit integers, low ones first: arithmetic on these is ten times as fast as on BigInts. */
export const wordsOf = (a: TypedArray): Int32Array => new Int32Array(a.buffer, a.byteOffset, a.length * 2);

/** Truncates numbers towards zero. NaN becomes 0, and what 64 bits don't hold the nearest integer that they do. */
export function storeBigInts(values: ArrayLike<number>, out: BigInt64Array | BigUint64Array): void {
  const words = wordsOf(out);
  const bits = out instanceof BigUint64Array ? 64 : 63;
  for (let i = 0; i < values.length; i++) {
    const v = Math.trunc(values[i]);
    if (v > -(2 ** 53) && v < 2 ** 53) {
      words[2 * i] = v;
      words[2 * i + 1] = Math.floor(v / 2 ** 32);
    } else out[i] = v >= 2 ** bits ? (1n << BigInt(bits)) - 1n : BigInt(Math.max(v, -(2 ** 63)) || 0);
  }
}

/** The elements of a small integer tensor (a shape, axes, pads) as numbers. Throws DTypeError for strings. */
export const toNumbers = (t: Elements): number[] => Array.from(toF64(t));
