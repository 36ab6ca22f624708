/**
 * Functions that WGSL lacks, or leaves open at NaN and infinity, for one or four lanes: T is f32 or a vector, B bool, I
 * and U integers. A kernel that calls one by name gets it declared.
 */
const functions: Record<string, string> = {
  // The language has no literals for these, and refuses constant expressions that give them.
  infinity: `fn infinity() -> f32 { var bits = 0x7f800000u; return bitcast<f32>(bits); }`,
  notANumber: `fn notANumber() -> f32 { var bits = 0x7fc00000u; return bitcast<f32>(bits); }`,
  // By bits: compilers may take for granted that x == x.
  isNan: `fn isNan(x: T) -> B { return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u); }`,
  isInfinite: `fn isInfinite(x: T) -> B { return (bitcast<U>(x) & U(0x7fffffffu)) == U(0x7f800000u); }`,
  maxNan: `fn maxNan(a: T, b: T) -> T { return select(select(max(a, b), b, isNan(b)), a, isNan(a)); }`,
  minNan: `fn minNan(a: T, b: T) -> T { return select(select(min(a, b), b, isNan(b)), a, isNan(a)); }`,
  signOf: `fn signOf(x: T) -> T { return select(sign(x), x, isNan(x)); }`,
  // A product with the constant 0 may be left out, infinity or not.
  zeroTimes: `fn zeroTimes(x: T) -> T { return select(T(0.0), T(notANumber()), isInfinite(x) | isNan(x)); }`,
  expNan: `fn expNan(x: T) -> T { return select(exp(x), x, isNan(x)); }`,
  // That of WGSL is undefined below and at 0: drivers give finite numbers there, and of NaN.
  logOf: `fn logOf(x: T) -> T {
  let ordinary = select(log(x), T(-infinity()), x == T(0.0));
  return select(select(ordinary, x, isInfinite(x)), T(notANumber()), (x < T(0.0)) | isNan(x));
}`,
  sigmoid: `fn sigmoid(x: T) -> T { return T(1.0) / (T(1.0) + expNan(-x)); }`,
  // exp overflows before tanh leaves 1.
  tanhOf: `fn tanhOf(x: T) -> T { return select(tanh(clamp(x, T(-15.0), T(15.0))), x, isNan(x)); }`,
  softplus: `fn softplus(x: T) -> T { return select(max(x, T(0.0)) + log(T(1.0) + exp(-abs(x))), x, isNan(x)); }`,
  // Abramowitz and Stegun 7.1.26: within 1.5e-7.
  erf: `fn erf(x: T) -> T {
  let a = min(abs(x), T(10.0));
  let t = T(1.0) / (T(1.0) + T(0.3275911) * a);
  let p = ((((T(1.061405429) * t + T(-1.453152027)) * t + T(1.421413741)) * t + T(-0.284496736)) * t + T(0.254829592)) * t;
  return select(sign(x) * (T(1.0) - p * exp(-a * a)), x, isNan(x));
}`,
  gelu: `fn gelu(x: T) -> T { return T(0.5) * x * (T(1.0) + erf(x * T(0.7071067811865476))); }`,
  geluTanh: `fn geluTanh(x: T) -> T {
  return T(0.5) * x * (T(1.0) + tanhOf(T(0.7978845608028654) * (x + T(0.044715) * x * x * x)));
}`,
  // IEEE 754's pow: that of WGSL is undefined below 0.
  power: `fn power(x: T, e: T) -> T {
  let magnitude = pow(abs(x), e);
  let whole = e == trunc(e);
  let odd = whole & (abs(e) % T(2.0) == T(1.0));
  let signed = select(magnitude, select(T(notANumber()), select(magnitude, -magnitude, odd), whole), x < T(0.0));
  let atZero = select(select(T(infinity()), T(0.0), e > T(0.0)), x, odd & (e > T(0.0)));
  let ordinary = select(signed, atZero, x == T(0.0));
  let nan = select(ordinary, T(notANumber()), isNan(x) | isNan(e));
  return select(nan, T(1.0), (e == T(0.0)) | (x == T(1.0)));
}`,
  // Exact, on significands: eight bits of the quotient at a time, at most 32 times.
  remainder: `fn remainder(a: T, b: T) -> T {
  let x = bitcast<U>(a) & U(0x7fffffffu);
  let y = bitcast<U>(b) & U(0x7fffffffu);
  // Numbers are significand * 2^(exponent - 150). Those that are not normal have the exponent of the smallest that is.
  let n = max(significand(y), U(1u));
  var exponent = max(y >> U(23u), U(1u));
  var left = max(max(x >> U(23u), U(1u)), exponent) - exponent;
  var r = significand(x) % n;
  while (any(left > U(0u))) {
    let step = min(left, U(8u));
    r = (r << step) % n;
    left -= step;
  }
  let shift = min(max(countLeadingZeros(r), U(8u)) - U(8u), exponent - U(1u));
  let bits = (r << shift) + ((exponent - shift - U(1u)) << U(23u));
  let magnitude = select(select(bits, U(0u), r == U(0u)), x, x < y);
  let nan = (x >= U(0x7f800000u)) | (y > U(0x7f800000u)) | (y == U(0u));
  return select(bitcast<T>(magnitude | (bitcast<U>(a) & U(0x80000000u))), T(notANumber()), nan);
}`,
  significand: `fn significand(x: U) -> U { return select(x & U(0x7fffffu), (x & U(0x7fffffu)) | U(0x800000u), x >= U(0x800000u)); }`,
  flooredRemainder: `fn flooredRemainder(a: T, b: T) -> T {
  let r = remainder(a, b);
  return select(r, r + b, (r != T(0.0)) & ((r < T(0.0)) != (b < T(0.0))));
}`,
  roundF16: `fn roundF16(x: T) -> T { return select(quantizeToF16(x), x, isNan(x) | (abs(x) > T(65504.0))); }`,
  roundBf16: `fn roundBf16(x: T) -> T {
  let bits = bitcast<U>(x);
  let even = (bits + U(0x7fffu) + ((bits >> U(16u)) & U(1u))) & U(0xffff0000u);
  return select(bitcast<T>(even), x, isNan(x));
}`,
  // Conversions end at the ends of what 32 bits hold; NaN becomes 0.
  integerOf: `fn integerOf(x: T) -> I { return select(I(x), I(0), isNan(x)); }`,
  // Negative numbers wrap, as their integer part does.
  wordOf: `fn wordOf(x: T) -> U { return select(U(x), bitcast<U>(integerOf(x)), (x < T(0.0)) | isNan(x)); }`,
  // Integers divided by 0 give 0 here.
  divideI: `fn divideI(a: I, b: I) -> I { return select(a / select(b, I(1), b == I(0)), I(0), b == I(0)); }`,
  divideU: `fn divideU(a: U, b: U) -> U { return select(a / select(b, U(1), b == U(0)), U(0), b == U(0)); }`,
  remainderI: `fn remainderI(a: I, b: I) -> I { return select(a % select(b, I(1), b == I(0)), I(0), b == I(0)); }`,
  remainderU: `fn remainderU(a: U, b: U) -> U { return select(a % select(b, U(1), b == U(0)), U(0), b == U(0)); }`,
  flooredRemainderI: `fn flooredRemainderI(a: I, b: I) -> I {
  let r = remainderI(a, b);
  return select(r, r + b, (r != I(0)) & ((r < I(0)) != (b < I(0))));
}`,
  // By squaring. Negative powers truncate: only 1 and -1 have any that are not 0.
  powerI: `fn powerI(x: I, e: I) -> I {
  var y = I(1);
  var b = x;
  for (var k = 0u; k < 31u; k++) {
    y = select(y, y * b, ((bitcast<U>(e) >> U(k)) & U(1u)) == U(1u));
    b = b * b;
  }
  let odd = (bitcast<U>(e) & U(1u)) == U(1u);
  let negative = select(select(I(0), select(I(1), I(-1), odd), x == I(-1)), I(1), x == I(1));
  return select(y, negative, e < I(0));
}`,
  powerU: `fn powerU(x: U, e: U) -> U {
  var y = U(1u);
  var b = x;
  for (var k = 0u; k < 32u; k++) {
    y = select(y, y * b, ((e >> U(k)) & U(1u)) == U(1u));
    b = b * b;
  }
  return y;
}`,
};

const calls = new Map<string, RegExp>();

/** Makes more functions known, of files that few graphs load. */
export function addFunctions(more: Readonly<Record<string, string>>): void {
  Object.assign(functions, more);
  for (const name in more) calls.set(name, new RegExp(`\\b${name}\\(`));
}

addFunctions(functions);

/** Declarations of those that the code calls, and of those that they call. */
export function functionsUsed(code: string): string {
  const used = new Set<string>();
  const visit = (text: string): void => {
    for (const [name, pattern] of calls) {
      if (used.has(name) || !pattern.test(text)) continue;
      used.add(name);
      visit(functions[name]);
    }
  };
  visit(code);
  return [...used].map((name) => `${functions[name]}\n`).join("");
}
