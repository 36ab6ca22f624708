import fc from "fast-check";
import * as ops from "../../src/ops/index.ts";
import { integerRange } from "../../src/ops/integers.ts";
import type { AnyOp } from "../../src/ops/op.ts";
import { fromF64, toF64 } from "../../src/tensor/convert.ts";
import { type DType, isBig, isFloat, isInteger } from "../../src/tensor/dtype.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { type OpCase, opCase, shapeOf, tensorOf, type ValueRange } from "./case.ts";

const floats: DType[] = ["f32", "f32", "f32", "f64", "f16", "bf16"];
const integers: DType[] = ["i32", "i64", "u8", "i8", "u32", "i16", "u16", "u64"];
const numeric: DType[] = [...floats, ...integers];
const signed: DType[] = [...floats, "i32", "i64", "i8"];
const anything: DType[] = [...numeric, "bool"];

const dtypeIn = (dtypes: readonly DType[]): fc.Arbitrary<DType> => fc.constantFrom(...dtypes);

/** Small shapes, the odd empty one, and vectors long enough to have a body and a remainder in any unrolled loop. */
const anyShape: fc.Arbitrary<number[]> = fc.oneof(
  { weight: 6, arbitrary: shapeOf(0, 4, 7) },
  { weight: 2, arbitrary: fc.tuple(fc.integer({ min: 8, max: 133 })).map((t) => [...t]) },
  { weight: 1, arbitrary: fc.constantFrom<number[]>([0], [2, 0, 3]) },
);

/** A shape that broadcasts to `shape`: some dimensions 1, some leading ones gone. */
const shrunk = (shape: readonly number[]): fc.Arbitrary<number[]> =>
  fc
    .tuple(
      fc.array(fc.boolean(), { minLength: shape.length, maxLength: shape.length }),
      fc.integer({ min: 0, max: shape.length }),
      fc.constantFrom("keep", "keep", "shrink", "tail", "channel", "scalar"),
    )
    .map(([ones, lead, how]) => {
      if (how === "scalar") return [];
      if (how === "tail") return shape.slice(lead);
      if (how === "channel") return shape.map((d, i) => (i === 1 ? d : 1));
      return how === "keep" ? [...shape] : shape.map((d, i) => (ones[i] ? 1 : d)).slice(lead);
    });

/** Shapes of `n` operands that broadcast together; either side may be the smaller. */
const operandShapes = (n: number): fc.Arbitrary<number[][]> =>
  anyShape.chain((shape) => fc.tuple(...Array.from({ length: n }, () => shrunk(shape))));

/** Extremes among ordinary values, for operators that look at them. */
const withSpecials = (t: HostTensor): HostTensor => {
  if (!(t.data instanceof Float32Array || t.data instanceof Float64Array)) return t;
  const specials = [Number.NaN, Infinity, -Infinity, -0];
  for (let i = 0; i < t.data.length; i += 3) t.data[i] = specials[(i / 3) % 4];
  return t;
};

const unaryCase = (op: AnyOp, dtypes: readonly DType[], range?: ValueRange, attrs = fc.constant({})) =>
  fc
    .tuple(anyShape, dtypeIn(dtypes), attrs)
    .chain(([shape, dtype, a]) => tensorOf(shape, dtype, range).map((x): OpCase => opCase(op, [x], a)));

/** Now and then with infinities and NaN. */
const withExtremes = (cases: fc.Arbitrary<OpCase>): fc.Arbitrary<OpCase> =>
  fc
    .tuple(cases, fc.boolean())
    .map(([c, extreme]) => (extreme ? { ...c, inputs: c.inputs.map((t) => t && withSpecials(t)) } : c));

const widestSpecials = [-(2n ** 63n), -1n, 0n, 2n ** 63n - 1n, 2n ** 40n + 3n, 3n - 2n ** 33n];

