/** Ternary types (BitNet) and the 4-bit floats of the Microscaling family. */
import { doubledFp4 } from "./codebooks.ts";
import { type BlockDecoder, f16At } from "./decoder.ts";

const pow3 = [1, 3, 9, 27, 81];

/**
 * Digit n of a byte that holds a fraction in base 3: multiplying by 3^n modulo 256 moves the digit to the top, the
 * product of that and 3 carries it out.
 */
const digit = (byte: number, n: number): number => (((byte * pow3[n]) & 255) * 3) >> 8;

/** Five elements to a byte: 32 bytes, then 16, then 4 bytes of four elements; digit n of all bytes of a run comes before n + 1. */
export const tq1_0: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at + 52);
  let to = o;
  for (const [from, count, digits] of tq1Runs)
    for (let n = 0; n < digits; n++)
      for (let m = 0; m < count; m++) out[to++] = d * (digit(bytes[at + from + m], n) - 1);
};
const tq1Runs = [
  [0, 32, 5],
  [32, 16, 5],
  [48, 4, 4],
] as const;

/** Two bits an element, minus one. */
export const tq2_0: BlockDecoder = (bytes, at, out, o) => {
  const d = f16At(bytes, at + 64);
  for (let i = 0; i < 256; i++) {
    const q = bytes[at + (i >> 7) * 32 + (i & 31)] >> (((i >> 5) & 3) * 2);
    out[o + i] = d * ((q & 3) - 1);
  }
};

/** OCP MXFP4: an f8e8m0 scale for 32 f4e2m1 elements, low nibbles first. The levels are doubled, the scale is halved. */
export const mxfp4: BlockDecoder = (bytes, at, out, o) => {
  const d = 2 ** (bytes[at] - 128);
  const table = doubledFp4;
  for (let j = 0; j < 16; j++) {
    const q = bytes[at + 1 + j];
    out[o + j] = d * table[q & 15];
    out[o + j + 16] = d * table[q >> 4];
  }
};

/** Half the value of an unsigned e4m3; 0x7f means zero, not NaN. */
function halfUe4m3(byte: number): number {
  if (byte === 0x7f) return 0;
  const exponent = (byte >> 3) & 15;
  return exponent === 0 ? (byte & 7) * 2 ** -10 : (8 + (byte & 7)) * 2 ** (exponent - 11);
}

/** NVFP4: four e4m3 scales for 16 f4e2m1 elements each. */
export const nvfp4: BlockDecoder = (bytes, at, out, o) => {
  const table = doubledFp4;
  for (let sub = 0; sub < 4; sub++) {
    const d = halfUe4m3(bytes[at + sub]);
    for (let j = 0; j < 8; j++) {
      const q = bytes[at + 4 + sub * 8 + j];
      out[o + sub * 16 + j] = d * table[q & 15];
      out[o + sub * 16 + j + 8] = d * table[q >> 4];
    }
  }
};
