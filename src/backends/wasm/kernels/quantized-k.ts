/** Layouts of k-quants: 256 elements with two factors, whose blocks of 16 or 32 have integer scales. */
import { minK4, scaleK4, scaleQ3 } from "../../../tensor/blocks/k-quants.ts";
import { type Expr, i16x8, v128 } from "../assembler.ts";
import {
  type Block,
  bytesAsFloats,
  type Format,
  factorAt,
  factorBytes,
  GROUP,
  high,
  load,
  low,
  maskBytes,
  maskWords,
  nibble,
  ofPair,
  ofPairAsFloats,
  plain,
  putF16,
  putWords,
  type Reader,
  range,
  type Segment,
  shift,
  twice,
  upperNibble,
} from "./quantized-format.ts";

type V = Expr<"v128">;

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
    d: (r) => factorAt(r, 0),
    dmin: (r) => factorAt(r, factorBytes),
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
      putF16(src, at, dst, to, row);
      putF16(src, at + 2, dst, to + factorBytes, row);
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

/**
 * d, 16 signed scales, then for each step three vectors, one after the other as they are read: codes of three quarters, and
 * in the upper bits of their bytes the fourth's. That is a third less to do than with the file's nibbles and pairs of bits,
 * and what is read in the order of memory comes from there nearly as fast as from a cache.
 */
const q6Scales = factorBytes;
const q6Codes = q6Scales + 16 * GROUP;
const q6Step = 3 * 4 * GROUP;
const q6_k: Format = {
  unit: 256,
  bytes: q6Codes + 16 * q6Step,
  largest: 63,
  zero: 32,
  pattern: [plain],
  d: (r) => factorAt(r, 0),
  segments: quarters(signedPairs(q6Scales), (r, h, w) => {
    const { f } = r;
    const three = range(3, (i) => f.let(load(r, q6Codes + q6Step * (8 * h + w), i)));
    const [a, b, c] = three.map((v, i) => () => maskBytes(f, shift(v, 2 * i - 6), 3 << (2 * i)));
    return [...three.map((v) => () => maskBytes(f, v, 63)), () => v128.or(v128.or(a(), b()), c())];
  }),
  pack(src, at, dst, to, row) {
    putF16(src, at + 208, dst, to, row);
    for (let j = 0; j < 16; j++) dst[to + q6Scales + pairAt(j, row)] = src[at + 192 + j];
    for (let h = 0; h < 2; h++)
      for (let l = 0; l < 32; l++) {
        const low0 = src[at + 64 * h + l];
        const low1 = src[at + 64 * h + 32 + l];
        const upper = src[at + 128 + 32 * h + l];
        const fourth = (low1 >> 4) | ((upper >> 6) << 4);
        const d = to + q6Codes + q6Step * (8 * h + (l >> 2)) + 4 * row + (l & 3);
        dst[d] = (low0 & 15) | ((upper & 3) << 4) | ((fourth & 3) << 6);
        dst[d + 4 * GROUP] = (low1 & 15) | ((upper & 12) << 2) | ((fourth & 12) << 4);
        dst[d + 8 * GROUP] = (low0 >> 4) | (upper & 48) | ((fourth & 48) << 2);
      }
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
  d: (r) => factorAt(r, 0),
  dmin: (r) => factorAt(r, factorBytes),
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
    putF16(src, at + 80, dst, to, row);
    putF16(src, at + 82, dst, to + factorBytes, row);
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
  d: (r) => factorAt(r, 0),
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
    putF16(src, at + 108, dst, to, row);
    for (let j = 0; j < 16; j++) dst[to + q3Scales + pairAt(j, row)] = scaleQ3(src, at + 96, j);
    putWords(src, at + 32, 16, dst, to + q3Codes, row);
    putWords(src, at, 8, dst, to + q3Bits, row);
  },
};

export const kFormats = { q2_k, q3_k, q4_k: k45(false), q5_k: k45(true), q6_k } satisfies Record<string, Format>;
