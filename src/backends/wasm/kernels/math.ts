/**
 * Elementary functions of four f32 lanes, emitted inline. Only baseline SIMD, so the results are the same bits on every
 * engine. Each takes the builder, for temporaries, and an expression that it evaluates once.
 *
 * Errors are in units in the last place of the exact result, over all finite inputs, denormal results included; tests
 * measure them against float64. NaN gives NaN.
 *
 *   exp       1 ulp      log       1 ulp      sigmoid   3 ulp      tanh      2 ulp      erf       2 ulp
 *   expNonPositive   1 ulp, 0 below -86
 *   silu      4 ulp + 2^-149 |x|; gelu, geluTanh   2^-22 |x| (their negative tails are differences of near equals)
 *
 * The largest errors seen in every 67th float: exp 0.992, log 0.82, sigmoid 2.4, tanh 1.4, erf 1.4 ulp. On one core of an
 * AMD EPYC (Zen 4) exp takes 1.1 ns, gelu 1.6, tanh 2.4 and erf 3.1 ns per number.
 *
 * silu and gelu are NaN at -infinity, like their formulas (infinity times zero).
 *
 * The polynomials are least-squares fits at Chebyshev nodes, reweighted until the largest error was level (Lawson), of
 * the function named in the comment beside them, with the fit's error before rounding the coefficients.
 */
import { type Expr, type FunctionBuilder, f32x4, i32x4, type Local, v128 } from "../assembler.ts";

type V = Expr<"v128">;

/** An elementwise function of four lanes, inlined where it is used. */
export type VectorFunction = (f: FunctionBuilder, x: Expr<"v128">) => Expr<"v128">;

const lanes = (four: Float32Array | Int32Array) => v128.const(new Uint8Array(four.buffer));
/** The same number in all four lanes. In a loop, `constant` is better. */
export const splat = (x: number): V => lanes(new Float32Array(4).fill(x));
/** The same, computed once when the function is entered: exp takes 1.6 ns per number instead of 2.6 on Node 24. */
export const constant = (f: FunctionBuilder, x: number): V => f.hoist(splat(x));
const integer = (f: FunctionBuilder, x: number): V => f.hoist(lanes(new Int32Array(4).fill(x)));

const { add, sub, mul, div } = f32x4;

/** c[0] + c[1] x + c[2] x^2 + ..., by Horner's rule; `x` is a local because it is used once for each step. */
function polynomial(f: FunctionBuilder, x: Local<"v128">, coefficients: readonly number[]): V {
  return coefficients.map((c): V => constant(f, c)).reduceRight((sum, c) => add(mul(sum, x), c));
}

/** The same by Estrin's scheme: as many multiplications and a few, but a much shorter chain of them. */
function polynomialByHalves(f: FunctionBuilder, x: Local<"v128">, coefficients: readonly number[]): V {
  let terms = coefficients.map((c): V => constant(f, c));
  for (let power = x; terms.length > 1; power = f.let(mul(power, power))) {
    const pairs = terms.filter((_, i) => i % 2 === 0);
    terms = pairs.map((low, i) => (2 * i + 1 < terms.length ? add(mul(terms[2 * i + 1], power), low) : low));
  }
  return terms[0];
}

// ln 2 = LN2_HIGH + LN2_LOW; the first has ten significant bits, so that its product with an exponent is exact.
const LN2_HIGH = 0.693359375;
const LN2_LOW = -2.1219444005469057e-4;
const SIGN_BIT = -0x80000000;

/** 2^n for integer lanes in -126 .. 127. */
const powerOfTwo = (f: FunctionBuilder, n: V): V => i32x4.shl(i32x4.add(n, integer(f, 127)), 23);

/** (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2, 2^-28 */
const expCoefficients = [0.5, 0.166665181517601, 0.04166620597243309, 0.008368954062461853, 0.0013950599823147058];

export const exp: VectorFunction = (f, x) => {
  // Beyond these bounds the result is infinity or zero anyway. pmin and pmax keep a NaN that is their first operand.
  const bounded = f.let(f32x4.pmin(f32x4.pmax(x, constant(f, -105)), constant(f, 90)));
  const n = f.let(f32x4.nearest(mul(bounded, constant(f, Math.LOG2E))));
  const r = f.let(sub(sub(bounded, mul(n, constant(f, LN2_HIGH))), mul(n, constant(f, LN2_LOW))));
  const q = polynomial(f, r, expCoefficients);
  const power = add(add(mul(mul(r, r), q), r), constant(f, 1));
  // 2^n in two factors: n is outside of the exponent's range where the result is denormal, or just below infinity.
  const k = f.let(i32x4.trunc_sat_f32x4_s(n));
  const half = f.let(i32x4.shr_s(k, 1));
  return mul(mul(power, powerOfTwo(f, half)), powerOfTwo(f, i32x4.sub(k, half)));
};