/** Now and then with integers at the ends of what their dtype holds, where they overflow. */
const withWideIntegers = (cases: fc.Arbitrary<OpCase>): fc.Arbitrary<OpCase> =>
  fc.tuple(cases, fc.boolean()).map(([c, wide]) => {
    if (!wide) return c;
    for (const [k, t] of c.inputs.entries()) {
      if (!t || !isInteger(t.dtype)) continue;
      const [low, high] = integerRange(t.dtype);
      const specials = t.dtype === "i64" ? widestSpecials : [low, high, 0n, low + 1n, high / 3n, high - 1n];
      const values = t.data as unknown as (number | bigint)[];
      for (let i = 0; i < values.length; i += 2) {
        const special = specials[(i / 2 + k) % specials.length];
        values[i] = isBig(t.dtype) ? special : Number(special);
      }
    }
    return c;
  });

const binaryCase = (op: AnyOp, dtypes: readonly DType[], range?: ValueRange, attrs = fc.constant({})) =>
  fc
    .tuple(operandShapes(2), dtypeIn(dtypes), attrs)
    .chain(([[a, b], dtype, given]) =>
      fc.tuple(tensorOf(a, dtype, range), tensorOf(b, dtype, range)).map((inputs): OpCase => opCase(op, inputs, given)),
    );

/** Attributes are floats in ONNX: not so small that kernels of f32 see 0. */
const number = (min: number, max: number) => fc.double({ min, max, noNaN: true }).map(Math.fround);
const maybe = <T>(a: fc.Arbitrary<T>) => fc.option(a, { nil: undefined });
const alpha = (min = -2, max = 2) => fc.record({ alpha: maybe(number(min, max)) });

const slopeCase = fc
  .tuple(anyShape, dtypeIn([...floats, "i32", "i64"]))
  .chain(([shape, dtype]) =>
    shrunk(shape).chain((slope) =>
      fc.tuple(tensorOf(shape, dtype), tensorOf(slope, dtype)).map((inputs) => opCase(ops.prelu, inputs, {})),
    ),
  );

const clipCase = fc
  .tuple(anyShape, dtypeIn(numeric), maybe(fc.integer()), maybe(fc.integer()), fc.boolean())
  .chain(([shape, dtype, lo, hi, f32]) => {
    const bound = (seed: number | undefined) =>
      seed === undefined ? fc.constant(undefined) : tensorOf([], f32 && isFloat(dtype) ? "f32" : dtype);
    return fc.tuple(tensorOf(shape, dtype, { min: -6, max: 6 }), bound(lo), bound(hi));
  })
  .map((inputs) => opCase(ops.clip, inputs, {}));

const whereCase = fc
  .tuple(operandShapes(3), dtypeIn(anything))
  .chain(([[c, x, y], dtype]) => fc.tuple(tensorOf(c, "bool"), tensorOf(x, dtype), tensorOf(y, dtype)))
  .map((inputs) => opCase(ops.where, inputs, {}));

const lowFloats: DType[] = ["f8e4m3fn", "f8e5m2", "f8e4m3fnuz", "f8e5m2fnuz", "f8e8m0", "f6e2m3", "f6e3m2", "f4e2m1"];
const narrow: DType[] = ["i4", "u4", "i2", "u2"];
const castable: DType[] = ["f32", "f32", "i64", "i32", "bool", "u8", ...numeric, ...lowFloats, ...narrow];
const castRules = fc.record({
  saturate: maybe(fc.boolean()),
  roundMode: maybe(fc.constantFrom("up" as const, "down" as const, "nearest" as const)),
});

const castCase = fc
  .tuple(anyShape, dtypeIn(castable), dtypeIn(castable), castRules, number(0, 500))
  .chain(([shape, from, to, rules, size]) =>
    tensorOf(shape, from, { min: -3, max: isFloat(to) ? size : 3 }).map((x) => {
      if (isFloat(from) && isInteger(to)) {
        // Far out of range too; GPUs have 32 bits of an i64.
        const values = toF64(x);
        const most = isBig(to) ? 2 ** 31 - 129 : Infinity;
        const beyond = [Number.NaN, Infinity, -Infinity, 3e9, -3e9, 5e9, 300, -300, -200.7];
        for (let i = 0; i < values.length; i += 2)
          values[i] = Math.min(Math.max(beyond[(i / 2) % beyond.length], -most), most);
        fromF64(values, x);
      }
      return opCase(ops.cast, [x], { to, ...rules });
    }),
  );

const castLikeCase = castCase.chain((c) =>
  tensorOf([1], c.attrs.to as DType).map((like) => opCase(ops.castLike, [c.inputs[0], like], {})),
);

