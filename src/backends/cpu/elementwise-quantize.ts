/**
 * Quantization of f32 in one pass over `[outer, axis, inner]`, with the scale of a row in registers. The blocked forms,
 * the small floats and 4-bit integers are left to the reference.
 */
import { integerRange } from "../../ops/integers.ts";
import {
  dequantizeLinear,
  dynamicQuantizeLinear,
  dynamicRows,
  dynamicScale,
  quantizeLinear,
  scaleLayout,
} from "../../ops/quantize.ts";
import type { DType, TypedArray } from "../../tensor/dtype.ts";
import { type HostStep, type Kernel, kernel } from "../backend.ts";

const integers: readonly DType[] = ["u8", "i8", "u16", "i16", "i32"];

/** Adding and subtracting it rounds a double below 2^51 to the nearest even integer. */
const ROUND = 1.5 * 2 ** 52;

function dequantizeRow(x: TypedArray, y: Float32Array, i: number, end: number, scale: number, zero: number): void {
  for (; i < end; i++) y[i] = ((x[i] as number) - zero) * scale;
}

function quantizeRow(
  x: Float32Array,
  y: TypedArray,
  i: number,
  end: number,
  scale: number,
  zero: number,
  low: number,
  high: number,
): void {
  for (; i < end; i++) {
    // The quotient is an f32; beyond the range rounding does not matter, and infinities stay what they are.
    const q = Math.min(Math.max(Math.fround(x[i] / scale), -70000), 70000);
    y[i] = Math.min(Math.max(q + ROUND - ROUND + zero, low), high);
  }
}

const dequantizeF32 = kernel(
  dequantizeLinear,
  "cpu/dequantizeLinear/f32",
  ([x, scale], [y], attrs): HostStep | undefined => {
    if (!integers.includes(x.dtype) || scale.dtype !== "f32" || y.dtype !== "f32") return undefined;
    const { outer, n, inner, kind } = scaleLayout("dequantizeLinear", x, scale, attrs);
    if (kind === "block") return undefined;
    return {
      run([a, s, z], [b]) {
        const src = a as Uint8Array;
        const dst = b as Float32Array;
        for (let r = 0; r < outer * n; r++) {
          const k = r % n;
          dequantizeRow(src, dst, r * inner, (r + 1) * inner, s[k] as number, z ? (z[k] as number) : 0);
        }
      },
    };
  },
);

const quantizeF32 = kernel(quantizeLinear, "cpu/quantizeLinear/f32", ([x, scale], [y], attrs): HostStep | undefined => {
  const { precision = "f32" } = attrs;
  if (x.dtype !== "f32" || scale.dtype !== "f32" || precision !== "f32") return undefined;
  if (!integers.includes(y.dtype)) return undefined;
  const { outer, n, inner, kind } = scaleLayout("quantizeLinear", x, scale, attrs);
  if (kind === "block") return undefined;
  const [low, high] = integerRange(y.dtype).map(Number);
  return {
    run([a, s, z], [b]) {
      const src = a as Float32Array;
      for (let r = 0; r < outer * n; r++) {
        const k = r % n;
        const zero = z ? (z[k] as number) : 0;
        quantizeRow(src, b, r * inner, (r + 1) * inner, s[k] as number, zero, low, high);
      }
    },
  };
});

const dynamicF32 = kernel(dynamicQuantizeLinear, "cpu/dynamicQuantizeLinear/f32", ([x], _, attrs): HostStep => {
  const { rows, n } = dynamicRows(x, attrs);
  return {
    run([a], [b, scale, zeroPoint]) {
      const x = a as Float32Array;
      for (let r = 0; r < rows; r++) {
        let low = 0;
        let high = 0;
        for (let i = r * n; i < (r + 1) * n; i++) {
          low = Math.min(low, x[i]);
          high = Math.max(high, x[i]);
        }
        const { step, zero } = dynamicScale(low, high);
        if (scale) scale[r] = step;
        if (zeroPoint) zeroPoint[r] = zero;
        if (b) quantizeRow(x, b, r * n, (r + 1) * n, step, zero, 0, 255);
      }
    },
  };
});

export const quantizeKernels: readonly Kernel<HostStep>[] = [dequantizeF32, quantizeF32, dynamicF32];
