/**
 * Conversions between the float formats, correct to the bit: round to nearest, ties to even, subnormals, infinities,
 * NaN. Encoders take a double and round once (through f32 first would round twice).
 * Sources: IEEE 754-2019; OCP 8-bit Floating Point (OFP8) and Microscaling (MX) specifications; ONNX "Float8" notes.
 */

interface FloatFormat {
  exponentBits: number;
  mantissaBits: number;
  bias: number;
  /** ieee: top exponent is inf/NaN. fn: no infinity, only all-ones is NaN. uz: no infinity nor -0, 0x80 is NaN. none: neither. */
  special: "ieee" | "fn" | "uz" | "none";
}

const formats = {
  f16: { exponentBits: 5, mantissaBits: 10, bias: 15, special: "ieee" },
  bf16: { exponentBits: 8, mantissaBits: 7, bias: 127, special: "ieee" },
  f8e4m3fn: { exponentBits: 4, mantissaBits: 3, bias: 7, special: "fn" },
  f8e4m3fnuz: { exponentBits: 4, mantissaBits: 3, bias: 8, special: "uz" },
  f8e5m2: { exponentBits: 5, mantissaBits: 2, bias: 15, special: "ieee" },
  f8e5m2fnuz: { exponentBits: 5, mantissaBits: 2, bias: 16, special: "uz" },
  f4e2m1: { exponentBits: 2, mantissaBits: 1, bias: 1, special: "none" },
} as const satisfies Record<string, FloatFormat>;

export type SmallFloat = keyof typeof formats | "f8e8m0";

/** Round half to even. */
export function roundHalfEven(x: number): number {
  const r = Math.round(x);
  return r - x === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

/** The bits of `value` in the format. `saturate`: values beyond the largest finite one become it, as ONNX Cast does for fp8. */
export function encodeFloat(format: SmallFloat, value: number, saturate = false): number {
  if (format === "f8e8m0") return encodeE8M0(value);
  const { exponentBits, mantissaBits, bias, special } = formats[format] as FloatFormat;
  const signBit = 1 << (exponentBits + mantissaBits);
  const topExponent = (1 << exponentBits) - 1;
  const magnitudeMask = signBit - 1;
  const nan =
    special === "uz"
      ? signBit
      : special === "fn"
        ? magnitudeMask
        : (topExponent << mantissaBits) | (1 << (mantissaBits - 1));
  const negative = value < 0 || Object.is(value, -0);
  const sign = negative ? signBit : 0;
  if (Number.isNaN(value)) return special === "none" ? magnitudeMask : nan;
  // The largest finite magnitude, and what lies beyond it.
  const largest =
    special === "ieee" ? (topExponent << mantissaBits) - 1 : special === "fn" ? magnitudeMask - 1 : magnitudeMask;
  const overflow =
    saturate || special === "none"
      ? sign | largest
      : special === "ieee"
        ? sign | (topExponent << mantissaBits)
        : special === "fn"
          ? sign | nan
          : nan;
  const x = Math.abs(value);
  if (x === Infinity) return overflow;
  if (x === 0) return special === "uz" ? 0 : sign;
  // Exponent of the leading bit, not below the subnormal range; then the significand as an integer, rounded once.
  const e = Math.max(floorLog2(x), 1 - bias);
  const significand = roundHalfEven(x * 2 ** (mantissaBits - e));
  const hidden = 1 << mantissaBits;
  // A carry out of the significand moves into the exponent by plain addition.
  const magnitude = significand < hidden ? significand : ((e + bias) << mantissaBits) + (significand - hidden);
  if (magnitude > largest) return overflow;
  if (magnitude === 0 && special === "uz") return 0;
  return sign | magnitude;
}

/** The value of `bits` in the format. */
export function decodeFloat(format: SmallFloat, bits: number): number {
  if (format === "f8e8m0") return bits === 255 ? Number.NaN : 2 ** (bits - 127);
  const { exponentBits, mantissaBits, bias, special } = formats[format] as FloatFormat;
  const signBit = 1 << (exponentBits + mantissaBits);
  const topExponent = (1 << exponentBits) - 1;
  const sign = bits & signBit ? -1 : 1;
  const exponent = (bits >> mantissaBits) & topExponent;
  const mantissa = bits & ((1 << mantissaBits) - 1);
  if (special === "ieee" && exponent === topExponent) return mantissa ? Number.NaN : sign * Infinity;
  if (special === "fn" && (bits & (signBit - 1)) === signBit - 1) return Number.NaN;
  if (special === "uz" && bits === signBit) return Number.NaN;
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
  return sign * (1 + mantissa / (1 << mantissaBits)) * 2 ** (exponent - bias);
}

const f64 = new Float64Array(1);
const f64bits = new Uint32Array(f64.buffer);
const f32 = new Float32Array(1);
const f32bits = new Uint32Array(f32.buffer);

function floorLog2(x: number): number {
  f64[0] = x;
  const e = (f64bits[1] >>> 20) & 0x7ff;
  return e === 0 ? -1074 : e - 1023; // Double subnormals lie below every format's range.
}

/** f8e8m0 holds powers of two only: rounds up in magnitude to the next one, as the MX specification's ONNX cast does. */
function encodeE8M0(value: number): number {
  if (Number.isNaN(value)) return 255;
  const x = Math.abs(value);
  if (x === 0) return 0;
  if (x === Infinity) return 254;
  let e = floorLog2(x);
  if (x > 2 ** e * 1) e += x >= 1.5 * 2 ** e ? 1 : 0;
  return Math.min(254, Math.max(0, e + 127));
}

// f16 and bf16 are hot (weights): a table for decoding f16, integer arithmetic for the rest.
let f16table: Float32Array | undefined;

/** 65,536 entries: the f32 of every f16. Built on first use (256 kB). */
export function f16Table(): Float32Array {
  if (!f16table) {
    f16table = new Float32Array(65536);
    for (let i = 0; i < 65536; i++) f16table[i] = decodeFloat("f16", i);
  }
  return f16table;
}

export const f16ToNumber = (bits: number): number => f16Table()[bits];
export const numberToF16 = (value: number): number => encodeFloat("f16", value);

export function bf16ToNumber(bits: number): number {
  f32bits[0] = bits << 16;
  return f32[0];
}
export const numberToBf16 = (value: number): number => encodeFloat("bf16", value);