const widths: DType[][] = [
  ["f32", "i32", "u32"],
  ["f64", "i64", "u64"],
  ["f16", "bf16", "i16"],
  ["i8", "u8"],
  ["i4", "u4"],
];
const bitCastCase = fc
  .constantFrom(...widths)
  .chain((row) => fc.tuple(anyShape, dtypeIn(row), dtypeIn(row)))
  .chain(([shape, from, to]) => tensorOf(shape, from).map((x) => opCase(ops.bitCast, [x], { to })));

const powCase = fc
  .tuple(
    operandShapes(2),
    dtypeIn(["f32", "f32", "f64", "f16", "i32", "i64"]),
    dtypeIn(["f32", "f32", "i32", "i64", "f64"]),
  )
  .chain(([[a, b], dtype, exponent]) =>
    fc.oneof(
      fc.tuple(tensorOf(a, dtype, { min: 0.1, max: 3 }), tensorOf(b, exponent)),
      // The common exponents.
      fc
        .tuple(tensorOf(a, dtype), fc.constantFrom(2, 3, 0.5, -1, 0))
        .chain(([x, e]) =>
          fc.tuple(fc.constant(x), tensorOf([], isFloat(exponent) ? exponent : "f32", { min: e, max: e })),
        ),
    ),
  )
  .filter(([x, e]) => isFloat(x.dtype) || !isFloat(e.dtype))
  .map((inputs) => opCase(ops.pow, inputs, {}));

const swigluCase = fc
  .tuple(anyShape, dtypeIn(floats), alpha())
  .chain(([shape, dtype, a]) =>
    fc.tuple(tensorOf(shape, dtype), tensorOf(shape, dtype)).map((inputs) => opCase(ops.swiglu, inputs, a)),
  );

const nonzero: ValueRange = { min: 0.5, max: 4 };
const wide: ValueRange = { min: -12, max: 12 };
const unit: ValueRange = { min: -0.99, max: 0.99 };

