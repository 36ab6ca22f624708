/**
 * Quantisers: f32 to the block types worth writing. Scales are searched, not just taken from the range: among some tens of
 * candidates each block keeps the one with the least squared error.
 */

import { packK4 } from "../../tensor/blocks/k-quants.ts";
import { ggufBytes, ggufTypes } from "../../tensor/blocks/types.ts";
import { InputError } from "../../tensor/errors.ts";
import { encodeFloats, f16ToNumber, numberToF16 } from "../../tensor/float.ts";

/** Encodes the block x[from..] into out[at..]. */
type BlockEncoder = (x: Float32Array, from: number, out: Uint8Array, at: number) => void;

/** Adding and taking away 1.5 * 2^52 leaves an integer, rounded half to even: much faster than Math.round. */
const magic = 1.5 * 2 ** 52;

/** The integer in [low, high] nearest to v. */
const nearest = (v: number, low: number, high: number): number => Math.min(high, Math.max(low, v)) + magic - magic;

/** A block's scale, or its minimum, is more than an f16 holds. */
class ScaleOverflow {}

/** Stores an f16 and returns the value it has become: what follows is rounded for that, not for the ideal scale. */
function putF16(out: Uint8Array, at: number, value: number): number {
  const bits = numberToF16(value + 0); // Without the sign of -0.
  if ((bits & 0x7c00) === 0x7c00) throw new ScaleOverflow();
  out[at] = bits & 255;
  out[at + 1] = bits >> 8;
  return f16ToNumber(bits);
}

/** The integer in [low, high] nearest to x / d; 0 when the scale is. */
const level = (x: number, d: number, low: number, high: number): number => (d === 0 ? 0 : nearest(x / d, low, high));

/**
 * The scale d that makes d * q, with q in [low, high], closest to x in the least squares: for each of a set of inverse
 * scales around the one that maps the largest magnitude to `low`, the best d for the integers which that gives.
 */
function searchScale(x: Float32Array, from: number, n: number, low: number, high: number): number {
  let extreme = 0;
  for (let i = from; i < from + n; i++) if (Math.abs(x[i]) > Math.abs(extreme)) extreme = x[i];
  if (extreme === 0) return 0;
  let best = 0;
  let gained = -1;
  for (let step = -10; step <= 10; step++) {
    const inverse = (low + step * 0.1) / extreme;
    let xq = 0;
    let qq = 0;
    for (let i = from; i < from + n; i++) {
      const q = nearest(x[i] * inverse, low, high);
      xq += x[i] * q;
      qq += q * q;
    }
    // With d = xq / qq the squared error is sum x^2 - xq^2 / qq.
    if (qq > 0 && xq * xq > gained * qq) {
      gained = (xq * xq) / qq;
      best = xq / qq;
    }
  }
  return best;
}

const q8_0: BlockEncoder = (x, from, out, at) => {
  let largest = 0;
  for (let i = 0; i < 32; i++) largest = Math.max(largest, Math.abs(x[from + i]));
  const d = putF16(out, at, largest / 127);
  for (let i = 0; i < 32; i++) out[at + 2 + i] = level(x[from + i], d, -127, 127);
};

const q4_0: BlockEncoder = (x, from, out, at) => {
  const d = putF16(out, at, searchScale(x, from, 32, -8, 7));
  for (let j = 0; j < 16; j++)
    out[at + 2 + j] = (level(x[from + j], d, -8, 7) + 8) | ((level(x[from + j + 16], d, -8, 7) + 8) << 4);
};

/**
 * Scale and minimum >= 0 so that scale * q - min, with q in [0, 15], is closest to x: candidates for the integers as
 * above, and for each the line fitted through (q, x).
 */
function searchLine(x: Float32Array, from: number, n: number): { scale: number; min: number } {
  let low = 0;
  let high = 0;
  for (let i = from; i < from + n; i++) {
    low = Math.min(low, x[i]);
    high = Math.max(high, x[i]);
  }
  if (high === low) return { scale: 0, min: 0 };
  let best = { scale: (high - low) / 15, min: -low };
  let least = Infinity;
  for (let step = -10; step <= 10; step++) {
    const inverse = (15 + step * 0.15) / (high - low);
    let sq = 0;
    let sqq = 0;
    let sx = 0;
    let sxq = 0;
    let sxx = 0;
    for (let i = from; i < from + n; i++) {
      const q = nearest((x[i] - low) * inverse, 0, 15);
      sq += q;
      sqq += q * q;
      sx += x[i];
      sxq += x[i] * q;
      sxx += x[i] * x[i];
    }
    const determinant = n * sqq - sq * sq;
    if (determinant <= 0) continue;
    let scale = (n * sxq - sx * sq) / determinant;
    let min = (sq * sxq - sqq * sx) / determinant;
    if (min < 0) {
      min = 0;
      scale = sxq / sqq;
    }
    const error = sxx + scale * scale * sqq + n * min * min - 2 * scale * sxq + 2 * min * sx - 2 * scale * min * sq;
    if (scale > 0 && error < least) {
      least = error;
      best = { scale, min };
    }
  }
  return best;
}

