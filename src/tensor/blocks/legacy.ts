/**
 * The first generation of ggml's quantisations: a block has one f16 scale d, and perhaps a minimum m.
 * A value is d * (q - offset) or d * q + m. Products and sums are exact in double precision, so storing into a
 * Float32Array rounds once, as arithmetic in f32 does.
 */
import { type BlockDecoder, f16At } from "./decoder.ts";

export const q4_0: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at);
  for (let j = 0; j < 16; j++) {
    const q = bytes[at + 2 + j];
    out[o + j] = d * ((q & 15) - 8);
    out[o + j + 16] = d * ((q >> 4) - 8);
  }
};

export const q4_1: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at);
  const m = f16At(bytes, at + 2);
  for (let j = 0; j < 16; j++) {
    const q = bytes[at + 4 + j];
    out[o + j] = d * (q & 15) + m;
    out[o + j + 16] = d * (q >> 4) + m;
  }
};

/** Element i of 32 with its fifth bit: nibbles at `qs`, one bit each in the 4 bytes at `qh`. */
const fiveBits = (bytes: Uint8Array, qs: number, qh: number, i: number): number =>
  ((bytes[qs + (i & 15)] >> (i & 16 ? 4 : 0)) & 15) | (((bytes[qh + (i >> 3)] >> (i & 7)) & 1) << 4);

export const q5_0: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at);
  for (let i = 0; i < 32; i++) out[o + i] = d * (fiveBits(bytes, at + 6, at + 2, i) - 16);
};

export const q5_1: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at);
  const m = f16At(bytes, at + 2);
  for (let i = 0; i < 32; i++) out[o + i] = d * fiveBits(bytes, at + 8, at + 4, i) + m;
};

export const signed8 = (bytes: Uint8Array, at: number): number => (bytes[at] << 24) >> 24;

export const q8_0: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at);
  for (let i = 0; i < 32; i++) out[o + i] = d * signed8(bytes, at + 2 + i);
};

/** As q8_0, with a sum between scale and elements that only dot products use. */
export const q8_1: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at);
  for (let i = 0; i < 32; i++) out[o + i] = d * signed8(bytes, at + 4 + i);
};

/** One bit an element: d or -d. */
export const q1_0: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at);
  for (let i = 0; i < 128; i++) out[o + i] = (bytes[at + 2 + (i >> 3)] >> (i & 7)) & 1 ? d : -d;
};

/** Two bits an element: -1, 0, 1 or 2 times d. */
export const q2_0: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at);
  for (let i = 0; i < 64; i++) out[o + i] = d * (((bytes[at + 2 + (i >> 2)] >> ((i & 3) * 2)) & 3) - 1);
};
