import fc from "fast-check";
import * as ops from "../../src/ops/index.ts";
import type { AnyOp, AttrsOf } from "../../src/ops/op.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { type OpCase, opCase, tensorOf } from "./case.ts";

/** One dtype of every width, with both kinds of 8 bytes. */
export const anyDType: fc.Arbitrary<DType> = fc.constantFrom<DType[]>(
  "f32",
  "f32",
  "f64",
  "i64",
  "f16",
  "i32",
  "u8",
  "bool",
);

/** A list of integers as an i64 vector. */
export const i64 = (values: readonly number[]) => hostTensor(BigInt64Array.from(values, BigInt));

/** Shapes with empty dimensions now and then, and rows longer than any unrolled loop or block. */
export const layoutShape = (minRank = 0, maxRank = 4): fc.Arbitrary<number[]> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: minRank, maxLength: maxRank }) },
    {
      weight: 2,
      arbitrary: fc.array(fc.constantFrom(1, 3, 17, 35), {
        minLength: Math.max(minRank, 1),
        maxLength: Math.min(maxRank, 3),
      }),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(
          fc.integer({ min: 40, max: 130 }),
          fc.array(fc.integer({ min: 1, max: 3 }), { minLength: minRank, maxLength: maxRank }),
        )
        .map(([long, s]) => (s.length > 0 ? [...s.slice(0, -1), long] : s)),
    },
    { weight: 1, arbitrary: fc.array(fc.integer({ min: 0, max: 2 }), { minLength: minRank, maxLength: maxRank }) },
  );

/** A case of one tensor `x`, with what `rest` makes of its shape. */
export function onTensor<O extends AnyOp, R>(
  op: O,
  shape: fc.Arbitrary<number[]>,
  rest: (shape: readonly number[]) => fc.Arbitrary<R>,
  build: (r: R) => { inputs?: (ReturnType<typeof hostTensor> | undefined)[]; attrs: AttrsOf<O> },
): fc.Arbitrary<OpCase> {
  return fc.tuple(shape, anyDType).chain(([s, dtype]) =>
    fc.tuple(tensorOf(s, dtype, { min: -9, max: 9 }), rest(s)).map(([x, r]) => {
      const { inputs = [], attrs } = build(r);
      return opCase(op, [x, ...inputs], attrs);
    }),
  );
}

