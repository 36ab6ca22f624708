/**
 * How the block types are laid out for the kernels, and how their codes are read.
 *
 * Rows are taken eight at a time, and stand side by side: what the file has as 4 bytes of one row becomes one of eight
 * neighbouring words, a vector for rows 0 to 3 and one for rows 4 to 7. A lane of a sum is then a row: scales apply to
 * four rows at once, sums never have to be added across lanes, and weights stream from one place. The codes' bits stay as
 * they are (packing is a transposition of words), scales of few bits take a byte, f16 scales of super-blocks an f32.
 *
 * A *unit* is a block of the file for eight rows. It is read in *segments*, whose *blocks* have one scale each, in
 * *steps*, each of which gives some code vectors: the codes of four rows for four neighbouring k.
 */
import { doubledFp4, iq4Levels } from "../../../tensor/blocks/codebooks.ts";
import { f16At } from "../../../tensor/blocks/decoder.ts";
import { scaleIq4Xs } from "../../../tensor/blocks/i-quants.ts";
import { minK4, scaleK4, scaleQ3 } from "../../../tensor/blocks/k-quants.ts";
import { type BlockType, ggufTypeNamed, ggufTypes } from "../../../tensor/blocks/types.ts";
import { numberToF16 } from "../../../tensor/float.ts";
import { type Expr, type FunctionBuilder, f32x4, i8x16, i16x8, i32x4, type Local, v128 } from "../assembler.ts";

type V = Expr<"v128">;

/** Rows side by side. */
export const GROUP = 8;

/** Where code is written: the unit's address and which four of its rows. */
export interface Reader {
  readonly f: FunctionBuilder;
  readonly at: Local<"i32">;
  readonly half: number;
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
  /** Codes are 0 .. largest; undefined: signed bytes. */
  readonly largest?: number;
  /** The code of zero. */
  readonly zero?: number;
  readonly pattern: Pattern;
  /** Scales are the bits of f16 as in `tinyF16`: results have to be multiplied by 2^112. */
  readonly tiny?: boolean;
  /** The unit's factors: f32, in the order of `factors`. */
  d?(r: Reader): V;
  dmin?(r: Reader): V;
  /** Where in a block of the file the f16 of d, and of dmin, are. */
  readonly factors?: readonly number[];
  /** Places the rest of row `row` of 8 of a unit, whose bytes in the file begin at src[at], in the zeroed unit at dst[to]. */
  pack(src: Uint8Array, at: number, dst: Uint8Array, to: number, row: number): void;
}

// ---- reading ---------------------------------------------------------------------------------------------------------

const bytesOf = (b: number): Uint8Array => new Uint8Array(16).fill(b);
const wordsOf = (w: number): Uint8Array => new Uint8Array(Uint16Array.from({ length: 8 }, () => w).buffer);
const constant = (f: FunctionBuilder, bytes: Uint8Array): V => f.hoist(v128.const(bytes));
/** x & mask, the same in all bytes. */
export const maskBytes = (f: FunctionBuilder, x: V, mask: number): V => v128.and(x, constant(f, bytesOf(mask)));
export const maskWords = (f: FunctionBuilder, x: V, mask: number): V => v128.and(x, constant(f, wordsOf(mask)));

/** Vector `i` of a plane. */
const load = ({ at, half }: Reader, plane: number, i: number): V => v128.load(at, plane + 32 * i + 16 * half);
/** All bits moved up (down where negative), across bytes. */
const shift = (x: V, up: number): V => (up === 0 ? x : up > 0 ? i32x4.shl(x, up) : i32x4.shr_u(x, -up));

const low = (f: FunctionBuilder, raw: V): V => maskBytes(f, raw, 15);
const high = (f: FunctionBuilder, raw: V): V => maskBytes(f, i32x4.shr_u(raw, 4), 15);

/** Sixteen-bit lanes hold four nibbles: two take one `and`, in the place where they are. */
const nibble = (f: FunctionBuilder, raw: Local<"v128">, upper: boolean): Pick<Code, "bytes" | "words"> => ({
  bytes: () => (upper ? high(f, raw) : low(f, raw)),
  words: () =>
    upper ? [maskWords(f, raw, 0xf0), i16x8.shr_u(raw, 12)] : [maskWords(f, raw, 0x0f), maskWords(f, raw, 0x0f00)],
});