/**
 * e^x for x <= 0, as softmax has it: half the instructions of `exp`, because the result is neither infinite nor denormal.
 * 0 where e^x < e^-86. Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits, ready for the exponent.
 */
export const expNonPositive: VectorFunction = (f, x) => {
  const given = f.let(x);
  const shifter = constant(f, 1.5 * 2 ** 23);
  const shifted = f.let(add(mul(given, constant(f, Math.LOG2E)), shifter));
  const n = f.let(sub(shifted, shifter));
  const r = f.let(sub(sub(given, mul(n, constant(f, LN2_HIGH))), mul(n, constant(f, LN2_LOW))));
  const q = polynomial(f, r, expCoefficients);
  const power = f.let(add(add(mul(mul(r, r), q), r), constant(f, 1)));
  const scale = i32x4.add(i32x4.shl(shifted, 23), constant(f, 1));
  return v128.andnot(mul(power, scale), f32x4.lt(given, constant(f, -86)));
};

export const log: VectorFunction = (f, x) => {
  const given = f.let(x);
  // Denormal numbers are scaled into the normal range first.
  const tiny = f.let(f32x4.lt(given, constant(f, 2 ** -126)));
  const normal = f.let(v128.bitselect(mul(given, constant(f, 2 ** 23)), given, tiny));
  // x = m 2^k with m in [sqrt(1/2), sqrt(2)): the bits of sqrt(1/2) become the origin of the exponent.
  const origin = 0x3f3504f3;
  const bits = f.let(i32x4.sub(normal, integer(f, origin)));
  const k = f.let(f32x4.convert_i32x4_s(i32x4.sub(i32x4.shr_s(bits, 23), v128.and(tiny, integer(f, 23)))));
  const m = i32x4.add(v128.and(bits, integer(f, 0x007fffff)), integer(f, origin));
  // With s = u / (2 + u): log(1 + u) = 2 atanh(s) = u - u^2/2 + s (u^2/2 + R(s^2)).
  const u = f.let(sub(m, constant(f, 1)));
  const s = f.let(div(u, add(u, constant(f, 2))));
  const z = f.let(mul(s, s));
  // (2 atanh(s) - 2 s) / s^3 as a function of s^2, 2^-29
  const r = mul(z, polynomial(f, z, [0.6666677594184875, 0.3997754156589508, 0.2987176477909088]));
  const square = f.let(mul(mul(u, u), constant(f, 0.5)));
  const small = sub(square, add(mul(s, add(square, r)), mul(k, constant(f, LN2_LOW))));
  const finite = f.let(sub(mul(k, constant(f, LN2_HIGH)), sub(small, u)));
  // log(inf) = inf and NaN stays: x + inf. log(0) = -inf. log(negative) = NaN.
  const infinite = f.let(constant(f, Number.POSITIVE_INFINITY));
  const ordinary = f.let(v128.bitselect(finite, add(given, infinite), f32x4.lt(given, infinite)));
  const positive = f32x4.gt(given, constant(f, 0));
  const zeroOrNegative = v128.bitselect(
    constant(f, Number.NEGATIVE_INFINITY),
    add(ordinary, constant(f, Number.NaN)),
    f32x4.eq(given, constant(f, 0)),
  );
  return v128.bitselect(ordinary, zeroOrNegative, positive);
};

/** 1 / (1 + e^-x) with the exponential of a number <= 0 only, which keeps small results exact to the last bits. */
export const sigmoid: VectorFunction = (f, x) => {
  const given = f.let(x);
  const e = f.let(exp(f, v128.or(given, integer(f, SIGN_BIT))));
  const numerator = v128.bitselect(e, constant(f, 1), f32x4.lt(given, constant(f, 0)));
  return div(numerator, add(e, constant(f, 1)));
};

