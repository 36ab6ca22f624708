/**
 * What a layout of blocks is for the kernels, and how its codes are read.
 *
 * Rows are taken eight at a time, and stand side by side: what the file has as 4 bytes of one row becomes one of eight
 * neighbouring words, a vector for rows 0 to 3 and one for rows 4 to 7. A lane of a sum is then a row: scales apply to
 * four rows at once, sums never have to be added across lanes, and weights stream from one place. The codes' bits stay as
 * they are (packing is a transposition of words), scales of few bits take a byte.
 *
 * A *unit* is a block of the file for eight rows. It is read in *segments*, whose *blocks* have one scale each, in
 * *steps*, each of which gives some code vectors: the codes of four rows for four neighbouring k.
 *
 * Formats by family: quantized-legacy.ts, quantized-k.ts, quantized-iq.ts; quantized-formats.ts has them all.
 */
import { FormatError } from "../../../tensor/errors.ts";
import { type Expr, type FunctionBuilder, f32x4, i8x16, i16x8, i32x4, type Local, v128 } from "../assembler.ts";
import { tinyHalves } from "./half.ts";

type V = Expr<"v128">;

/** Rows side by side. */
export const GROUP = 8;

/** Where code is written: the unit's address, which four of its rows, and the address of the format's table. */
export interface Reader {
  readonly f: FunctionBuilder;
  readonly at: Local<"i32">;
  readonly half: number;
  readonly table: number;
}

/** Codes of four rows for k .. k + 3 of the unit. */
export interface Code {
  /** Which of the segment's blocks. */
  readonly block: number;
  readonly k: number;
  /** A byte each. */
  bytes(): V;
  /**
   * Two vectors of i16, of even and of odd k, from cheaper arithmetic than the bytes would need. What they are multiples
   * of is made up for by the activations' pattern: see `Pattern`.
   */
  words?(): readonly [V, V];
}

export interface Block {
  readonly k: number;
  readonly size: 16 | 32;
  /** Factor of the codes, before that of the unit. */
  scale(r: Reader): V;
  /** What is added (taken away under a unit's `dmin`), before the unit's factor. */
  min?(r: Reader): V;
  /** Scales that are integers once more, each in two lanes of i16: they multiply while sums are widened to 32 bits. */
  factors?(r: Reader): V;
  /** Minima of this block of 16 and the one before it, in pairs of i16. */
  minPairs?(r: Reader): V;
}

export interface Segment {
  readonly blocks: readonly Block[];
  readonly steps: number;
  codes(r: Reader, step: number): readonly Code[];
}

/**
 * How activations are multiplied in words, so that all products are 256 times what they should be: even and odd k of 16,
 * one pair for each 16 of a period.
 */
export type Pattern = readonly (readonly [even: number, odd: number])[];

export interface Format {
  /** Elements of k. */
  readonly unit: number;
  /** Bytes of a unit of eight rows. */
  readonly bytes: number;
  readonly segments: readonly Segment[];
  /** Codes are 0 .. largest. */
  readonly largest: number;
  /** The code of zero. */
  readonly zero?: number;
  readonly pattern: Pattern;
  /** Bytes that `codes` looks up in memory. */
  table?(): Uint8Array;
  /** Scales are the bits of f16 as in `tinyF16`: results have to be multiplied by 2^112. */
  readonly tiny?: boolean;
  /** The unit's factors. */
  d?(r: Reader): V;
  dmin?(r: Reader): V;
  /** Places row `row` of 8 of a unit, whose bytes in the file begin at src[at], in the zeroed unit at dst[to]. */
  pack(src: Uint8Array, at: number, dst: Uint8Array, to: number, row: number): void;
}

// ---- reading ---------------------------------------------------------------------------------------------------------

const bytesOf = (b: number): Uint8Array => new Uint8Array(16).fill(b);
const wordsOf = (w: number): Uint8Array => new Uint8Array(Uint16Array.from({ length: 8 }, () => w).buffer);
export const constant = (f: FunctionBuilder, bytes: Uint8Array): V => f.hoist(v128.const(bytes));
/** x & mask, the same in all bytes. */
export const maskBytes = (f: FunctionBuilder, x: V, mask: number): V => v128.and(x, constant(f, bytesOf(mask)));
export const maskWords = (f: FunctionBuilder, x: V, mask: number): V => v128.and(x, constant(f, wordsOf(mask)));

