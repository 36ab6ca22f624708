/**
 * Functions of f32 whose steps lose more bits than f32 has to lose: computed in pairs of doubles and rounded once.
 *
 *   sin, cos   1 ulp + 2^-30      pow   1 ulp
 *
 * NaN gives NaN, as do the sine and cosine of infinities. pow is that of IEEE 754: see `powF64`.
 */
import {
  type Expr,
  type FunctionBuilder,
  f32x4,
  f64,
  f64x2,
  i8x16,
  i32x4,
  i64,
  i64x2,
  type Local,
  v128,
} from "../assembler.ts";
import type { VectorFunction } from "./math.ts";

type V = Expr<"v128">;

const double = (f: FunctionBuilder, x: number): V =>
  f.hoist(v128.const(new Uint8Array(new Float64Array([x, x]).buffer)));
const words = (...order: number[]) => order.flatMap((w) => [4 * w, 4 * w + 1, 4 * w + 2, 4 * w + 3]);
const { add, sub, mul, div } = f64x2;

/** c[0] + c[1] x + c[2] x^2 + ... */
const polynomial = (f: FunctionBuilder, x: Local<"v128">, coefficients: readonly number[]): V =>
  coefficients.map((c): V => double(f, c)).reduceRight((sum, c) => add(mul(sum, x), c));

/** Four lanes of f32 by way of two pairs. */
function inPairs(
  f: FunctionBuilder,
  operands: readonly Local<"v128">[],
  pair: (doubles: readonly Local<"v128">[]) => V,
): V {
  const half = (high: boolean): Local<"v128"> => {
    const doubles = operands.map((x) =>
      f.let(f64x2.promote_low_f32x4(high ? i8x16.shuffle(x, x, words(2, 3, 2, 3)) : x)),
    );
    return f.let(f32x4.demote_f64x2_zero(pair(doubles)));
  };
  return i8x16.shuffle(half(false), half(true), words(0, 1, 4, 5));
}

// pi in two parts, the first of 29 bits: its product with a multiple below 2^24 is exact.
const PI_HIGH = Math.floor(Math.PI * 2 ** 27) / 2 ** 27;
const PI_LOW = Math.PI - PI_HIGH;
/** sin(r) / r as a function of r^2: the Taylor series, with an error of 7e-10 at pi / 2. */
const sineSeries = [1, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800];

/** 1 / pi, 28 bits each. */
const inversePi = [0x517cc1b, 0x727220a, 0x94fe13a, 0xbe8fa9a, 0x6ee06db, 0x14acc9e, 0x21c820f];
/** From here on pi in two parts is too short. */
const far = 2 ** 20;

/**
 * x less a multiple of 2 pi. Products of 24 and 28 bits are exact, as is what is left of them when even numbers are taken
 * away. Constants stay where they are used: hardly anything comes here.
 */
function withoutTurns(x: Local<"v128">): V {
  const splat = (v: number) => f64x2.splat(f64.const(v));
  const uneven = (v: V, half: V): V => sub(v, mul(f64x2.nearest(half), splat(2)));
  const half = (i: number): V => mul(x, splat(inversePi[i] * 2 ** (-28 * (i + 1) - 1)));
  const parts = inversePi.map((_, i) => uneven(mul(half(i), splat(2)), half(i)));
  return mul(
    parts.reduceRight((sum, part) => add(sum, part)),
    splat(Math.PI),
  );
}

const shiftedSine =
  (shift: number): VectorFunction =>
  (f, x) =>
    inPairs(f, [f.let(x)], ([given]) => {
      const near = f.let(given);
      f.if(v128.any_true(f64x2.gt(f64x2.abs(given), double(f, far))), () => f.set(near, withoutTurns(given)));
      const t = f.let(shift === 0 ? near : add(near, double(f, shift)));
      const k = f.let(f64x2.nearest(mul(t, double(f, 1 / Math.PI))));
      const rest = sub(sub(t, mul(k, double(f, PI_HIGH))), mul(k, double(f, PI_LOW)));
      // The sine of -0 is that.
      const r = f.let(shift === 0 ? v128.bitselect(rest, given, f64x2.ne(given, double(f, 0))) : rest);
      const z = f.let(mul(r, r));
      const half = f.let(mul(k, double(f, 0.5)));
      // 0 for even multiples, 1/2 for odd ones.
      const odd = sub(half, f64x2.floor(half));
      return mul(mul(r, polynomial(f, z, sineSeries)), sub(double(f, 1), mul(odd, double(f, 4))));
    });