/** What codes in the low bits of a byte need: odd k stand in the upper byte of a word. */
const plain = [256, 1] as const;
const upperNibble = [16, 256] as const;
const signed = [1, 1] as const;

/** Four f16 at an address as floats that are 2^112 times too small: the exponent's bias is not corrected. */
export const tinyF16 = ({ f, at, half }: Reader, offset: number): V =>
  v128.and(i32x4.shl(v128.load16x4_s(at, offset + 8 * half), 13), constant(f, wordsOf32(0x8fffffff)));
const wordsOf32 = (w: number): Uint8Array => new Uint8Array(Uint32Array.of(w, w, w, w).buffer);

/** Four bytes as floats. */
const bytesAsFloats = ({ at, half }: Reader, offset: number, isSigned: boolean): V => {
  const four = v128.load32_zero(at, offset + 4 * half);
  return isSigned
    ? f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(four)))
    : f32x4.convert_i32x4_u(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(four)));
};
/** Four rows' numbers out of eight i16, each in two lanes. */
const twice = (rows: V, half: number): V => {
  const first = 8 * half;
  return i8x16.shuffle(
    rows,
    rows,
    Uint8Array.from({ length: 16 }, (_, i) => first + 2 * (i >> 2) + (i & 1)),
  );
};
/** The first or the second of each pair of i16, in both lanes. */
const ofPair = (f: FunctionBuilder, pairs: V, part: number): V => {
  const v = f.let(pairs);
  return i8x16.shuffle(
    v,
    v,
    Uint8Array.from({ length: 16 }, (_, i) => 4 * (i >> 2) + 2 * part + (i & 1)),
  );
};
/** The same as floats. */
const ofPairAsFloats = (pairs: V, part: number): V =>
  f32x4.convert_i32x4_s(i32x4.shr_s(part ? pairs : i32x4.shl(pairs, 16), 16));
const f32At = ({ at, half }: Reader, offset: number): V => v128.load(at, offset + 16 * half);

// ---- packing -----------------------------------------------------------------------------------------------------------

/** `count` words of a row into a plane. */
function putWords(src: Uint8Array, at: number, count: number, dst: Uint8Array, to: number, row: number): void {
  for (let i = 0, s = at, d = to + 4 * row; i < count; i++, s += 4, d += 4 * GROUP) {
    dst[d] = src[s];
    dst[d + 1] = src[s + 1];
    dst[d + 2] = src[s + 2];
    dst[d + 3] = src[s + 3];
  }
}

function putF16(src: Uint8Array, at: number, dst: Uint8Array, to: number, row: number): void {
  dst[to + 2 * row] = src[at];
  dst[to + 2 * row + 1] = src[at + 1];
}

// ---- blocks of 32 ------------------------------------------------------------------------------------------------------

interface Codes32 {
  readonly largest?: number;
  readonly zero?: number;
  readonly pattern: Pattern;
  /** Bytes of eight rows. */
  readonly bytes: number;
  readonly steps: number;
  codes(r: Reader, plane: number, step: number): readonly Code[];
  pack(src: Uint8Array, at: number, dst: Uint8Array, plane: number, row: number): void;
}

/** f16 scales, perhaps f16 minima, codes. */
function scaled32({ bytes, steps, codes, pack, ...rest }: Codes32, hasMin = false): Format {
  const scales = hasMin ? 2 : 1;
  const plane = scales * 2 * GROUP;
  const min = hasMin ? (r: Reader) => tinyF16(r, 2 * GROUP) : undefined;
  return {
    ...rest,
    unit: 32,
    bytes: plane + bytes,
    tiny: true,
    segments: [
      {
        blocks: [{ k: 0, size: 32, scale: (r) => tinyF16(r, 0), min }],
        steps,
        codes: (r, step) => codes(r, plane, step),
      },
    ],
    pack(src, at, dst, to, row) {
      for (let i = 0; i < scales; i++) putF16(src, at + 2 * i, dst, to + 2 * GROUP * i, row);
      pack(src, at + 2 * scales, dst, to + plane, row);
    },
  };
}