/** Vector `i` of a plane. */
export const load = ({ at, half }: Reader, plane: number, i: number): V => v128.load(at, plane + 32 * i + 16 * half);
/** All bits moved up (down where negative), across bytes. */
export const shift = (x: V, up: number): V => (up === 0 ? x : up > 0 ? i32x4.shl(x, up) : i32x4.shr_u(x, -up));

export const low = (f: FunctionBuilder, raw: V): V => maskBytes(f, raw, 15);
export const high = (f: FunctionBuilder, raw: V): V => maskBytes(f, i32x4.shr_u(raw, 4), 15);

/** Sixteen-bit lanes hold four nibbles: two take one `and`, in the place where they are. */
export const nibble = (f: FunctionBuilder, raw: Local<"v128">, upper: boolean): Pick<Code, "bytes" | "words"> => ({
  bytes: () => (upper ? high(f, raw) : low(f, raw)),
  words: () =>
    upper ? [maskWords(f, raw, 0xf0), i16x8.shr_u(raw, 12)] : [maskWords(f, raw, 0x0f), maskWords(f, raw, 0x0f00)],
});

/** What codes in the low bits of a byte need: odd k stand in the upper byte of a word. */
export const plain = [256, 1] as const;
export const upperNibble = [16, 256] as const;
/** What codes of eight bits need: odd k would be negative there, and are moved down. */
export const eightBits = [256, 256] as const;

/** Four f16 at an address as floats that are 2^112 times too small. */
export const tinyF16 = ({ f, at, half }: Omit<Reader, "table">, offset: number): V =>
  tinyHalves(f, v128.load16x4_s(at, offset + 8 * half));
export const wordsOf32 = (w: number): Uint8Array => new Uint8Array(Uint32Array.of(w, w, w, w).buffer);

/** Four bytes as floats. */
export const bytesAsFloats = ({ at, half }: Reader, offset: number, isSigned: boolean): V => {
  const four = v128.load32_zero(at, offset + 4 * half);
  return isSigned
    ? f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(four)))
    : f32x4.convert_i32x4_u(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(four)));
};
/** Four rows' numbers out of eight i16, each in two lanes. */
export const twice = (rows: V, half: number): V => {
  const first = 8 * half;
  return i8x16.shuffle(
    rows,
    rows,
    Uint8Array.from({ length: 16 }, (_, i) => first + 2 * (i >> 2) + (i & 1)),
  );
};
/** The first or the second of each pair of i16, in both lanes. */
export const ofPair = (f: FunctionBuilder, pairs: V, part: number): V => {
  const v = f.let(pairs);
  return i8x16.shuffle(
    v,
    v,
    Uint8Array.from({ length: 16 }, (_, i) => 4 * (i >> 2) + 2 * part + (i & 1)),
  );
};
/** The same as floats. */
export const ofPairAsFloats = (pairs: V, part: number): V =>
  f32x4.convert_i32x4_s(i32x4.shr_s(part ? pairs : i32x4.shl(pairs, 16), 16));
/** A factor of the unit: four f16 as f32, times 2^`power`. */
export const factorAt = (r: Reader, offset: number, power = 0): V =>
  f32x4.mul(tinyF16(r, offset), constant(r.f, wordsOf32((127 + 112 + power) << 23)));

// ---- packing ---------------------------------------------------------------------------------------------------------

/** `count` words of a row into a plane; `turned`: bits of their bytes that are. */
export function putWords(
  src: Uint8Array,
  at: number,
  count: number,
  dst: Uint8Array,
  to: number,
  row: number,
  turned = 0,
): void {
  for (let i = 0, s = at, d = to + 4 * row; i < count; i++, s += 4, d += 4 * GROUP) {
    dst[d] = src[s] ^ turned;
    dst[d + 1] = src[s + 1] ^ turned;
    dst[d + 2] = src[s + 2] ^ turned;
    dst[d + 3] = src[s + 3] ^ turned;
  }
}

/** A factor. @throws FormatError for infinity and NaN, which kernels would take for 2^16 and up */
export function putF16(src: Uint8Array, at: number, dst: Uint8Array, to: number, row: number): void {
  if ((src[at + 1] & 0x7c) === 0x7c) refuseScale();
  dst[to + 2 * row] = src[at];
  dst[to + 2 * row + 1] = src[at + 1];
}

export function refuseScale(): never {
  throw new FormatError("a block's scale is infinite or no number");
}

/** Bytes of eight f16. */
export const factorBytes = 2 * GROUP;

export const range = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));
