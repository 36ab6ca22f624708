/**
 * k-quants: a super-block of 256 elements has f16 scales, its sub-blocks of 16 or 32 have small integer scales (and
 * minima) that multiply them. As in legacy.ts, double precision with one rounding at the end gives ggml's f32 results.
 */
import { type BlockDecoder, f16At } from "./decoder.ts";
import { signed8 } from "./legacy.ts";

/** 16 sub-blocks: a byte each holds scale (low) and minimum (high); 2-bit elements; d, dmin. */
export const q2_k: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at + 80);
  const dmin = f16At(bytes, at + 82);
  for (let sub = 0; sub < 16; sub++) {
    const scale = d * (bytes[at + sub] & 15);
    const min = dmin * (bytes[at + sub] >> 4);
    const qs = at + 16 + (sub >> 3) * 32 + (sub & 1) * 16;
    const shift = ((sub >> 1) & 3) * 2;
    for (let l = 0; l < 16; l++) out[o + sub * 16 + l] = scale * ((bytes[qs + l] >> shift) & 3) - min;
  }
};

/** 6-bit scale of sub-block j of 16, less 32: lower nibbles in 8 bytes, then upper two bits in 4. */
export const scaleQ3 = (bytes: Uint8Array, at: number, j: number): number =>
  (((bytes[at + (j & 7)] >> (j >> 3 ? 4 : 0)) & 15) | (((bytes[at + 8 + (j & 3)] >> ((j >> 2) * 2)) & 3) << 4)) - 32;

/** Third bits (32 bytes; set means not minus 4), 2-bit elements (64), 16 scales of 6 bits in 12 bytes, d. */
export const q3_k: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at + 108);
  for (let sub = 0; sub < 16; sub++) {
    const scale = d * scaleQ3(bytes, at + 96, sub);
    const qs = at + 32 + (sub >> 3) * 32 + (sub & 1) * 16;
    const hs = at + (sub & 1) * 16;
    const shift = ((sub >> 1) & 3) * 2;
    const bit = sub >> 1;
    for (let l = 0; l < 16; l++)
      out[o + sub * 16 + l] = scale * (((bytes[qs + l] >> shift) & 3) - ((bytes[hs + l] >> bit) & 1 ? 0 : 4));
  }
};

/**
 * 6-bit scale and minimum of sub-block j of 8, from 12 bytes: the first eight hold scales and minima 0 to 3, with the
 * upper two bits of 4 to 7 in their own upper two; the last four the lower four bits of scales and minima 4 to 7.
 */
export const scaleK4 = (bytes: Uint8Array, at: number, j: number): number =>
  j < 4 ? bytes[at + j] & 63 : (bytes[at + j + 4] & 15) | ((bytes[at + j - 4] >> 6) << 4);
export const minK4 = (bytes: Uint8Array, at: number, j: number): number =>
  j < 4 ? bytes[at + j + 4] & 63 : (bytes[at + j + 4] >> 4) | ((bytes[at + j] >> 6) << 4);

/** The inverse of `scaleK4` and `minK4`. */
export function packK4(scales: ArrayLike<number>, mins: ArrayLike<number>, out: Uint8Array, at: number): void {
  for (let j = 0; j < 4; j++) {
    out[at + j] = scales[j] | ((scales[j + 4] >> 4) << 6);
    out[at + j + 4] = mins[j] | ((mins[j + 4] >> 4) << 6);
    out[at + j + 8] = (scales[j + 4] & 15) | ((mins[j + 4] & 15) << 4);
  }
}

/** d, dmin, 8 scales and minima in 12 bytes, nibbles: 32 bytes hold two sub-blocks. */
export const q4_k: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at);
  const dmin = f16At(bytes, at + 2);
  for (let sub = 0; sub < 8; sub++) {
    const scale = d * scaleK4(bytes, at + 4, sub);
    const min = dmin * minK4(bytes, at + 4, sub);
    const qs = at + 16 + (sub >> 1) * 32;
    const shift = (sub & 1) * 4;
    for (let l = 0; l < 32; l++) out[o + sub * 32 + l] = scale * ((bytes[qs + l] >> shift) & 15) - min;
  }
};

/** As q4_k, with fifth bits (32 bytes) before the nibbles. */
export const q5_k: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at);
  const dmin = f16At(bytes, at + 2);
  for (let sub = 0; sub < 8; sub++) {
    const scale = d * scaleK4(bytes, at + 4, sub);
    const min = dmin * minK4(bytes, at + 4, sub);
    const qs = at + 48 + (sub >> 1) * 32;
    const shift = (sub & 1) * 4;
    for (let l = 0; l < 32; l++) {
      const q = ((bytes[qs + l] >> shift) & 15) | (((bytes[at + 16 + l] >> sub) & 1) << 4);
      out[o + sub * 32 + l] = scale * q - min;
    }
  }
};

/** Lower nibbles (128 bytes), upper two bits (64), 16 signed scales, d. */
export const q6_k: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at + 208);
  for (let sub = 0; sub < 16; sub++) {
    const scale = d * signed8(bytes, at + 192 + sub);
    const half = sub >> 3;
    const quarter = (sub >> 1) & 3;
    const ql = at + half * 64 + (quarter & 1) * 32 + (sub & 1) * 16;
    const qh = at + 128 + half * 32 + (sub & 1) * 16;
    const lowShift = quarter & 2 ? 4 : 0;
    for (let l = 0; l < 16; l++) {
      const q = ((bytes[ql + l] >> lowShift) & 15) | (((bytes[qh + l] >> (quarter * 2)) & 3) << 4);
      out[o + sub * 16 + l] = scale * (q - 32);
    }
  }
};

const f32 = new Float32Array(1);
const f32bytes = new Uint8Array(f32.buffer);

/** An f32 scale, 256 signed bytes, and sums that only dot products use. */
export const q8_k: BlockDecoder = (bytes, at, out, o) => {
  for (let i = 0; i < 4; i++) f32bytes[i] = bytes[at + i];
  const d = f32[0];
  for (let i = 0; i < 256; i++) out[o + i] = d * signed8(bytes, at + 4 + i);
};
