/** Layouts of blocks of 32: one scale, perhaps a minimum, and codes of 4, 5 or 8 bits. */
import { doubledFp4 } from "../../../tensor/blocks/codebooks.ts";
import { type Expr, i8x16, i16x8, i32x4, v128 } from "../assembler.ts";
import {
  type Code,
  constant,
  eightBits,
  type Format,
  GROUP,
  high,
  load,
  low,
  maskBytes,
  nibble,
  type Pattern,
  plain,
  putF16,
  putWords,
  type Reader,
  refuseScale,
  shift,
  tinyF16,
  upperNibble,
  wordsOf32,
} from "./quantized-format.ts";

type V = Expr<"v128">;

interface Codes32 {
  readonly largest: number;
  readonly zero?: number;
  readonly pattern: Pattern;
  /** Bytes of eight rows. */
  readonly bytes: number;
  readonly steps: number;
  codes(r: Reader, plane: number, step: number): readonly Code[];
  pack(src: Uint8Array, at: number, dst: Uint8Array, plane: number, row: number): void;
}

/** f16 scales, perhaps f16 minima, codes. */
export function scaled32({ bytes, steps, codes, pack, ...rest }: Codes32, hasMin = false): Format {
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

/** Nibbles that are indices of a table, whose numbers are `zero` less. */
export const levels32 = (levels: Uint8Array, zero: number): Codes32 => ({
  ...nibbles32,
  zero,
  largest: Math.max(...levels),
  pattern: [Math.max(...levels) > 127 ? eightBits : plain],
  codes(r, plane, step) {
    const { f } = r;
    const raw = f.let(load(r, plane, step));
    const look = (i: V): V => i8x16.swizzle(constant(f, levels), i);
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
  largest: 255,
  zero: 128,
  bytes: 32 * GROUP,
  steps: 8,
  pattern: [eightBits],
  codes: (r, plane, step) => [{ block: 0, k: 4 * step, bytes: () => load(r, plane, step) }],
  pack: (src, at, dst, plane, row) => putWords(src, at, 8, dst, plane, row, 128),
};

const fp4 = levels32(
  Uint8Array.from(doubledFp4, (v) => v + 12),
  12,
);

/** A byte of exponent for each row: 2^(e - 128), 255 for NaN. The smallest, a denormal number, counts as zero. */
const mxfp4: Format = {
  ...scaled32(fp4),
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
      codes: (r, step) => fp4.codes(r, GROUP, step),
    },
  ],
  pack(src, at, dst, to, row) {
    if (src[at] === 255) refuseScale();
    dst[to + row] = src[at];
    putWords(src, at + 1, 4, dst, to + GROUP, row);
  },
};

export const legacyFormats = {
  q4_0: scaled32({ ...nibbles32, zero: 8 }),
  q4_1: scaled32(nibbles32, true),
  q5_0: scaled32({ ...fiveBits32, zero: 16 }),
  q5_1: scaled32(fiveBits32, true),
  q8_0: scaled32(bytes32),
  mxfp4,
} satisfies Record<string, Format>;