export const sin: VectorFunction = shiftedSine(0);
export const cos: VectorFunction = shiftedSine(Math.PI / 2);

/** atanh(s) / s as a function of s^2 below 0.03, times 2 / ln 2. */
const logSeries = [1, 1 / 3, 1 / 5, 1 / 7, 1 / 9, 1 / 11].map((c) => c * 2 * Math.LOG2E);
/** 2^r for |r| <= 1/2: the Taylor series, with an error of 5e-9. */
const exp2Series = [1, 1, 2, 6, 24, 120, 720, 5040].map((factorial, n) => Math.LN2 ** n / factorial);
/** Of the double sqrt(1/2). */
const originBits = 0x3fe6a09e667f3bcdn;

/** log2 of doubles above 0. */
function log2(f: FunctionBuilder, x: Local<"v128">): V {
  const origin = f.hoist(v128.const(new Uint8Array(new BigInt64Array([originBits, originBits]).buffer)));
  const k = f.let(i64x2.shr_s(i64x2.sub(x, origin), 52));
  const m = f.let(i64x2.sub(x, i64x2.shl(k, 52)));
  const one = double(f, 1);
  const s = f.let(div(sub(m, one), add(m, one)));
  const z = f.let(mul(s, s));
  const exponent = f64x2.convert_low_i32x4_s(i8x16.shuffle(k, k, words(0, 2, 0, 2)));
  return add(exponent, mul(s, polynomial(f, z, logSeries)));
}

/** 2^t. */
function exp2(f: FunctionBuilder, t: V): V {
  // Beyond these bounds f32 is 0 or infinite.
  const bounded = f.let(f64x2.pmin(f64x2.pmax(t, double(f, -300)), double(f, 300)));
  const k = f.let(f64x2.nearest(bounded));
  const r = f.let(sub(bounded, k));
  const bias = f.hoist(i64x2.splat(i64.extend_i32_s(1023)));
  const exponent = i64x2.extend_low_i32x4_s(i32x4.trunc_sat_f64x2_s_zero(k));
  return mul(polynomial(f, r, exp2Series), i64x2.shl(i64x2.add(exponent, bias), 52));
}

/** x^e. */
export function pow(f: FunctionBuilder, x: Local<"v128">, e: Local<"v128">): V {
  return inPairs(f, [x, e], ([base, exponent]) => {
    const [zero, one, infinity] = [double(f, 0), double(f, 1), double(f, Number.POSITIVE_INFINITY)];
    const size = f.let(f64x2.abs(base));
    const ordinary = v128.and(f64x2.gt(size, zero), f64x2.lt(size, infinity));
    const extreme = v128.bitselect(double(f, Number.NEGATIVE_INFINITY), size, f64x2.eq(size, zero));
    const power = exp2(f, mul(exponent, v128.bitselect(log2(f, size), extreme, ordinary)));
    // Of a negative base: its sign for odd exponents, NaN for fractions.
    const half = f.let(mul(exponent, double(f, 0.5)));
    const whole = f.let(f64x2.eq(f64x2.floor(exponent), exponent));
    const odd = v128.and(whole, f64x2.ne(f64x2.floor(half), half));
    const signed = v128.or(power, v128.and(v128.and(base, double(f, -0)), odd));
    const negative = v128.and(f64x2.lt(base, zero), f64x2.gt(base, double(f, Number.NEGATIVE_INFINITY)));
    const real = v128.bitselect(double(f, Number.NaN), signed, v128.andnot(negative, whole));
    const unity = v128.or(
      v128.or(f64x2.eq(exponent, zero), f64x2.eq(base, one)),
      v128.and(f64x2.eq(size, one), f64x2.eq(f64x2.abs(exponent), infinity)),
    );
    return v128.bitselect(one, real, unity);
  });
}