/** 16 bytes: elements 0 to 15 in the lower nibbles, 16 to 31 in the upper ones. */
const nibbles32: Codes32 = {
  largest: 15,
  bytes: 16 * GROUP,
  steps: 4,
  pattern: [plain, upperNibble],
  codes(r, plane, step) {
    const raw = r.f.let(load(r, plane, step));
    return [
      { block: 0, k: 4 * step, ...nibble(r.f, raw, false) },
      { block: 0, k: 16 + 4 * step, ...nibble(r.f, raw, true) },
    ];
  },
  pack: (src, at, dst, plane, row) => putWords(src, at, 4, dst, plane, row),
};

/** Nibbles that are indices of a table. */
const levels32 = (table: Int8Array): Codes32 => ({
  ...nibbles32,
  largest: undefined,
  pattern: [signed],
  codes(r, plane, step) {
    const { f } = r;
    const raw = f.let(load(r, plane, step));
    const look = (i: V): V => i8x16.swizzle(constant(f, new Uint8Array(table)), i);
    return [
      { block: 0, k: 4 * step, bytes: () => look(low(f, raw)) },
      { block: 0, k: 16 + 4 * step, bytes: () => look(high(f, raw)) },
    ];
  },
});

/** Fifth bits before the nibbles: bit 8 t + j of a row's word is that of element 4 j + t, for a shift to find it. */
const fiveBits32: Codes32 = {
  largest: 31,
  bytes: 20 * GROUP,
  steps: 4,
  pattern: [plain],
  codes(r, plane, step) {
    const { f } = r;
    const fifth = (j: number): V => maskBytes(f, shift(load(r, plane, 0), 4 - j), 16);
    const raw = f.let(load(r, plane + 4 * GROUP, step));
    return [
      { block: 0, k: 4 * step, bytes: () => v128.or(low(f, raw), fifth(step)) },
      { block: 0, k: 16 + 4 * step, bytes: () => v128.or(high(f, raw), fifth(4 + step)) },
    ];
  },
  pack(src, at, dst, plane, row) {
    for (let i = 0; i < 32; i++) dst[plane + 4 * row + (i & 3)] |= ((src[at + (i >> 3)] >> (i & 7)) & 1) << (i >> 2);
    putWords(src, at + 4, 4, dst, plane + 4 * GROUP, row);
  },
};

const bytes32: Codes32 = {
  bytes: 32 * GROUP,
  steps: 8,
  pattern: [signed],
  codes: (r, plane, step) => [{ block: 0, k: 4 * step, bytes: () => load(r, plane, step) }],
  pack: (src, at, dst, plane, row) => putWords(src, at, 8, dst, plane, row),
};

/** A byte of exponent for each row: 2^(e - 128). The smallest, a denormal number, counts as zero. */
const mxfp4: Format = {
  ...scaled32({ ...levels32(doubledFp4.map((v) => v + 12)), largest: 24, zero: 12, pattern: [plain] }),
  bytes: 17 * GROUP,
  tiny: false,
  segments: [
    {
      blocks: [
        {
          k: 0,
          size: 32,
          scale({ f, at, half }) {
            const e = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(at, 4 * half)));
            const one = constant(f, wordsOf32(1));
            return i32x4.shl(i32x4.sub(i32x4.max_u(e, one), one), 23);
          },
        },
      ],
      steps: 4,
      codes: (r, step) => levels32(doubledFp4.map((v) => v + 12)).codes(r, GROUP, step),
    },
  ],
  pack(src, at, dst, to, row) {
    dst[to + row] = src[at];
    putWords(src, at + 1, 4, dst, to + GROUP, row);
  },
};

// ---- super-blocks of 256 -----------------------------------------------------------------------------------------------

/** Bytes of eight f32. */
const factorBytes = 4 * GROUP;

const range = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));

