/**
 * Transcendental functions to f32 accuracy (computed in double, relative error below 1e-7), small enough for V8 to
 * inline into a loop: two to four times as fast as Math.exp and Math.tanh, which are calls into C.
 */

import { powF64 } from "../../ops/binary.ts";

/** 2^k at index k + 160: past both ends of what f32 can hold. */
const pow2 = Float64Array.from({ length: 321 }, (_, i) => 2 ** (i - 160));

/** exp(x). 0 below -104 and infinite above 104, where f32 is long since. */
export function expF32(x: number): number {
  if (!(x <= 104)) return x + Infinity; // NaN too.
  if (x < -104) return 0;
  const t = x * Math.LOG2E;
  // The nearest integer, by truncating something positive.
  const k = ((t + 160.5) | 0) - 160;
  return exp2Part(t - k) * pow2[k + 160];
}

/** 2^f for |f| <= 1/2, interpolated at Chebyshev nodes: relative error 2.6e-9. In pairs, so that few wait for others. */
function exp2Part(f: number): number {
  const s = f * f;
  return (
    1 +
    f * 0.6931472067028329 +
    s *
      (0.24022650922289554 +
        f * 0.05550327226669895 +
        s * (0.00961805667843204 + f * 0.0013400428177711937 + s * 0.00015461444724808513))
  );
}

/** 2^t for |t| <= 160. */
function exp2(t: number): number {
  const k = ((t + 160.5) | 0) - 160;
  return exp2Part(t - k) * pow2[k + 160];
}

/**
 * log2 of a normal f32 above 0, given by its bits, with relative error 1e-10: k + log2(m) with m in [sqrt(1/2), sqrt(2)),
 * the latter by the series of atanh(s), s = (m - 1) / (m + 1).
 */
function log2OfBits(bits: number): number {
  // The bits of sqrt(1/2) become the origin of the exponent.
  const k = (bits - 0x3f3504f3) >> 23;
  const m = 1 + (bits & 0x7fffff) * 2 ** -23;
  const folded = bits - (k << 23) < 0x3f800000 ? m * 0.5 : m;
  const s = (folded - 1) / (folded + 1);
  const z = s * s;
  const series = 1 + z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * (1 / 11)))));
  return k + s * series * (2 * Math.LOG2E);
}

/** x^e, `bits` being those of x. Relative error 1e-8 where x and e are ordinary; the rest is left to powF64. */
export function powF32(x: number, bits: number, e: number): number {
  if (!(bits >= 0x00800000 && bits < 0x7f800000)) return powF64(x, e);
  const t = e * log2OfBits(bits);
  if (!(t > -160 && t < 160)) return powF64(x, e);
  return exp2(t);
}

/**
 * sin(x + shift): what is left of multiples of pi, by the Taylor series (error 7e-10 at its ends). Beyond 10 million
 * Math.sin has it: the multiple would lose too many bits.
 */
function sinShifted(x: number, shift: number): number {
  const t = x + shift;
  const k = Math.floor(t * (1 / Math.PI) + 0.5);
  const r = t - k * Math.PI;
  const z = r * r;
  const series = 1 - (z / 6) * (1 - (z / 20) * (1 - (z / 42) * (1 - (z / 72) * (1 - (z / 110) * (1 - z / 156)))));
  return r * series * (1 - 2 * (k & 1));
}

export const sinF32 = (x: number): number => (Math.abs(x) < 1e7 ? sinShifted(x, 0) : Math.sin(x));
export const cosF32 = (x: number): number => (Math.abs(x) < 1e7 ? sinShifted(x, Math.PI / 2) : Math.cos(x));

/** 1 / (1 + exp(-x)). */
export function sigmoidF32(x: number): number {
  return 1 / (1 + expF32(-x));
}

/** tanh(x): a series near 0, where the other form cancels. */
export function tanhF32(x: number): number {
  if (x < 0.1 && x > -0.1) {
    const s = x * x;
    return x * (1 - s * (1 / 3 - s * (2 / 15 - s * (17 / 315))));
  }
  return 1 - 2 / (expF32(2 * x) + 1);
}

/** erf(x): x P(x^2) / Q(x^2), fitted for |x| < 4 with relative error 2.5e-8; 1 in f32 beyond. */
export function erfF32(x: number): number {
  if (x >= 4) return 1;
  if (x <= -4) return -1;
  const t = x * x;
  const p =
    1.128379139191844 +
    t *
      (0.19354791412663544 +
        t *
          (0.053102135692976324 +
            t * (0.00388347194300622 + t * (0.00028456976745318746 + t * 1.9867721631101085e-6))));
  const q =
    1 +
    t *
      (0.5048599272074791 +
        t *
          (0.11535119164983806 + t * (0.015207503416483845 + t * (0.0011856041941608322 + t * 3.7420274264349605e-5))));
  return (x * p) / q;
}