export const elementwiseCases = {
  identity: unaryCase(ops.identity, anything),
  abs: withWideIntegers(withExtremes(unaryCase(ops.abs, numeric))),
  neg: withWideIntegers(withExtremes(unaryCase(ops.neg, signed))),
  sign: withWideIntegers(unaryCase(ops.sign, numeric)),
  floor: unaryCase(ops.floor, floats, wide),
  ceil: unaryCase(ops.ceil, floats, wide),
  // Halves and quarters, so that ties are common.
  round: unaryCase(ops.round, floats, wide).map((c) => {
    const x = c.inputs[0]!;
    if (x.data instanceof Float32Array) x.data.forEach((v, i, d) => void (d[i] = Math.round(v * 4) / 4));
    return c;
  }),
  sqrt: unaryCase(ops.sqrt, floats, { min: 0, max: 50 }),
  reciprocal: unaryCase(ops.reciprocal, floats, nonzero),
  exp: withExtremes(unaryCase(ops.exp, floats, { min: -20, max: 8 })),
  log: unaryCase(ops.log, floats, { min: 0.01, max: 50 }),
  erf: withExtremes(unaryCase(ops.erf, floats, { min: -5, max: 5 })),
  sin: unaryCase(ops.sin, floats, wide),
  cos: unaryCase(ops.cos, floats, wide),
  tan: unaryCase(ops.tan, floats, { min: -1.4, max: 1.4 }),
  asin: unaryCase(ops.asin, floats, unit),
  acos: unaryCase(ops.acos, floats, unit),
  atan: unaryCase(ops.atan, floats, wide),
  sinh: unaryCase(ops.sinh, floats),
  cosh: unaryCase(ops.cosh, floats),
  tanh: withExtremes(unaryCase(ops.tanh, floats, wide)),
  asinh: unaryCase(ops.asinh, floats, wide),
  acosh: unaryCase(ops.acosh, floats, { min: 1, max: 20 }),
  atanh: unaryCase(ops.atanh, floats, unit),
  relu: withExtremes(unaryCase(ops.relu, signed)),
  sigmoid: withExtremes(unaryCase(ops.sigmoid, floats, { min: -30, max: 30 })),
  silu: withExtremes(unaryCase(ops.silu, floats, wide)),
  swish: unaryCase(ops.swish, floats, wide, alpha()),
  gelu: unaryCase(
    ops.gelu,
    floats,
    wide,
    fc.constantFrom({}, { approximate: "tanh" as const }, { approximate: "none" as const }),
  ),
  hardSigmoid: unaryCase(
    ops.hardSigmoid,
    floats,
    wide,
    fc.record({ alpha: maybe(number(-1, 1)), beta: maybe(number(-1, 1)) }),
  ),
  hardSwish: unaryCase(ops.hardSwish, floats, wide),
  leakyRelu: withExtremes(unaryCase(ops.leakyRelu, floats, undefined, alpha())),
  elu: withExtremes(unaryCase(ops.elu, floats, wide, alpha())),
  celu: unaryCase(ops.celu, floats, wide, alpha(0.2, 3)),
  selu: unaryCase(ops.selu, floats, wide, fc.record({ alpha: maybe(number(0, 3)), gamma: maybe(number(0, 3)) })),
  thresholdedRelu: unaryCase(ops.thresholdedRelu, floats, undefined, alpha()),
  softplus: unaryCase(ops.softplus, floats, { min: -30, max: 30 }),
  softsign: unaryCase(ops.softsign, floats, wide),
  mish: unaryCase(ops.mish, floats, wide),
  shrink: unaryCase(
    ops.shrink,
    numeric,
    undefined,
    fc.record({ bias: maybe(number(-1, 1)), lambda: maybe(number(0, 2)) }),
  ),
  not: unaryCase(ops.not, ["bool"]),
  bitwiseNot: withWideIntegers(unaryCase(ops.bitwiseNot, integers, wide)),
  isNan: withExtremes(unaryCase(ops.isNan, floats)),
  isInf: withExtremes(
    unaryCase(
      ops.isInf,
      floats,
      undefined,
      fc.record({ detectNegative: maybe(fc.boolean()), detectPositive: maybe(fc.boolean()) }),
    ),
  ),
  add: withWideIntegers(binaryCase(ops.add, numeric)),
  sub: withWideIntegers(binaryCase(ops.sub, numeric)),
  mul: withWideIntegers(binaryCase(ops.mul, numeric, wide)),
  div: withWideIntegers(binaryCase(ops.div, numeric, nonzero)),
  min: withWideIntegers(binaryCase(ops.min, numeric)),
  max: withWideIntegers(binaryCase(ops.max, numeric)),
  mod: withWideIntegers(
    fc.oneof(
      binaryCase(ops.mod, [...numeric, "i64"], { min: 1, max: 9 }, fc.record({ fmod: maybe(fc.boolean()) })),
      binaryCase(ops.mod, ["i32", "i64", "i64", "i8"], undefined, fc.record({ fmod: maybe(fc.boolean()) })),
    ),
  ),
  pow: powCase,
  prelu: slopeCase,
  swiglu: swigluCase,
  bitwiseAnd: withWideIntegers(binaryCase(ops.bitwiseAnd, integers, wide)),
  bitwiseOr: withWideIntegers(binaryCase(ops.bitwiseOr, integers, wide)),
  bitwiseXor: withWideIntegers(binaryCase(ops.bitwiseXor, integers, wide)),
  bitShift: binaryCase(
    ops.bitShift,
    integers,
    { min: 0, max: 40 },
    fc.record({ direction: fc.constantFrom("left" as const, "right" as const) }),
  ),
  and: binaryCase(ops.and, ["bool"]),
  or: binaryCase(ops.or, ["bool"]),
  xor: binaryCase(ops.xor, ["bool"]),
  equal: withWideIntegers(binaryCase(ops.equal, [...anything, "i32", "i64"])),
  greater: withWideIntegers(binaryCase(ops.greater, numeric)),
  greaterOrEqual: withWideIntegers(binaryCase(ops.greaterOrEqual, numeric)),
  less: withWideIntegers(binaryCase(ops.less, numeric)),
  lessOrEqual: withWideIntegers(binaryCase(ops.lessOrEqual, numeric)),
  where: withWideIntegers(whereCase),
  clip: withWideIntegers(withExtremes(clipCase)),
  cast: castCase,
  castLike: castLikeCase,
  bitCast: bitCastCase,
};