/** d, dmin, 8 scales, 8 minima, perhaps fifth bits, nibbles: two blocks of 32 share 32 bytes. */
function k45(fifth: boolean): Format {
  const scales = 2 * factorBytes;
  const mins = scales + 8 * GROUP;
  const bits = mins + 8 * GROUP;
  const plane = bits + (fifth ? 32 * GROUP : 0);
  const block = (j: number): Block => ({
    k: 32 * j,
    size: 32,
    scale: (r) => bytesAsFloats(r, scales + GROUP * j, false),
    min: (r) => bytesAsFloats(r, mins + GROUP * j, false),
    factors: ({ f, at, half }) => twice(f.let(v128.load8x8_u(at, scales + GROUP * j)), half),
  });
  return {
    unit: 256,
    bytes: plane + 128 * GROUP,
    largest: fifth ? 31 : 15,
    pattern: fifth ? [plain] : [plain, plain, upperNibble, upperNibble],
    factors: [0, 2],
    d: (r) => f32At(r, 0),
    dmin: (r) => f32At(r, factorBytes),
    segments: range(4, (j) => ({
      blocks: [block(2 * j), block(2 * j + 1)],
      steps: 8,
      codes(r, step) {
        const { f } = r;
        const raw = f.let(load(r, plane, 8 * j + step));
        const k = 64 * j + 4 * step;
        if (!fifth)
          return [
            { block: 0, k, ...nibble(f, raw, false) },
            { block: 1, k: k + 32, ...nibble(f, raw, true) },
          ];
        const h = f.let(load(r, bits, step));
        const bit = (i: number): V => maskBytes(f, shift(h, 4 - i), 16);
        return [
          { block: 0, k, bytes: () => v128.or(low(f, raw), bit(2 * j)) },
          { block: 1, k: k + 32, bytes: () => v128.or(high(f, raw), bit(2 * j + 1)) },
        ];
      },
    })),
    pack(src, at, dst, to, row) {
      for (let j = 0; j < 8; j++) {
        dst[to + scales + GROUP * j + row] = scaleK4(src, at + 4, j);
        dst[to + mins + GROUP * j + row] = minK4(src, at + 4, j);
      }
      if (fifth) putWords(src, at + 16, 8, dst, to + bits, row);
      putWords(src, at + (fifth ? 48 : 16), 32, dst, to + plane, row);
    },
  };
}

/**
 * The types whose halves of 128 elements have four quarters in the bits of the same bytes, and 16 blocks of 16. A segment
 * is a half: word w of each quarter at a time.
 */
function quarters(
  pair: (j: number) => Pick<Block, "scale" | "min" | "factors" | "minPairs">[],
  codes: (r: Reader, h: number, w: number) => readonly (() => V)[],
): Segment[] {
  return range(2, (h) => ({
    // Blocks of even number come first, those of odd number last.
    blocks: range(8, (i) => {
      const [p, q] = [i >> 2, i & 3];
      return { k: 128 * h + 32 * q + 16 * p, size: 16, ...pair(4 * h + q)[p] };
    }),
    steps: 8,
    codes: (r, w) =>
      codes(r, h, w).map((bytes, q) => ({ block: (w >> 2) * 4 + q, k: 128 * h + 32 * q + 4 * w, bytes })),
  }));
}

/** Signed scales of blocks 2 j and 2 j + 1, two bytes for each row. */
const signedPairs = (offset: number) => (j: number) => {
  const pairs = ({ at, half }: Reader): V => v128.load8x8_s(at, offset + 2 * GROUP * j + GROUP * half);
  return range(2, (p) => ({
    scale: (r: Reader) => ofPairAsFloats(pairs(r), p),
    factors: (r: Reader) => ofPair(r.f, pairs(r), p),
  }));
};

/** Where the byte of block j of 16 is. */
const pairAt = (j: number, row: number): number => 2 * GROUP * (j >> 1) + 2 * row + (j & 1);

/** d, 16 signed scales, lower nibbles, upper two bits. */
const q6Scales = factorBytes;
const q6Low = q6Scales + 16 * GROUP;
const q6High = q6Low + 128 * GROUP;
const q6_k: Format = {
  unit: 256,
  bytes: q6High + 64 * GROUP,
  largest: 63,
  zero: 32,
  pattern: [plain],
  factors: [208],
  d: (r) => f32At(r, 0),
  segments: quarters(signedPairs(q6Scales), (r, h, w) => {
    const { f } = r;
    const raws = [0, 8].map((i) => f.let(load(r, q6Low, 16 * h + i + w)));
    const upper = f.let(load(r, q6High, 8 * h + w));
    return range(4, (q) => () => {
      const nibble = q < 2 ? low(f, raws[q]) : high(f, raws[q - 2]);
      return v128.or(nibble, maskBytes(f, shift(upper, 4 - 2 * q), 48));
    });
  }),
  pack(src, at, dst, to, row) {
    for (let j = 0; j < 16; j++) dst[to + q6Scales + pairAt(j, row)] = src[at + 192 + j];
    putWords(src, at, 32, dst, to + q6Low, row);
    putWords(src, at + 128, 16, dst, to + q6High, row);
  },
};

