/** Angles and their inverses, also the hyperbolic ones, whose code is long and which few graphs have. */
import * as ops from "../../ops/index.ts";
import { elementwiseStep } from "./elementwise.ts";
import { addFunctions } from "./functions.ts";
import { type GpuKernels, gpuKernel } from "./step.ts";
import { storageOf } from "./target.ts";

const functions = {
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
};

const operators = [ops.sin, ops.cos, ops.tan, ops.asin, ops.acos, ops.atan, ops.asinh, ops.acosh, ops.atanh];

export const angleKernels: GpuKernels = (target) => {
  addFunctions(functions);
  return operators.map((op) =>
    gpuKernel(op, `webgpu/${op.op.name}`, ([x], [y]) => {
      if (storageOf(target, x.dtype)?.scalar !== "f32") return undefined;
      const operands = [{ input: 0, type: x }];
      return elementwiseStep(target, { output: y, operands, value: ([v]) => `${op.op.name}Of(${v})` });
    }),
  );
};
