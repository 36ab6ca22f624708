/** Layouts of i-quants: codes are indices of tables. */
import { codebook, iq4Levels } from "../../../tensor/blocks/codebooks.ts";
import { scaleIq4Xs } from "../../../tensor/blocks/i-quants.ts";
import { type Expr, f32x4, i8x16, i32, i32x4, type Local, v128 } from "../assembler.ts";
import {
  bytesAsFloats,
  constant,
  type Format,
  factorAt,
  factorBytes,
  GROUP,
  load,
  plain,
  putF16,
  putWords,
  type Reader,
  range,
  wordsOf32,
} from "./quantized-format.ts";
import { levels32, scaled32 } from "./quantized-legacy.ts";

const levels = levels32(
  Uint8Array.from(iq4Levels, (v) => v + 128),
  128,
);

/** d, 8 signed scales, indices of levels as in iq4_nl. */
const iq4Scales = factorBytes;
const iq4Codes = iq4Scales + 8 * GROUP;
const iq4_xs: Format = {
  unit: 256,
  bytes: iq4Codes + 128 * GROUP,
  largest: levels.largest,
  zero: levels.zero,
  pattern: levels.pattern,
  d: (r) => factorAt(r, 0),
  segments: range(8, (j) => ({
    blocks: [{ k: 32 * j, size: 32, scale: (r) => bytesAsFloats(r, iq4Scales + GROUP * j, true) }],
    steps: 4,
    codes: (r, step) =>
      levels.codes(r, iq4Codes, 4 * j + step).map((c, upper) => ({ ...c, k: 32 * j + 16 * upper + 4 * step })),
  })),
  pack(src, at, dst, to, row) {
    putF16(src, at, dst, to, row);
    for (let j = 0; j < 8; j++) dst[to + iq4Scales + GROUP * j + row] = scaleIq4Xs(src, at, j);
    putWords(src, at + 8, 32, dst, to + iq4Codes, row);
  },
};

/**
 * d, then for each 32 elements two words: the indices of eight elements each, which find eight bytes of the codebook in
 * memory; and four times seven signs, the eighth of which makes their number even, under a scale of four bits.
 */
const iq2Words = factorBytes;
const iq2_xxs: Format = {
  unit: 256,
  bytes: iq2Words + 64 * GROUP,
  // At most 43, and the sign.
  largest: 64 + 43,
  zero: 64,
  pattern: [plain],
  table: () => new Uint8Array(codebook("iq2xxs")),
  d: (r) => factorAt(r, 0, -2),
  segments: range(8, (j) => ({
    blocks: [
      {
        k: 32 * j,
        size: 32,
        scale: (r) =>
          f32x4.add(f32x4.convert_i32x4_u(i32x4.shr_u(load(r, iq2Words, 2 * j + 1), 28)), constant(r.f, floats(0.5))),
      },
    ],
    steps: 1,
    codes(r) {
      const { f } = r;
      const signs = signsOf(r, load(r, iq2Words, 2 * j + 1));
      return range(4, (l) => {
        let eight: { entries: Pair; negative: Local<"v128"> } | undefined;
        return [0, 1].map((part) => ({
          block: 0,
          k: 32 * j + 8 * l + 4 * part,
          bytes() {
            eight ??= {
              entries: entriesOf(r, iq2Words + 64 * j + l),
              negative: f.let(
                i8x16.shuffle(
                  signs,
                  signs,
                  Uint8Array.from({ length: 16 }, (_, i) => (i & 12) + l),
                ),
              ),
            };
            const bits = constant(
              f,
              Uint8Array.from({ length: 16 }, (_, i) => 1 << ((i & 3) + 4 * part)),
            );
            const mask = f.let(i8x16.eq(v128.and(eight.negative, bits), bits));
            const magnitudes = i8x16.shuffle(...eight.entries, fourOfEach(part));
            return i8x16.sub(v128.xor(magnitudes, mask), i8x16.sub(mask, constant(f, new Uint8Array(16).fill(64))));
          },
        }));
      }).flat();
    },
  })),
  pack(src, at, dst, to, row) {
    putF16(src, at, dst, to, row);
    putWords(src, at + 2, 16, dst, to + iq2Words, row);
  },
};

const floats = (x: number): Uint8Array => new Uint8Array(Float32Array.of(x, x, x, x).buffer);

type Pair = [Local<"v128">, Local<"v128">];

/** Eight bytes of the table for each of four rows, by the rows' index bytes from `offset` on: two rows a vector. */
function entriesOf({ f, at, half, table }: Reader, offset: number): Pair {
  const address = (row: number) => i32.shl(i32.load8_u(at, offset + 4 * (4 * half + row)), 3);
  const pair = (row: number) =>
    f.let(v128.load64_lane(address(row + 1), v128.load64_zero(address(row), table), 1, table));
  return [pair(0), pair(2)];
}

/** The four patterns of each row's word, with their eighth signs, in a byte each. */
function signsOf({ f }: Reader, words: Expr<"v128">): Local<"v128"> {
  const word = f.let(words);
  const part = (l: number): Expr<"v128"> =>
    v128.and(l ? i32x4.shl(word, l) : word, constant(f, wordsOf32(127 << (8 * l))));
  const seven = f.let(v128.or(v128.or(part(0), part(1)), v128.or(part(2), part(3))));
  const parity = constant(
    f,
    Uint8Array.from({ length: 16 }, (_, n) => 128 * ((0x6996 >> n) & 1)),
  );
  const nibbles = v128.and(v128.xor(seven, i32x4.shr_u(seven, 4)), constant(f, new Uint8Array(16).fill(15)));
  return f.let(v128.or(seven, i8x16.swizzle(parity, nibbles)));
}

/** The first or second four bytes of each of two vectors' halves. */
const fourOfEach = (part: number): number[] => range(16, (i) => 8 * (i >> 2) + 4 * part + (i & 3));

export const iqFormats = {
  iq2_xxs,
  iq4_nl: scaled32(levels),
  iq4_xs,
} satisfies Record<string, Format>;