export const axisOf = (rank: number): fc.Arbitrary<number> => fc.integer({ min: -rank, max: rank - 1 });
const int = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });
const perAxis = <T>(shape: readonly unknown[], a: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.array(a, { minLength: shape.length, maxLength: shape.length });

const permutation = (rank: number): fc.Arbitrary<number[]> =>
  fc.shuffledSubarray(
    Array.from({ length: rank }, (_, i) => i),
    { minLength: rank },
  );

const someAxes = (rank: number): fc.Arbitrary<number[]> =>
  fc
    .shuffledSubarray(Array.from({ length: rank }, (_, i) => i))
    .chain((axes) =>
      fc.tuple(...axes.map(() => fc.boolean())).map((negative) => axes.map((a, i) => (negative[i] ? a - rank : a))),
    );

const concatCase: fc.Arbitrary<OpCase> = fc.tuple(layoutShape(1), anyDType, int(1, 4)).chain(([shape, dtype, count]) =>
  fc
    .tuple(axisOf(shape.length), fc.array(int(0, 5), { minLength: count, maxLength: count }))
    .chain(([axis, lengths]) => {
      const at = axis < 0 ? axis + shape.length : axis;
      const parts = lengths.map((n) => shape.map((d, i) => (i === at ? n : d)));
      return fc.tuple(...parts.map((s) => tensorOf(s, dtype))).map((xs) => opCase(ops.concat, xs, { axis }));
    }),
);

const padCase: fc.Arbitrary<OpCase> = fc.tuple(layoutShape(1, 3), anyDType).chain(([shape, dtype]) =>
  fc
    .record({
      x: tensorOf(shape, dtype),
      value: fc.option(tensorOf([], dtype), { nil: undefined }),
      axes: fc.option(someAxes(shape.length), { nil: undefined }),
      mode: fc.constantFrom("constant", "reflect", "edge", "wrap", undefined),
      pads: fc.array(int(-2, 9), { minLength: 2 * shape.length, maxLength: 2 * shape.length }),
    })
    .map(({ x, value, axes, mode, pads }) => {
      const count = 2 * (axes?.length ?? shape.length);
      return opCase(ops.pad, [x, i64(pads.slice(0, count)), value, axes && i64(axes)], { mode });
    }),
);

/** Not all of it fits: cases whose shape rule fails are dropped by whoever runs them. */
const expandCase: fc.Arbitrary<OpCase> = onTensor(
  ops.expand,
  layoutShape(0, 3).map((s) => s.map((d) => (d % 2 ? 1 : d))),
  (shape) => fc.tuple(fc.array(int(1, 4), { maxLength: 2 }), perAxis(shape, int(1, 20)), int(0, shape.length)),
  ([lead, sizes, drop]) => ({ inputs: [i64([...lead, ...sizes].slice(drop))], attrs: {} }),
).map((c) => {
  // Dimensions of the input that are not 1 stay.
  const x = c.inputs[0]!;
  const wanted = c.inputs[1]!.data as BigInt64Array;
  for (let i = 1; i <= Math.min(wanted.length, x.shape.length); i++)
    if (x.shape.at(-i) !== 1) wanted[wanted.length - i] = BigInt(i % 2 ? 1 : x.shape.at(-i)!);
  return c;
});

const blockCase = (
  op: typeof ops.depthToSpace,
  shape: (n: number, c: number, h: number, w: number, b: number) => number[],
) =>
  fc
    .tuple(anyDType, int(1, 2), int(1, 3), int(1, 5), int(1, 5), int(1, 3))
    .chain(([dtype, n, c, h, w, b]) =>
      fc
        .tuple(tensorOf(shape(n, c, h, w, b), dtype), fc.constantFrom("DCR", "CRD", undefined))
        .map(([x, mode]) => opCase(op, [x], { blockSize: b, mode })),
    );

const rangeCase: fc.Arbitrary<OpCase> = fc
  .tuple(
    fc.constantFrom<DType[]>("f32", "f64", "i32", "i64", "i16", "f16"),
    int(-9, 9),
    int(-40, 40),
    int(1, 5),
    fc.boolean(),
  )
  .map(([dtype, start, limit, step, down]) =>
    opCase(
      ops.range,
      [start, limit, down ? -step : step].map((v) => hostTensor(v, { dtype })),
      {},
    ),
  );

export const movementCases = {
  reshape: onTensor(
    ops.reshape,
    layoutShape(),
    (shape) => fc.constantFrom([-1], [0, -1], [shape.reduce((a, b) => a * b, 1)], [1, ...shape], [...shape].reverse()),
    (shape) => ({ inputs: [i64(shape)], attrs: {} }),
  ),
  flatten: onTensor(
    ops.flatten,
    layoutShape(),
    (s) => int(-s.length, s.length),
    (axis) => ({ attrs: { axis } }),
  ),
  squeeze: onTensor(
    ops.squeeze,
    fc.array(fc.constantFrom(1, 1, 2, 5), { maxLength: 4 }),
    (shape) => fc.option(fc.subarray(shape.flatMap((d, i) => (d === 1 ? [i] : []))), { nil: undefined }),
    (axes) => ({ inputs: axes ? [i64(axes)] : [], attrs: {} }),
  ),
  unsqueeze: onTensor(
    ops.unsqueeze,
    layoutShape(0, 3),
    (shape) => someAxes(shape.length + 2).map((axes) => axes.slice(0, 2)),
    (axes) => ({ inputs: [i64(axes)], attrs: {} }),
  ),
  transpose: onTensor(
    ops.transpose,
    layoutShape(0, 5),
    (shape) => fc.option(permutation(shape.length), { nil: undefined }),
    (perm) => ({ attrs: { perm } }),
  ),
  concat: concatCase,
  split: onTensor(
    ops.split,
    layoutShape(1),
    (shape) => fc.tuple(axisOf(shape.length), int(1, 4), fc.boolean()).map((t) => ({ shape, t })),
    ({ shape, t: [axis, parts, sized] }) => {
      const total = shape.at(axis)!;
      const sizes = Array.from({ length: parts }, (_, i) => (i < parts - 1 ? Math.floor(total / (parts + 1)) : 0));
      sizes[parts - 1] = total - sizes.reduce((a, b) => a + b, 0);
      return { inputs: sized ? [i64(sizes)] : [], attrs: { axis, parts } };
    },
  ),
  slice: onTensor(
    ops.slice,
    layoutShape(1),
    (shape) =>
      fc.record({
        axes: someAxes(shape.length),
        starts: perAxis(shape, int(-9, 9)),
        ends: perAxis(shape, fc.oneof(int(-9, 40), fc.constantFrom(-(2 ** 31), 2 ** 31 - 1))),
        steps: fc.option(perAxis(shape, fc.constantFrom(1, 1, 2, -1, -3)), { nil: undefined }),
      }),
    ({ axes, starts, ends, steps }) => {
      const n = axes.length;
      return {
        inputs: [starts.slice(0, n), ends.slice(0, n), axes, steps?.slice(0, n)].map((v) => v && i64(v)),
        attrs: {},
      };
    },
  ),
  pad: padCase,
  expand: expandCase,
  tile: onTensor(
    ops.tile,
    layoutShape(0, 3),
    (s) => perAxis(s, int(0, 3)),
    (repeats) => ({ inputs: [i64(repeats)], attrs: {} }),
  ),
  shape: onTensor(
    ops.shape,
    layoutShape(),
    () => fc.tuple(int(-5, 5), fc.option(int(-5, 5), { nil: undefined })),
    ([start, end]) => ({ attrs: { start, end } }),
  ),
  size: onTensor(
    ops.size,
    layoutShape(),
    () => fc.constant(0),
    () => ({ attrs: {} }),
  ),
  constantOfShape: fc
    .tuple(
      layoutShape(),
      fc.option(
        anyDType.chain((d) => tensorOf([1], d)),
        { nil: undefined },
      ),
    )
    .map(([shape, value]) => opCase(ops.constantOfShape, [i64(shape)], { value })),
  range: rangeCase,
  eyeLike: onTensor(
    ops.eyeLike,
    layoutShape(2, 2),
    () => fc.tuple(int(-4, 4), fc.option(anyDType, { nil: undefined })),
    ([k, dtype]) => ({ attrs: { k, dtype } }),
  ),
  trilu: onTensor(
    ops.trilu,
    layoutShape(2),
    () => fc.tuple(fc.option(int(-9, 9), { nil: undefined }), fc.option(fc.boolean(), { nil: undefined })),
    ([k, upper]) => ({ inputs: k === undefined ? [] : [hostTensor(BigInt(k))], attrs: { upper } }),
  ),
  depthToSpace: blockCase(ops.depthToSpace, (n, c, h, w, b) => [n, c * b * b, h, w]),
  spaceToDepth: blockCase(ops.spaceToDepth, (n, c, h, w, b) => [n, c, h * b, w * b]),
  centerCropPad: onTensor(
    ops.centerCropPad,
    layoutShape(1, 3),
    (shape) => fc.tuple(fc.option(someAxes(shape.length), { nil: undefined }), perAxis(shape, int(0, 9))),
    ([axes, sizes]) => ({ inputs: [i64(sizes.slice(0, axes?.length))], attrs: { axes } }),
  ),
};
