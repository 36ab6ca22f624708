/** Layouts of i-quants: codes are indices of tables. */
import { codebook, evenSigns, iq4Levels } from "../../../tensor/blocks/codebooks.ts";
import { scaleIq4Xs } from "../../../tensor/blocks/i-quants.ts";
import { f32x4, i8x16, i32, i32x4, type Local, v128 } from "../assembler.ts";
import {
  bytesAsFloats,
  constant,
  type Format,
  f32At,
  factorBytes,
  GROUP,
  load,
  putWords,
  type Reader,
  range,
  signed,
} from "./quantized-format.ts";
import { levels32, scaled32 } from "./quantized-legacy.ts";

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

/**
 * d, a byte of scale for each 32 elements, the indices of eight, and signs: bit j of byte t of a row's word is that of
 * element 4 j + t of 32, for a shift to bring to the top. An index finds eight bytes of the codebook in memory.
 */
const iq2Scales = factorBytes;
const iq2Indices = iq2Scales + 8 * GROUP;
const iq2Signs = iq2Indices + 32 * GROUP;
const iq2_xxs: Format = {
  unit: 256,
  bytes: iq2Signs + 32 * GROUP,
  pattern: [signed],
  factors: [0],
  table: () => new Uint8Array(codebook("iq2xxs")),
  // The scale s of the file means (s + 1/2) / 4, and stands as 2 s + 1.
  d: (r) => f32x4.mul(f32At(r, 0), constant(r.f, new Uint8Array(Float32Array.of(0.125, 0.125, 0.125, 0.125).buffer))),
  segments: range(8, (j) => ({
    blocks: [{ k: 32 * j, size: 32, scale: (r) => bytesAsFloats(r, iq2Scales + GROUP * j, false) }],
    steps: 4,
    codes(r, step) {
      const { f } = r;
      const entries = entriesOf(r, iq2Indices + GROUP * (4 * j + step));
      const signs = f.let(load(r, iq2Signs, j));
      return [0, 1].map((part) => ({
        block: 0,
        k: 32 * j + 8 * step + 4 * part,
        bytes() {
          const negative = f.let(i8x16.lt_s(i32x4.shl(signs, 7 - (2 * step + part)), constant(f, new Uint8Array(16))));
          const magnitudes = i8x16.shuffle(entries[0], entries[1], fourOfEach(part));
          return i8x16.sub(v128.xor(magnitudes, negative), negative);
        },
      }));
    },
  })),
  pack(src, at, dst, to, row) {
    for (let j = 0; j < 8; j++) {
      const from = at + 2 + 8 * j;
      dst[to + iq2Scales + GROUP * j + row] = 2 * (src[from + 7] >> 4) + 1;
      const patterns = src[from + 4] | (src[from + 5] << 8) | (src[from + 6] << 16) | (src[from + 7] << 24);
      for (let l = 0; l < 4; l++) {
        dst[to + iq2Indices + GROUP * (4 * j + l) + row] = src[from + l];
        const signs = evenSigns[(patterns >>> (7 * l)) & 127];
        for (let i = 0; i < 8; i++)
          dst[to + iq2Signs + 4 * (GROUP * j + row) + (i & 3)] |= ((signs >> i) & 1) << (2 * l + (i >> 2));
      }
    }
  },
};

/** Eight bytes of the table for each of four rows, by the rows' indices at `offset`: two rows a vector. */
function entriesOf({ f, at, half, table }: Reader, offset: number): [Local<"v128">, Local<"v128">] {
  const address = (row: number) => i32.shl(i32.load8_u(at, offset + 4 * half + row), 3);
  const pair = (row: number) =>
    f.let(v128.load64_lane(address(row + 1), v128.load64_zero(address(row), table), 1, table));
  return [pair(0), pair(2)];
}

/** The first or second four bytes of each of two vectors' halves. */
const fourOfEach = (part: number): number[] => range(16, (i) => 8 * (i >> 2) + 4 * part + (i & 3));

export const iqFormats = {
  iq2_xxs,
  iq4_nl: scaled32(levels32(iq4Levels)),
  iq4_xs,
} satisfies Record<string, Format>;