const q4_k: BlockEncoder = (x, from, out, at) => {
  const lines = Array.from({ length: 8 }, (_, sub) => searchLine(x, from + sub * 32, 32));
  const d = putF16(out, at, Math.max(...lines.map((l) => l.scale)) / 63);
  const dmin = putF16(out, at + 2, Math.max(...lines.map((l) => l.min)) / 63);
  const scales = lines.map((l) => level(l.scale, d, 0, 63));
  const mins = lines.map((l) => level(l.min, dmin, 0, 63));
  packK4(scales, mins, out, at + 4);
  const nibbles = out.subarray(at + 16, at + 144).fill(0);
  for (let sub = 0; sub < 8; sub++) {
    const scale = d * scales[sub];
    const min = dmin * mins[sub];
    for (let l = 0; l < 32; l++)
      nibbles[(sub >> 1) * 32 + l] |= level(x[from + sub * 32 + l] + min, scale, 0, 15) << ((sub & 1) * 4);
  }
};

const q6_k: BlockEncoder = (x, from, out, at) => {
  const scales = Array.from({ length: 16 }, (_, sub) => searchScale(x, from + sub * 16, 16, -32, 31));
  const extreme = scales.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
  const d = putF16(out, at + 208, extreme / -128);
  const low = out.subarray(at, at + 128).fill(0);
  const high = out.subarray(at + 128, at + 192).fill(0);
  for (let sub = 0; sub < 16; sub++) {
    const scale = level(scales[sub], d, -128, 127);
    out[at + 192 + sub] = scale;
    const half = sub >> 3;
    const quarter = (sub >> 1) & 3;
    for (let l = 0; l < 16; l++) {
      const q = level(x[from + sub * 16 + l], d * scale, -32, 31) + 32;
      const column = (sub & 1) * 16 + l;
      low[half * 64 + (quarter & 1) * 32 + column] |= (q & 15) << (quarter & 2 ? 4 : 0);
      high[half * 32 + column] |= (q >> 4) << (quarter * 2);
    }
  }
};

const encoders = { Q8_0: q8_0, Q4_0: q4_0, Q4_K: q4_k, Q6_K: q6_k } satisfies Record<string, BlockEncoder>;

/** The types that `quantize` can write. */
export type QuantizableType = keyof typeof encoders | "F16" | "BF16" | "F32";

/**
 * `x` stored as `type`. Rows must fill whole blocks (32 elements, 256 for the k-quants).
 * @throws InputError for another type, when the length doesn't fill blocks, an element isn't finite in a type with scales, or
 * finite ones are too large for the type
 */
export function quantize(type: QuantizableType, x: Float32Array): Uint8Array {
  if (!(x instanceof Float32Array)) throw new InputError(`${type}: what is stored are the elements of a Float32Array`);
  if (type === "F32") return new Uint8Array(x.slice().buffer);
  if (type === "F16" || type === "BF16") return halves(type, x);
  if (!Object.hasOwn(encoders, type))
    throw new InputError(`quantize: "${type}" is none of F32, F16, BF16, ${Object.keys(encoders).join(", ")}`);
  const { blockSize, blockBytes } = ggufTypes[type];
  if (x.length % blockSize) throw new InputError(`${type}: ${x.length} elements do not fill blocks of ${blockSize}`);
  const bad = x.findIndex((v) => !Number.isFinite(v));
  if (bad >= 0) throw new InputError(`${type}: element ${bad} is ${x[bad]}, which a scaled integer cannot hold`);
  const out = new Uint8Array(ggufBytes(type, x.length));
  const encode = encoders[type];
  try {
    for (let b = 0; b * blockSize < x.length; b++) encode(x, b * blockSize, out, b * blockBytes);
  } catch (e) {
    throw e instanceof ScaleOverflow ? tooLarge(type, x) : e;
  }
  return out;
}

function halves(type: "F16" | "BF16", x: Float32Array): Uint8Array {
  const out = new Uint16Array(x.length);
  encodeFloats(type === "F16" ? "f16" : "bf16", x, out);
  const infinity = type === "F16" ? 0x7c00 : 0x7f80;
  for (let i = 0; i < out.length; i++)
    if ((out[i] & 0x7fff) === infinity && Number.isFinite(x[i])) throw tooLarge(type, x);
  return new Uint8Array(out.buffer);
}

/** Names the element with the largest magnitude. */
function tooLarge(type: QuantizableType, x: Float32Array): InputError {
  const magnitude = (v: number): number => (Number.isFinite(v) ? Math.abs(v) : 0);
  const at = x.reduce((best, v, i) => (magnitude(v) > magnitude(x[best]) ? i : best), 0);
  const holding = type === "BF16" ? "F32 holds" : "BF16 and F32 hold";
  return new InputError(`${type}: element ${at} is ${x[at]}, which is too large for this type; ${holding} it`);
}