export const tanh: VectorFunction = (f, x) => {
  const given = f.let(x);
  const size = f.let(f32x4.abs(given));
  const z = f.let(mul(given, given));
  // (tanh(x) - x) / x^3 as a function of x^2 up to x = 0.625, 2^-28
  const c = [
    -0.3333328366279602, 0.13331490755081177, -0.05374349653720856, 0.020650578662753105, -0.005717036779969931,
  ];
  const near = f.let(add(mul(mul(given, z), polynomial(f, z, c)), given));
  const far = f.let(sub(constant(f, 1), div(constant(f, 2), add(exp(f, add(size, size)), constant(f, 1)))));
  return withSign(f, v128.bitselect(near, far, f32x4.lt(size, constant(f, 0.625))), given);
};

/** The magnitude of one, the sign of the other. */
const withSign = (f: FunctionBuilder, size: V, sign: V): V => v128.bitselect(sign, size, integer(f, SIGN_BIT));

export const erf: VectorFunction = (f, x) => {
  const given = f.let(x);
  const z = f.let(mul(given, given));
  // erf(x) / x - 1 as a function of x^2 up to x = 1, 2^-29
  const c = [
    0.12837916612625122, -0.3761262595653534, 0.11283600330352783, -0.026854444295167923, 0.005189535208046436,
    -0.0008020841050893068, 0.00007889119297033176,
  ];
  const near = f.let(add(mul(given, polynomial(f, z, c)), given));
  const size = f.let(f32x4.pmin(f32x4.abs(given), constant(f, 4)));
  // log(1 - erf(x)) for x from 1 to 4, where erf rounds to 1; 2^-30 after exponentiation
  const q = [
    -0.00035370892146602273, -1.1270400285720825, -0.6382256150245667, -0.10303743928670883, 0.021805351600050926,
    -0.0029396156314760447, 0.0001855748996604234,
  ];
  const far = f.let(sub(constant(f, 1), expNonPositive(f, polynomial(f, size, q))));
  return v128.bitselect(near, withSign(f, far, given), f32x4.lt(size, constant(f, 1)));
};

export const silu: VectorFunction = (f, x) => {
  const given = f.let(x);
  return mul(given, sigmoid(f, given));
};

/** x (1 + erf(x / sqrt 2)) / 2: x times the normal distribution function, which is 1 less its value at -x. */
export const gelu: VectorFunction = (f, x) => {
  const given = f.let(x);
  const size = f.let(f32x4.pmin(f32x4.abs(given), constant(f, 16)));
  // The binary logarithm of that function as one of -x; 2^-27 up to x = 6 after exponentiation, and falling beyond
  const c = [
    -1, -1.1511052053017343, -0.45920819667018775, -0.05249617832441737, 0.007063420099103964, -0.00013693635202665117,
    -0.00018618024651415393, 0.00003937769191880626, -0.0000028349128209242104,
  ];
  const power = f.let(polynomialByHalves(f, size, c));
  const shifter = constant(f, 1.5 * 2 ** 23);
  const shifted = f.let(add(power, shifter));
  const r = f.let(sub(power, sub(shifted, shifter)));
  // 2^r for |r| <= 1/2, 2^-23
  const e = [
    1, 0.6931469775991232, 0.24022242085348386, 0.05550733743309849, 0.009671512640875186, 0.001326472717982278,
  ];
  const scale = i32x4.add(i32x4.shl(shifted, 23), constant(f, 1));
  const below = f.let(v128.andnot(mul(polynomialByHalves(f, r, e), scale), f32x4.lt(power, constant(f, -126))));
  return mul(given, v128.bitselect(below, sub(constant(f, 1), below), f32x4.lt(given, constant(f, 0))));
};

/** The approximation x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), written as x sigmoid(2 u). */
export const geluTanh: VectorFunction = (f, x) => {
  const given = f.let(x);
  const scale = 2 * Math.sqrt(2 / Math.PI);
  const inner = add(mul(mul(given, given), constant(f, scale * 0.044715)), constant(f, scale));
  return mul(given, sigmoid(f, mul(given, inner)));
};

/** pmax(x, 0) is `x < 0 ? 0 : x`: NaN stays NaN, and one instruction does it, unlike max. */
export const relu: VectorFunction = (f, x) => f32x4.pmax(x, constant(f, 0));

/** min(max(x, low), high), NaN kept. */
export const clip =
  (low: number, high: number): VectorFunction =>
  (f, x) =>
    f32x4.pmin(f32x4.pmax(x, constant(f, low)), constant(f, high));