/** d, dmin, 16 bytes of scale (low) and minimum (high), two bits an element. */
const q2Scales = 2 * factorBytes;
const q2Codes = q2Scales + 16 * GROUP;
const q2_k: Format = {
  unit: 256,
  bytes: q2Codes + 64 * GROUP,
  largest: 3,
  pattern: [plain],
  factors: [80, 82],
  d: (r) => f32At(r, 0),
  dmin: (r) => f32At(r, factorBytes),
  segments: quarters(
    (j) => {
      const both = ({ at, half }: Reader): V => v128.load8x8_u(at, q2Scales + 2 * GROUP * j + GROUP * half);
      const scales = (r: Reader): V => maskWords(r.f, both(r), 15);
      const mins = (r: Reader): V => i16x8.shr_u(both(r), 4);
      return range(2, (p) => ({
        scale: (r) => ofPairAsFloats(scales(r), p),
        min: (r) => ofPairAsFloats(mins(r), p),
        factors: (r) => ofPair(r.f, scales(r), p),
        minPairs: mins,
      }));
    },
    (r, h, w) => {
      const raw = r.f.let(load(r, q2Codes, 8 * h + w));
      return range(4, (q) => () => maskBytes(r.f, shift(raw, -2 * q), 3));
    },
  ),
  pack(src, at, dst, to, row) {
    for (let j = 0; j < 16; j++) dst[to + q2Scales + pairAt(j, row)] = src[at + j];
    putWords(src, at + 16, 16, dst, to + q2Codes, row);
  },
};

/** d, 16 signed scales, two bits an element, third bits. */
const q3Scales = factorBytes;
const q3Codes = q3Scales + 16 * GROUP;
const q3Bits = q3Codes + 64 * GROUP;
const q3_k: Format = {
  unit: 256,
  bytes: q3Bits + 32 * GROUP,
  largest: 7,
  zero: 4,
  pattern: [plain],
  factors: [108],
  d: (r) => f32At(r, 0),
  segments: quarters(signedPairs(q3Scales), (r, h, w) => {
    const { f } = r;
    const raw = f.let(load(r, q3Codes, 8 * h + w));
    const third = f.let(load(r, q3Bits, w));
    return range(
      4,
      (q) => () => v128.or(maskBytes(f, shift(raw, -2 * q), 3), maskBytes(f, shift(third, 2 - (4 * h + q)), 4)),
    );
  }),
  pack(src, at, dst, to, row) {
    for (let j = 0; j < 16; j++) dst[to + q3Scales + pairAt(j, row)] = scaleQ3(src, at + 96, j);
    putWords(src, at + 32, 16, dst, to + q3Codes, row);
    putWords(src, at, 8, dst, to + q3Bits, row);
  },
};

/** d, 8 signed scales, indices of levels as in iq4_nl. */
const iq4Scales = factorBytes;
const iq4Codes = iq4Scales + 8 * GROUP;
const iq4_xs: Format = {
  unit: 256,
  bytes: iq4Codes + 128 * GROUP,
  pattern: [signed],
  factors: [0],
  d: (r) => f32At(r, 0),
  segments: range(8, (j) => ({
    blocks: [{ k: 32 * j, size: 32, scale: (r) => bytesAsFloats(r, iq4Scales + GROUP * j, true) }],
    steps: 4,
    codes: (r, step) =>
      levels32(iq4Levels)
        .codes(r, iq4Codes, 4 * j + step)
        .map((c, upper) => ({ ...c, k: 32 * j + 16 * upper + 4 * step })),
  })),
  pack(src, at, dst, to, row) {
    for (let j = 0; j < 8; j++) dst[to + iq4Scales + GROUP * j + row] = scaleIq4Xs(src, at, j);
    putWords(src, at + 8, 32, dst, to + iq4Codes, row);
  },
};

