/**
 * Functions that WGSL lacks, or leaves open at NaN and infinity, for one or four lanes: T is f32 or a vector, B bool, I
 * and U integers. A kernel that calls one by name gets it declared.
 */
const functions: Readonly<Record<string, string>> = {
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
  // The angles' own functions are good to 2^-11 only, by the specification. The ones here are those of Cephes: pi/2 in
  // three parts, then polynomials. The parts are good for angles up to 8192; those beyond are reduced as turns.
  turned: `fn turned(x: T, quarter: T) -> T {
  var k = round(x * T(0.6366197723675814));
  var r = ((x - k * T(1.5703125)) - k * T(0.0004837512969970703)) - k * T(7.54978995489188e-8);
  let far = abs(x) > T(8192.0);
  if (any(far)) {
    let turn = turnOf(x);
    let near = (turn + U(0x20000000u)) >> U(30u);
    k = select(k, T(near), far);
    r = select(r, T(bitcast<I>(turn - (near << U(30u)))) * T(1.4629180792671596e-9), far);
  }
  let z = r * r;
  let s = r + r * z * (T(-0.16666654611) + z * (T(0.0083321608736) + z * T(-0.00019515295891)));
  let c = T(1.0) - T(0.5) * z + z * z * (T(0.04166664568298827) + z * (T(-0.001388731625493765) + z * T(2.443315711809948e-5)));
  let q = (k + quarter) - T(4.0) * floor((k + quarter) * T(0.25));
  let value = select(s, c, (q == T(1.0)) | (q == T(3.0)));
  return select(select(value, -value, q >= T(2.0)), T(notANumber()), isInfinite(x) | isNan(x));
}`,
  // The fraction of x / 2 pi in 32 bits, for |x| from 2^13 (Payne and Hanek): of the significand times 1 / 2 pi only those
  // bits matter that are less than a turn, which begin where the exponent says.
  turnOf: `fn turnOf(x: T) -> U {
  let bits = bitcast<U>(x) & U(0x7fffffffu);
  let start = max(bits >> U(23u), U(140u)) - U(140u);
  let word = start >> U(5u);
  let shift = start & U(31u);
  let b = wordOfTurn(word + U(1u));
  let high = (wordOfTurn(word) << shift) | ((b >> U(1u)) >> (U(31u) - shift));
  let low = (b << shift) | ((wordOfTurn(word + U(2u)) >> U(1u)) >> (U(31u) - shift));
  let n = significand(bits);
  let turn = n * high + U(T(n) * (T(low) * T(2.3283064365386963e-10)));
  return select(turn, U(0u) - turn, x < T(0.0));
}`,
  // 1 / 2 pi * 2^-10, from its first bit after the point.
  wordOfTurn: `fn wordOfTurn(k: U) -> U {
  let first = select(select(U(0x529fc275u), U(0x36e4e441u), k == U(1u)), U(0x000a2f98u), k == U(0u));
  return select(select(select(U(0x5993c439u), U(0xdc0db629u), k == U(4u)), U(0x7d1f534du), k == U(3u)), first, k < U(3u));
}`,
  sinOf: `fn sinOf(x: T) -> T { return turned(x, T(0.0)); }`,
  cosOf: `fn cosOf(x: T) -> T { return turned(x, T(1.0)); }`,
  tanOf: `fn tanOf(x: T) -> T { return sinOf(x) / cosOf(x); }`,
  asinPolynomial: `fn asinPolynomial(x: T, z: T) -> T {
  let p = (((T(0.042163199048) * z + T(0.024181311049)) * z + T(0.045470025998)) * z + T(0.074953002686)) * z + T(0.16666752422);
  return x + x * z * p;
}`,
  asinOf: `fn asinOf(x: T) -> T {
  let a = abs(x);
  let z = T(0.5) * (T(1.0) - a);
  let outer = T(1.5707963267948966) - T(2.0) * asinPolynomial(sqrt(z), z);
  return select(asinPolynomial(x, x * x), sign(x) * outer, a > T(0.5));
}`,
  acosOf: `fn acosOf(x: T) -> T {
  let z = T(0.5) * (T(1.0) - abs(x));
  let outer = T(2.0) * asinPolynomial(sqrt(z), z);
  let inner = T(1.5707963267948966) - asinPolynomial(x, x * x);
  return select(inner, select(outer, T(3.141592653589793) - outer, x < T(0.0)), abs(x) > T(0.5));
}`,
  atanOf: `fn atanOf(x: T) -> T {
  let a = abs(x);
  let far = a > T(2.414213562373095);
  let near = a > T(0.4142135623730951);
  let r = select(select(a, (a - T(1.0)) / (a + T(1.0)), near), T(-1.0) / a, far);
  let start = select(select(T(0.0), T(0.7853981633974483), near), T(1.5707963267948966), far);
  let z = r * r;
  let p = ((T(0.0805374449538) * z + T(-0.138776856032)) * z + T(0.199777106478)) * z + T(-0.333329491539);
  return select(sign(x) * (start + (p * z * r + r)), x, isNan(x));
}`,
  // Cephes: polynomials where logarithms would cancel; far out, squares would overflow.
  asinhOf: `fn asinhOf(x: T) -> T {
  let a = abs(x);
  let z = x * x;
  let p = ((T(0.020122003309) * z + T(-0.042699340972)) * z + T(0.074847586088)) * z + T(-0.16666288134);
  let outer = select(logOf(a + sqrt(z + T(1.0))), logOf(a) + T(0.6931471805599453), a > T(1500.0));
  return select(x + x * z * p, sign(x) * outer, a >= T(0.5));
}`,
  acoshOf: `fn acoshOf(x: T) -> T {
  let z = x - T(1.0);
  let p = (((T(0.0017596881071) * z + T(-0.0075272886713)) * z + T(0.026454905019)) * z + T(-0.11784741703)) * z + T(1.4142135263);
  let outer = select(logOf(x + sqrt(z * (x + T(1.0)))), logOf(x) + T(0.6931471805599453), x > T(1500.0));
  return select(select(outer, p * sqrt(z), z < T(0.5)), T(notANumber()), (x < T(1.0)) | isNan(x));
}`,
  atanhOf: `fn atanhOf(x: T) -> T {
  let a = abs(x);
  let z = x * x;
  let p = (((T(0.181740078349) * z + T(0.0824370301058)) * z + T(0.146691431730)) * z + T(0.199782164500)) * z + T(0.333337300303);
  let outer = T(0.5) * logOf((T(1.0) + a) / (T(1.0) - a));
  return select(x + x * z * p, select(sign(x) * outer, sign(x) * T(infinity()), a == T(1.0)), a >= T(0.5));
}`,
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

const calls = new Map(Object.keys(functions).map((name) => [name, new RegExp(`\\b${name}\\(`)]));

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
