/**
 * Conversions between the float formats, correct to the bit: round to nearest, ties to even, subnormals, infinities,
 * NaN. Encoders take a double and round once (through f32 first would round twice).
 * Sources: IEEE 754-2019; OCP 8-bit Floating Point (OFP8) and Microscaling (MX) specifications; ONNX "Float stored in 8
 * (6, 4) bits".
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
  f6e2m3: { exponentBits: 2, mantissaBits: 3, bias: 1, special: "none" },
  f6e3m2: { exponentBits: 3, mantissaBits: 2, bias: 3, special: "none" },
  f4e2m1: { exponentBits: 2, mantissaBits: 1, bias: 1, special: "none" },
} as const satisfies Record<string, FloatFormat>;

export type SmallFloat = keyof typeof formats | "f8e8m0";

/** Round half to even. */
export function roundHalfEven(x: number): number {
  const r = Math.round(x);
  return r - x === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

/** How f8e8m0, which has powers of two only, rounds. `nearest` takes ties up. */
export type E8M0Rounding = "up" | "down" | "nearest";

/**
 * The bits of `value` in the format. `saturate`: values beyond the largest finite one become it, as ONNX Cast does for
 * fp8. The fp6 and fp4 formats always saturate and have no NaN: it becomes -0, as in ml_dtypes and the data of the ONNX
 * backend tests (the ONNX page on float4 has 6).
 */
export function encodeFloat(
  format: SmallFloat,
  value: number,
  saturate = false,
  rounding: E8M0Rounding = "up",
): number {
  if (format === "f8e8m0") return encodeE8M0(value, saturate, rounding);
  if (!saturate) {
    if (format === "f16") return roundDouble(value, 10, 15);
    if (format === "bf16") return roundDouble(value, 7, 127);
  }
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
  if (Number.isNaN(value)) return special === "none" ? signBit : nan;
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
  f64[0] = x;
  const magnitude = roundWord(f64bits[1], f64bits[0], 20, bias - 1023, mantissaBits);
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

function floorLog2(x: number): number {
  f64[0] = x;
  const e = (f64bits[1] >>> 20) & 0x7ff;
  return e === 0 ? -1074 : e - 1023; // Double subnormals lie below every format's range.
}

const e8m0Largest = 2 ** 127;
const e8m0Smallest = 2 ** -127;

/**
 * The table of the ONNX Cast specification. It leaves negative values open: their magnitude is taken. Zero and values
 * out of range become the nearest end when saturating, otherwise NaN.
 */
function encodeE8M0(value: number, saturate: boolean, rounding: E8M0Rounding): number {
  const x = Math.abs(value);
  if (Number.isNaN(x)) return 255;
  if (x < e8m0Smallest) return saturate ? 0 : 255;
  if (x > e8m0Largest) return saturate ? 254 : 255;
  const e = floorLog2(x);
  const ratio = x / 2 ** e;
  const up = rounding === "up" ? ratio > 1 : rounding === "nearest" && ratio >= 1.5;
  return e + 127 + (up ? 1 : 0);
}

/**
 * Rounds a finite float given as integers to one with `mantissa` bits, both of IEEE 754's layout, without the sign. Too
 * large values come out beyond the largest finite one.
 * @param word sign bit cleared; the lower `width` bits are the upper bits of the significand
 * @param rest significand bits below the word: only whether they are zero matters
 * @param rebias what to add to the exponent field to get the result's
 */
function roundWord(word: number, rest: number, width: number, rebias: number, mantissa: number): number {
  let e = (word >>> width) + rebias;
  let significand = word & ((1 << width) - 1);
  let drop = width - mantissa;
  if (e <= 0) {
    // Subnormal: the hidden bit becomes visible. Below half of the smallest one everything rounds to zero.
    if (e < -mantissa) return 0;
    significand |= 1 << width;
    drop += 1 - e;
    e = 0;
  }
  const bits = (e << mantissa) | (significand >>> drop);
  const cut = significand & ((1 << drop) - 1);
  const half = 1 << (drop - 1);
  // A carry out of the significand moves into the exponent by plain addition.
  return cut > half || (cut === half && (rest !== 0 || bits & 1)) ? bits + 1 : bits;
}

/** f16 (10, 15) or bf16 (7, 127) of a double. */
function roundDouble(value: number, mantissa: 10 | 7, bias: 15 | 127): number {
  f64[0] = value;
  const high = f64bits[1];
  const word = high & 0x7fffffff;
  const sign = (high >>> 16) & 0x8000;
  const inf = (2 * bias + 1) << mantissa;
  if (word >= 0x7ff00000) return Number.isNaN(value) ? inf | (1 << (mantissa - 1)) : sign | inf;
  return sign | Math.min(inf, roundWord(word, f64bits[0], 20, bias - 1023, mantissa));
}

/** f16 of an f32 given by its bits. */
function f16OfF32(bits: number): number {
  const word = bits & 0x7fffffff;
  if (word > 0x7f800000) return 0x7e00;
  return ((bits >>> 16) & 0x8000) | Math.min(0x7c00, roundWord(word, 0, 23, 15 - 127, 10));
}

/** bf16 of an f32 given by its bits: its upper half, rounded. */
function bf16OfF32(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Stores the bits of all `values` into `out`. f32 arrays take a shorter way to f16 and bf16, with the same result. */
export function encodeFloats(
  format: SmallFloat,
  values: ArrayLike<number>,
  out: Uint8Array | Uint16Array,
  saturate = false,
): void {
  const n = values.length;
  if (values instanceof Float32Array && !saturate && (format === "f16" || format === "bf16")) {
    const bits = new Uint32Array(values.buffer, values.byteOffset, n);
    if (format === "f16") for (let i = 0; i < n; i++) out[i] = f16OfF32(bits[i]);
    else for (let i = 0; i < n; i++) out[i] = bf16OfF32(bits[i]);
  } else if (format === "f16" && !saturate) for (let i = 0; i < n; i++) out[i] = roundDouble(values[i], 10, 15);
  else if (format === "bf16" && !saturate) for (let i = 0; i < n; i++) out[i] = roundDouble(values[i], 7, 127);
  else for (let i = 0; i < n; i++) out[i] = encodeFloat(format, values[i], saturate);
}

const tables: Partial<Record<SmallFloat, Float32Array>> = {};

/** The f32 of every bit pattern: 256 entries, 64 for fp6, 16 for f4e2m1, 65,536 (256 kB) for f16 and bf16. Built on first use. */
export function decodeTable(format: SmallFloat): Float32Array {
  const known = tables[format];
  if (known) return known;
  const sizes: Partial<Record<SmallFloat, number>> = { f16: 65536, bf16: 65536, f6e2m3: 64, f6e3m2: 64, f4e2m1: 16 };
  const table = new Float32Array(sizes[format] ?? 256);
  for (let i = 0; i < table.length; i++) table[i] = decodeFloat(format, i);
  tables[format] = table;
  return table;
}

export const f16Table = (): Float32Array => decodeTable("f16");
export const f16ToNumber = (bits: number): number => f16Table()[bits];
export const numberToF16 = (value: number): number => roundDouble(value, 10, 15);