export const formats: Partial<Record<BlockType, Format>> = {
  q4_0: scaled32({ ...nibbles32, zero: 8 }),
  q4_1: scaled32(nibbles32, true),
  q5_0: scaled32({ ...fiveBits32, zero: 16 }),
  q5_1: scaled32(fiveBits32, true),
  q8_0: scaled32(bytes32),
  q2_k,
  q3_k,
  q4_k: k45(false),
  q5_k: k45(true),
  q6_k,
  iq4_nl: scaled32(levels32(iq4Levels)),
  iq4_xs,
  mxfp4,
};

// ---- matrices ----------------------------------------------------------------------------------------------------------

/** Bytes of n rows of k elements. */
export const packedBytes = ({ unit, bytes }: Format, n: number, k: number): number =>
  Math.ceil(n / GROUP) * (k / unit) * bytes;

/** Lays out n rows of k elements, of a type whose format this is. */
export function packBlocks(type: BlockType, n: number, k: number, src: Uint8Array, dst: Uint8Array): void {
  const format = formats[type]!;
  const { factors = [] } = format;
  const floats = new DataView(dst.buffer, dst.byteOffset);
  dst.fill(0);
  forEachBlock(type, n, k, (at, to, row) => {
    factors.forEach((f16, i) => {
      floats.setFloat32(to + factorBytes * i + 4 * row, f16At(src, at + f16), true);
    });
    format.pack(src, at, dst, to, row);
  });
}

/** Calls back with where each block is in the file, where its unit is, and as which of the unit's rows. */
function forEachBlock(
  type: BlockType,
  n: number,
  k: number,
  visit: (at: number, to: number, row: number) => void,
): void {
  const { unit, bytes } = formats[type]!;
  const { blockBytes } = ggufTypes[ggufTypeNamed(type)];
  const units = k / unit;
  let to = 0;
  for (let group = 0; group < n; group += GROUP) {
    const rows = Math.min(GROUP, n - group);
    for (let u = 0; u < units; u++, to += bytes)
      for (let r = 0; r < rows; r++) visit(((group + r) * units + u) * blockBytes, to, r);
  }
}

/**
 * What `packBlocks` laid out, as the file has it. Bit by bit, which is slow: packing a block of one bit shows where it
 * goes. (A number that has 32 taken away carries into the bits above: the lowest one tells.)
 */
export function unpackBlocks(type: BlockType, n: number, k: number, packed: Uint8Array): Uint8Array {
  const { bytes, factors = [], pack } = formats[type]!;
  const { blockBytes } = ggufTypes[ggufTypeNamed(type)];
  const block = new Uint8Array(blockBytes);
  const [zero, one] = [new Uint8Array(bytes), new Uint8Array(bytes)];
  const out = new Uint8Array((n * k * blockBytes) / formats[type]!.unit);
  const places = range(GROUP, (row) => {
    pack(block, 0, zero.fill(0), 0, row);
    return range(8 * blockBytes, (bit) => {
      block[bit >> 3] = 1 << (bit & 7);
      pack(block, 0, one.fill(0), 0, row);
      block[bit >> 3] = 0;
      const i = one.findIndex((b, j) => b !== zero[j]);
      if (i < 0) return undefined;
      const changed = one[i] ^ zero[i];
      return { from: i, shift: 31 - Math.clz32(changed & -changed), invert: (zero[i] & changed) !== 0 ? 1 : 0 };
    });
  });
  const floats = new DataView(packed.buffer, packed.byteOffset);
  forEachBlock(type, n, k, (at, to, row) => {
    places[row].forEach((p, bit) => {
      if (p) out[at + (bit >> 3)] |= (((packed[to + p.from] >> p.shift) & 1) ^ p.invert) << (bit & 7);
    });
    factors.forEach((f16, i) => {
      const bits = numberToF16(floats.getFloat32(to + factorBytes * i + 4 * row, true));
      out[at + f16] = bits;
      out[at + f16 + 1] = bits >> 8;
    });
  });
  return out;
}
