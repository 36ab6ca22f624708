/** Conversions between dtypes: `cast` by value, `bitCast` by bits. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { bytesOf, type DType, dtypes, isBig, isDType, isFloat, isInteger } from "../tensor/dtype.ts";
import { DTypeError, InputError } from "../tensor/errors.ts";
import { type E8M0Rounding, encodeFloat, type SmallFloat } from "../tensor/float.ts";
import { emptyTensor, type HostTensor } from "../tensor/tensor.ts";
import { dtypeError } from "./check.ts";
import { copyElements } from "./copy.ts";
import { integersOf, storeIntegers } from "./integers.ts";
import { formatNumber, parseInteger, parseNumber } from "./numerals.ts";
import { defineOp } from "./op.ts";

export interface CastRules {
  /** Out of range of an fp8 dtype: its largest value instead of infinity or NaN. Default true. */
  saturate?: boolean;
  /** To f8e8m0, which holds powers of two: default "up". Ties of "nearest" round up. */
  roundMode?: E8M0Rounding;
}

export interface CastAttrs extends CastRules {
  to: DType;
}

/**
 * Converts elements of any dtype to any other (ONNX Cast). Floats round to nearest even, or truncate towards zero to
 * integers; integers that do not fit lose their high bits; anything but 0 is true. Strings are parsed and printed as
 * NumPy does. Floats that do not fit, which ONNX leaves open, go by way of 32 bits, or 64 for i64 and u64: the nearest
 * integer that those hold (-1 is 255 as u8, and so is infinity), 0 for NaN.
 * @throws InputError for a string that is no number, DTypeError for an unknown dtype
 */
export const cast = /* @__PURE__ */ defineOp({
  name: "cast",
  inputs: ["x"],
  infer([x], { to }: CastAttrs) {
    if (!isDType(to)) throw new DTypeError(`cast: unknown dtype ${JSON.stringify(to)}`, { op: "cast" });
    return { dtype: to, shape: x.shape };
  },
  reference([x], attrs, [y]) {
    convert(x, y, attrs);
  },
});

/** `x` converted to the dtype of `like`, by the rules of `cast`. */
export const castLike = /* @__PURE__ */ defineOp({
  name: "castLike",
  inputs: ["x", "like"],
  infer([x, like], _: CastRules) {
    return { dtype: like.dtype, shape: x.shape };
  },
  reference([x], rules, [y]) {
    convert(x, y, rules);
  },
});

function convert(x: HostTensor, y: HostTensor, rules: CastRules): void {
  if (x.dtype === y.dtype) copyElements(x, y);
  else if (x.dtype === "string") parseStrings(x.data as string[], y, rules);
  else if (y.dtype === "string") printElements(x, y.data as string[]);
  else if (isBig(x.dtype) && isInteger(y.dtype)) storeIntegers(integersOf(x), y);
  else if (isFloat(x.dtype) && isInteger(y.dtype) && !isBig(y.dtype))
    fromF64(
      toF64(x).map((v) => Math.min(Math.max(v, -(2 ** 31)), mostOf(y.dtype))),
      y,
    );
  else encodeNumbers(toF64(x), y, rules);
}

/** The largest integer of 32 bits by way of which floats become integers of `dtype`. The smallest is -2^31: negative ones wrap. */
export const mostOf = (dtype: DType): number => 2 ** (dtype === "u32" ? 32 : 31) - 1;

/** Stores doubles as `fromF64` does, with the rules of Cast for the fp8 dtypes. */
export function encodeNumbers(
  values: Float64Array,
  y: HostTensor,
  { saturate = true, roundMode = "up" }: CastRules = {},
): void {
  const { dtype } = y;
  if (!dtype.startsWith("f8")) fromF64(values, y);
  else
    values.forEach((v, i) => {
      y.data[i] = encodeFloat(dtype as SmallFloat, v, saturate, roundMode);
    });
}

function parseStrings(strings: readonly string[], y: HostTensor, rules: CastRules): void {
  const fail = (s: string): never => {
    throw new InputError(`cast: ${JSON.stringify(s)} is not a number`, { op: "cast" });
  };
  if (isInteger(y.dtype))
    storeIntegers(
      strings.map((s) => parseInteger(s) ?? fail(s)),
      y,
    );
  else {
    const truth: Record<string, number> = y.dtype === "bool" ? { true: 1, false: 0 } : {};
    const values = strings.map((s) => truth[s.trim().toLowerCase()] ?? parseNumber(s) ?? fail(s));
    encodeNumbers(Float64Array.from(values), y, rules);
  }
}

function printElements(x: HostTensor, out: string[]): void {
  if (isInteger(x.dtype)) toInts(x, (v, i) => (out[i] = String(v)));
  else if (x.dtype === "bool") toInts(x, (v, i) => (out[i] = v ? "True" : "False"));
  else {
    // The shortest digits that read back as the same element of this dtype.
    const probe = emptyTensor({ dtype: x.dtype, shape: [1] });
    const rounded = (v: number): number => {
      fromF64([v], probe);
      return toF64(probe)[0];
    };
    toF64(x).forEach((v, i) => {
      out[i] = formatNumber(v, rounded);
    });
  }
}

function toInts(x: HostTensor, visit: (v: number | bigint, i: number) => void): void {
  for (let i = 0; i < x.data.length; i++) visit(x.data[i] as number | bigint, i);
}

export interface BitCastAttrs {
  to: DType;
}

/**
 * The same bits read as another dtype of the same width (ONNX BitCast).
 * @throws DTypeError for strings and where the widths differ
 */
export const bitCast = /* @__PURE__ */ defineOp({
  name: "bitCast",
  inputs: ["x"],
  infer([x], { to }: BitCastAttrs) {
    if (!isDType(to)) throw new DTypeError(`bitCast: unknown dtype ${JSON.stringify(to)}`, { op: "bitCast" });
    if (x.dtype === "string" || dtypes[x.dtype].bits !== dtypes[to].bits)
      dtypeError("bitCast", `${to} does not have the width of x`, x);
    return { dtype: to, shape: x.shape };
  },
  reference([x], { to }, [y]) {
    const bytes = (t: HostTensor): Uint8Array => {
      const { buffer, byteOffset, byteLength } = t.data as Uint8Array;
      return new Uint8Array(buffer, byteOffset, byteLength);
    };
    bytes(y).set(bytes(x));
    // Elements narrower than a byte are kept sign- or zero-extended in one.
    const { bits } = dtypes[to];
    if (bits >= 8 || bytesOf(to) !== 1) return;
    const narrow = y.data as Int8Array;
    const signed = dtypes[to].kind === "int";
    for (let i = 0; i < narrow.length; i++) {
      const kept = narrow[i] & (2 ** bits - 1);
      narrow[i] = signed ? (kept << (32 - bits)) >> (32 - bits) : kept;
    }
  },
});
