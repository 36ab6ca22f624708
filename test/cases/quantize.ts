import fc from "fast-check";
import * as ops from "../../src/ops/index.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { opCase, shapeOf, tensorFrom, tensorOf } from "./case.ts";

const targets: DType[] = [
  "u8",
  "u8",
  "i8",
  "i8",
  "u16",
  "i16",
  "i4",
  "u4",
  "i2",
  "u2",
  "f8e4m3fn",
  "f8e5m2",
  "f6e3m2",
  "f4e2m1",
];
const scales: DType[] = ["f32", "f32", "f32", "f16", "bf16"];

interface Granularity {
  shape: number[];
  scaleShape: number[];
  axis?: number;
  blockSize?: number;
}

const granularity: fc.Arbitrary<Granularity> = shapeOf(1, 4, 9).chain((shape) => {
  const axis = fc.integer({ min: -shape.length, max: shape.length - 1 });
  return fc.oneof(
    fc.constant<Granularity>({ shape, scaleShape: [] }),
    axis.map((a) => ({ shape, scaleShape: [shape[a < 0 ? a + shape.length : a]], axis: a })),
    fc.tuple(axis, fc.integer({ min: 1, max: 5 })).map(([a, blockSize]) => {
      const at = a < 0 ? a + shape.length : a;
      const scaleShape = shape.map((d, i) => (i === at ? Math.ceil(d / blockSize) : d));
      return { shape, scaleShape, axis: a, blockSize };
    }),
  );
});

const zeroOf = (seed: number, dtype: DType, shape: readonly number[]): HostTensor =>
  tensorFrom(seed, dtype, shape, dtype[0] === "f" ? { min: 0, max: 0 } : { min: -1, max: 1 });

const maybe = <T>(a: fc.Arbitrary<T>) => fc.option(a, { nil: undefined });

const quantizeCase = fc
  .record({
    g: granularity,
    target: fc.constantFrom(...targets),
    scale: fc.constantFrom(...scales),
    zero: fc.boolean(),
    saturate: maybe(fc.boolean()),
    seed: fc.integer(),
  })
  .map(({ g: { shape, scaleShape, ...attrs }, target, scale, zero, saturate, seed }) =>
    opCase(
      ops.quantizeLinear,
      [
        tensorFrom(seed, scale, shape, { min: -20, max: 20 }),
        tensorFrom(seed + 1, scale, scaleShape, { min: 0.05, max: 2 }),
        zero ? zeroOf(seed + 2, target, scaleShape) : undefined,
      ],
      { ...attrs, dtype: zero ? undefined : target, saturate },
    ),
  );

const dequantizeCase = fc
  .record({
    g: granularity,
    source: fc.constantFrom<DType>(...targets, "i32"),
    scale: fc.constantFrom(...scales),
    zero: fc.boolean(),
    seed: fc.integer(),
  })
  .map(({ g: { shape, scaleShape, ...attrs }, source, scale, zero, seed }) =>
    opCase(
      ops.dequantizeLinear,
      [
        tensorFrom(seed, source, shape, { min: -100, max: 100 }),
        tensorFrom(seed + 1, scale, scaleShape, { min: 0.05, max: 2 }),
        zero ? zeroOf(seed + 2, source, scaleShape) : undefined,
      ],
      attrs,
    ),
  );

const dynamicCase = fc
  .tuple(
    shapeOf(0, 3, 40),
    fc.constantFrom({ min: -3, max: 3 }, { min: 1, max: 9 }, { min: -9, max: -1 }, { min: 0, max: 0 }),
  )
  .chain(([shape, range]) => fc.tuple(tensorOf(shape, "f32", range), fc.boolean()))
  .map(([x, rows]) => opCase(ops.dynamicQuantizeLinear, [x], { perRow: rows && x.shape.length > 0 }));

/** Reproducible only with a seed, so every case has one. */
const seed = fc.integer({ min: 0, max: 1000 });
const randomAttrs = fc.record({ seed, shape: shapeOf(0, 3), dtype: fc.constantFrom<DType>("f32", "f64", "f16") });

export const quantizeCases = {
  quantizeLinear: quantizeCase,
  dequantizeLinear: dequantizeCase,
  dynamicQuantizeLinear: dynamicCase,
};

export const randomCases = {
  randomNormal: randomAttrs.map((attrs) => opCase(ops.randomNormal, [], { ...attrs, mean: 1, scale: 2 })),
  randomUniform: fc
    .tuple(tensorOf([3, 5]), seed)
    .map(([like, s]) => opCase(ops.randomUniform, [like], { seed: s, low: -1, high: 4 })),
  bernoulli: fc
    .tuple(tensorOf([17], "f32", { min: 0, max: 1 }), seed, fc.constantFrom<DType>("f32", "i64", "bool"))
    .map(([p, s, dtype]) => opCase(ops.bernoulli, [p], { seed: s, dtype })),
  multinomial: fc
    .tuple(tensorOf([3, 5]), seed, fc.constantFrom("i32" as const, "i64" as const))
    .map(([x, s, dtype]) => opCase(ops.multinomial, [x], { seed: s, sampleSize: 7, dtype })),
  dropout: fc.tuple(shapeOf(0, 3), fc.boolean(), seed).chain(([shape, training, s]) =>
    fc.tuple(tensorOf(shape), tensorOf([], "f32", { min: 0, max: 0.9 })).map(([x, ratio]) =>
      opCase(ops.dropout, [x, ratio, { dtype: "bool", shape: [], data: Uint8Array.of(training ? 1 : 0) }], {
        seed: s,
      }),
    ),
  ),
};
