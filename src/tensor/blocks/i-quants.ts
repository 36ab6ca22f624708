/**
 * i-quants: groups of 4 or 8 elements are an entry of a codebook, with signs of their own, times the scale of a group of
 * 16 or 32. IQ4 has a nonlinear table of levels instead. Layouts as in ggml's block definitions.
 */
import { codebook, evenSigns, iq4Levels } from "./codebooks.ts";
import { type BlockDecoder, f16At } from "./decoder.ts";

const u16At = (bytes: Uint8Array, at: number): number => bytes[at] | (bytes[at + 1] << 8);
const u32At = (bytes: Uint8Array, at: number): number => (u16At(bytes, at) | (u16At(bytes, at + 2) << 16)) >>> 0;

/** `width` elements from a codebook entry; bit i of `signs` negates element i. */
function entry(
  grid: Int8Array,
  index: number,
  width: number,
  signs: number,
  scale: number,
  out: Float32Array,
  o: number,
) {
  for (let i = 0; i < width; i++) {
    const v = scale * grid[index * width + i];
    out[o + i] = (signs >> i) & 1 ? -v : v;
  }
}

/** 32 elements take 8 bytes: four indices, then four 7-bit sign patterns and a 4-bit scale. */
export const iq2_xxs: BlockDecoder = (bytes, at, out, o) => {
  const grid = codebook("iq2xxs");
  const d = f16At(bytes, at);
  for (let group = 0; group < 8; group++) {
    const p = at + 2 + group * 8;
    const signs = u32At(bytes, p + 4);
    const scale = d * (0.5 + (signs >>> 28)) * 0.25;
    for (let l = 0; l < 4; l++)
      entry(grid, bytes[p + l], 8, evenSigns[(signs >>> (7 * l)) & 127], scale, out, o + group * 32 + l * 8);
  }
};

/** 8 elements take 2 bytes: a 9-bit index and a 7-bit sign pattern; 4-bit scales of 16 elements at the end. */
export const iq2_xs: BlockDecoder = (bytes, at, out, o) => {
  const grid = codebook("iq2xs");
  const d = f16At(bytes, at);
  for (let l = 0; l < 32; l++) {
    const q = u16At(bytes, at + 2 + l * 2);
    const scale = d * (0.5 + ((bytes[at + 66 + (l >> 2)] >> (l & 2 ? 4 : 0)) & 15)) * 0.25;
    entry(grid, q & 511, 8, evenSigns[q >> 9], scale, out, o + l * 8);
  }
};

/** 8 elements: a 10-bit index (upper two bits apart) and 8 sign bits; 4-bit scales of 16 elements. */
export const iq2_s: BlockDecoder = (bytes, at, out, o) => {
  const grid = codebook("iq2s");
  const d = f16At(bytes, at);
  for (let l = 0; l < 32; l++) {
    const index = bytes[at + 2 + l] | (((bytes[at + 66 + (l >> 2)] >> ((l & 3) * 2)) & 3) << 8);
    const scale = d * (0.5 + ((bytes[at + 74 + (l >> 2)] >> (l & 2 ? 4 : 0)) & 15)) * 0.25;
    entry(grid, index, 8, bytes[at + 34 + l], scale, out, o + l * 8);
  }
};

/** 64 indices of 4 elements each; then for each 32 elements four 7-bit sign patterns and a 4-bit scale. */
export const iq3_xxs: BlockDecoder = (bytes, at, out, o) => {
  const grid = codebook("iq3xxs");
  const d = f16At(bytes, at);
  for (let group = 0; group < 8; group++) {
    const packed = u32At(bytes, at + 66 + group * 4);
    const scale = d * (0.5 + (packed >>> 28)) * 0.5;
    for (let l = 0; l < 8; l++) {
      const signs = evenSigns[(packed >>> (7 * (l >> 1))) & 127] >> (l & 1 ? 4 : 0);
      entry(grid, bytes[at + 2 + group * 8 + l], 4, signs, scale, out, o + group * 32 + l * 4);
    }
  }
};

