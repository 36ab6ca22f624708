import fc from "fast-check";
import { argMax, argMin } from "../../src/ops/arg-reduce.ts";
import { cumProd, cumSum } from "../../src/ops/cumulative.ts";
import { einsum } from "../../src/ops/einsum.ts";
import * as reductions from "../../src/ops/reduce.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { type OpCase, opCase, shapeOf, tensorFrom, type ValueRange } from "./case.ts";
import { rowShapes } from "./softmax.ts";

const i64 = (values: readonly number[]) => ({
  dtype: "i64" as const,
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

const shapes = fc.oneof({ weight: 2, arbitrary: shapeOf(0, 5, 6) }, rowShapes);

const numbers: readonly DType[] = ["f32", "f32", "f32", "f32", "f32", "f64", "f16", "i32", "i64", "i16", "u8", "u64"];

const reduction = (
  op: typeof reductions.reduceSum,
  { dtypes = numbers, range }: { dtypes?: readonly DType[]; range?: ValueRange } = {},
): fc.Arbitrary<OpCase> =>
  shapes.chain((shape) =>
    fc
      .record({
        seed: fc.integer(),
        dtype: fc.constantFrom(...dtypes),
        axes: fc.option(fc.subarray(shape.map((_, i) => i)), { nil: undefined }),
        negative: fc.boolean(),
        keepDims: fc.boolean(),
        noopWithEmptyAxes: fc.boolean(),
      })
      .map(({ seed, dtype, axes, negative, keepDims, noopWithEmptyAxes }) => {
        const given = axes && i64(axes.map((a) => (negative ? a - shape.length : a)));
        return opCase(op, [tensorFrom(seed, dtype, shape, range), given], { keepDims, noopWithEmptyAxes });
      }),
  );

/** Roots and logarithms of integers are nobody's business. */
const floats: readonly DType[] = ["f32", "f32", "f64", "f16"];
const positive = { min: 0.1, max: 3 };
const orBool: readonly DType[] = [...numbers, "bool"];

const argReduction = (op: typeof argMax): fc.Arbitrary<OpCase> =>
  shapes
    .filter((shape) => !shape.includes(0))
    .chain((shape) =>
      fc
        .record({
          seed: fc.integer(),
          dtype: fc.constantFrom(...numbers),
          axis: fc.integer({ min: -Math.max(1, shape.length), max: Math.max(1, shape.length) - 1 }),
          keepDims: fc.boolean(),
          selectLastIndex: fc.boolean(),
          ties: fc.boolean(),
        })
        .map(({ seed, dtype, ties, ...attrs }) => {
          const x = tensorFrom(seed, dtype, shape);
          if (ties && x.dtype === "f32") (x.data as Float32Array).forEach((v, i, d) => void (d[i] = Math.round(v)));
          return opCase(op, [x], attrs);
        }),
    );

const running = (op: typeof cumSum): fc.Arbitrary<OpCase> =>
  rowShapes
    .filter((shape) => shape.length > 0)
    .chain((shape) =>
      fc
        .record({
          seed: fc.integer(),
          dtype: fc.constantFrom<DType>("f32", "f32", "f32", "f64", "f16", "i32", "i64", "u32", "u64"),
          axis: fc.integer({ min: -shape.length, max: shape.length - 1 }),
          exclusive: fc.boolean(),
          reverse: fc.boolean(),
        })
        .map(({ seed, dtype, axis, ...attrs }) =>
          // Products of at most 1 stay in every dtype's range.
          opCase(op, [tensorFrom(seed, dtype, shape, { min: -1, max: 1 }), { ...i64([axis]), shape: [] }], attrs),
        ),
    );

/** An equation with the shapes of its operands for sizes a, b, c, d. */
const equations: readonly [string, (s: Record<"a" | "b" | "c" | "d", number>) => number[][]][] = [
  [
    "ij,jk->ik",
    ({ a, b, c }) => [
      [a, b],
      [b, c],
    ],
  ],
  [
    "bij,bjk->bik",
    ({ a, b, c, d }) => [
      [d, a, b],
      [d, b, c],
    ],
  ],
  [
    "bhid,bhjd->bhij",
    ({ a, b, c, d }) => [
      [2, d, a, c],
      [2, d, b, c],
    ],
  ],
  ["ij->ji", ({ a, b }) => [[a, b]]],
  ["ij->", ({ a, b }) => [[a, b]]],
  ["ij", ({ a, b }) => [[b, a]]],
  ["ii->i", ({ a }) => [[a, a]]],
  ["iij->j", ({ a, b }) => [[a, a, b]]],
  ["i,i", ({ a }) => [[a], [a]]],
  ["i,j->ij", ({ a, b }) => [[a], [b]]],
  [
    "...ij,...jk->...ik",
    ({ a, b, c, d }) => [
      [d, a, b],
      [2, d, b, c],
    ],
  ],
  ["...i->...", ({ a, b, c }) => [[a, b, c]]],
  [
    "b...,b...",
    ({ a, b }) => [
      [a, b],
      [a, b],
    ],
  ],
  [
    "ab,bc,cd->ad",
    ({ a, b, c, d }) => [
      [a, b],
      [b, c],
      [c, d],
    ],
  ],
  [
    "Ab , bA",
    ({ a, b }) => [
      [a, b],
      [b, a],
    ],
  ],
];

const dim = fc.integer({ min: 1, max: 6 });
const sums = fc
  .record({
    seed: fc.integer(),
    dtype: fc.constantFrom<DType>("f32", "f32", "f64", "i64"),
    equation: fc.constantFrom(...equations),
    sizes: fc.record({ a: dim, b: dim, c: dim, d: dim }),
  })
  .map(({ seed, dtype, equation: [equation, shapesOf], sizes }) =>
    opCase(
      einsum,
      shapesOf(sizes).map((shape, i) => tensorFrom(seed + i, dtype, shape)),
      { equation },
    ),
  );

export const reduceCases = {
  reduceSum: reduction(reductions.reduceSum),
  reduceMean: reduction(reductions.reduceMean),
  reduceProd: reduction(reductions.reduceProd, { range: { min: -1.5, max: 1.5 } }),
  reduceMax: reduction(reductions.reduceMax, { dtypes: orBool }),
  reduceMin: reduction(reductions.reduceMin, { dtypes: orBool }),
  reduceL1: reduction(reductions.reduceL1),
  reduceL2: reduction(reductions.reduceL2),
  reduceSumSquare: reduction(reductions.reduceSumSquare),
  reduceLogSum: reduction(reductions.reduceLogSum, { dtypes: floats, range: positive }),
  reduceLogSumExp: reduction(reductions.reduceLogSumExp, { dtypes: floats, range: { min: -90, max: 90 } }),
  argMax: argReduction(argMax),
  argMin: argReduction(argMin),
  cumSum: running(cumSum),
  cumProd: running(cumProd),
  einsum: sums,
};