/** 64 indices of 9 bits (the upper bits apart), 256 sign bits, 4-bit scales of 32 elements. */
export const iq3_s: BlockDecoder = (bytes, at, out, o) => {
  const grid = codebook("iq3s");
  const d = f16At(bytes, at);
  for (let l = 0; l < 64; l++) {
    const index = bytes[at + 2 + l] | (((bytes[at + 66 + (l >> 3)] >> (l & 7)) & 1) << 8);
    const group = l >> 3;
    const scale = d * (1 + 2 * ((bytes[at + 106 + (group >> 1)] >> (group & 1 ? 4 : 0)) & 15));
    entry(grid, index, 4, bytes[at + 74 + (l >> 1)] >> (l & 1 ? 4 : 0), scale, out, o + l * 4);
  }
};

/** 8 ternary elements, all moved by an eighth up or down. */
function ternary(grid: Int8Array, index: number, delta: number, scale: number, out: Float32Array, o: number) {
  for (let i = 0; i < 8; i++) out[o + i] = scale * (grid[index * 8 + i] + delta);
}

/** 32 elements: four indices of 11 bits (upper bits in a u16 with a 3-bit scale and the direction of the shift). */
export const iq1_s: BlockDecoder = (bytes, at, out, o) => {
  const grid = codebook("iq1");
  const d = f16At(bytes, at);
  for (let group = 0; group < 8; group++) {
    const high = u16At(bytes, at + 34 + group * 2);
    const scale = d * (2 * ((high >> 12) & 7) + 1);
    const delta = high & 0x8000 ? -0.125 : 0.125;
    for (let l = 0; l < 4; l++) {
      const index = bytes[at + 2 + group * 4 + l] | (((high >> (3 * l)) & 7) << 8);
      ternary(grid, index, delta, scale, out, o + group * 32 + l * 8);
    }
  }
};

const f16bytes = new Uint8Array(2);

/** As iq1_s with a scale for each 16 and a shift for each 8 elements; the f16 scale is spread over the scales' top nibbles. */
export const iq1_m: BlockDecoder = (bytes, at, out, o) => {
  const grid = codebook("iq1");
  const scales = at + 48;
  f16bytes[0] = (bytes[scales + 1] >> 4) | (bytes[scales + 3] & 0xf0);
  f16bytes[1] = (bytes[scales + 5] >> 4) | (bytes[scales + 7] & 0xf0);
  const d = f16At(f16bytes, 0);
  for (let l = 0; l < 32; l++) {
    const high = bytes[at + 32 + (l >> 1)] >> (l & 1 ? 4 : 0);
    const scale = d * (2 * ((u16At(bytes, scales + (l >> 3) * 2) >> (3 * ((l >> 1) & 3))) & 7) + 1);
    ternary(grid, bytes[at + l] | ((high & 7) << 8), high & 8 ? -0.125 : 0.125, scale, out, o + l * 8);
  }
};

function levels(bytes: Uint8Array, qs: number, scale: number, out: Float32Array, o: number) {
  const table = iq4Levels;
  for (let j = 0; j < 16; j++) {
    const q = bytes[qs + j];
    out[o + j] = scale * table[q & 15];
    out[o + j + 16] = scale * table[q >> 4];
  }
}

export const iq4_nl: BlockDecoder = (bytes, at, out, o) => levels(bytes, at + 2, f16At(bytes, at), out, o);

/** 8 sub-blocks with 6-bit scales: lower nibbles in 4 bytes, upper two bits in a u16. */
export const iq4_xs: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at);
  for (let sub = 0; sub < 8; sub++) levels(bytes, at + 8 + sub * 16, d * scaleIq4Xs(bytes, at, sub), out, o + sub * 32);
};

/** The scale of sub-block j of the block at bytes[at], less 32. */
export const scaleIq4Xs = (bytes: Uint8Array, at: number, j: number): number =>
  (((bytes[at + 4 + (j >> 1)] >> (j & 1 ? 4 : 0)) & 15) | (((u16At(bytes, at + 2) >> (2 * j)) & 3) << 4)) - 32;
