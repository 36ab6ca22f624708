import fc from "fast-check";
import * as ops from "../../src/ops/index.ts";
import { type DType, isBig } from "../../src/tensor/dtype.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { sizeOf } from "../../src/tensor/shape.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { halfWeightFrom, type OpCase, opCase, tensorFrom, tensorOf } from "./case.ts";
import { anyDType, axisOf, i64, layoutShape, onTensor } from "./movement.ts";

const int = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });

/** No dimension 0: an empty axis has no index. */
const filled = (minRank: number, maxRank = 4): fc.Arbitrary<number[]> =>
  layoutShape(minRank, maxRank).map((s) => s.map((d) => Math.max(1, d)));

/** Indices in [-size, size) of either dtype. */
const indicesInto = (size: number, shape: readonly number[]): fc.Arbitrary<HostTensor> =>
  fc
    .tuple(
      fc.constantFrom<DType[]>("i64", "i32"),
      fc.array(int(-size, size - 1), { minLength: sizeOf(shape), maxLength: sizeOf(shape) }),
    )
    .map(([dtype, values]) => ({
      ...hostTensor(dtype === "i64" ? (i64(values).data as BigInt64Array) : Int32Array.from(values)),
      shape,
    }));

const gatherCase: fc.Arbitrary<OpCase> = fc
  .tuple(filled(1), anyDType, layoutShape(0, 2))
  .chain(([shape, dtype, at]) =>
    axisOf(shape.length).chain((axis) =>
      fc
        .tuple(tensorOf(shape, dtype), indicesInto(shape.at(axis)!, at))
        .map(([x, indices]) => opCase(ops.gather, [x, indices], { axis })),
    ),
  );

/** A few rows of a table, as token embeddings are looked up. */
const lookupCase: fc.Arbitrary<OpCase> = fc
  .tuple(int(8, 60), int(1, 20), fc.boolean())
  .chain(([rows, width, batched]) =>
    int(1, Math.floor(rows / 8)).chain((n) =>
      fc
        .tuple(
          fc.oneof(
            tensorOf([rows, width]),
            fc
              .tuple(int(0, 1e6), fc.constantFrom("f16", "bf16"))
              .map(([seed, kind]) => halfWeightFrom(seed, kind, [rows, width])),
          ),
          indicesInto(rows, batched ? [1, n] : [n]),
        )
        .map(([x, indices]) => opCase(ops.gather, [x, indices], {})),
    ),
  );

/** Shapes of indices along an axis: nowhere larger than the tensor but there. */
const alongAxis = fc.tuple(filled(1, 3), anyDType, int(0, 9), fc.boolean()).chain(([shape, dtype, length, whole]) =>
  axisOf(shape.length).map((axis) => {
    const at = axis < 0 ? axis + shape.length : axis;
    return {
      shape,
      dtype,
      axis,
      inner: shape.map((d, i) => (i === at ? length : whole ? d : Math.ceil(d / 2))),
      size: shape[at],
    };
  }),
);

const gatherElementsCase: fc.Arbitrary<OpCase> = alongAxis.chain(({ shape, dtype, axis, inner, size }) =>
  fc
    .tuple(tensorOf(shape, dtype), indicesInto(size, inner))
    .map(([x, indices]) => opCase(ops.gatherElements, [x, indices], { axis })),
);

const reductions = fc.constantFrom("none", "none", undefined, "add", "mul", "max", "min");

const scatterElementsCase: fc.Arbitrary<OpCase> = fc
  .tuple(alongAxis, reductions)
  .chain(([{ shape, dtype, axis, inner, size }, reduction]) =>
    fc
      .tuple(tensorOf(shape, dtype), indicesInto(size, inner), tensorOf(inner, dtype))
      .map(([x, indices, updates]) => opCase(ops.scatterElements, [x, indices, updates], { axis, reduction })),
  );

/** Index tuples for axes [from, from + k) of `shape`. */
const tuples = (
  shape: readonly number[],
  from: number,
  k: number,
  lead: readonly number[],
): fc.Arbitrary<HostTensor> => {
  const count = sizeOf(lead);
  const one = fc.tuple(...shape.slice(from, from + k).map((d) => int(-d, d - 1)));
  return fc
    .array(one, { minLength: count, maxLength: count })
    .map((list) => ({ ...i64(list.flat()), shape: [...lead, k] }));
};

const gatherNdCase: fc.Arbitrary<OpCase> = fc
  .tuple(filled(1), anyDType, int(0, 2), int(1, 3), fc.array(int(0, 4), { maxLength: 2 }))
  .chain(([shape, dtype, batch, k, lead]) => {
    const batchDims = Math.min(batch, shape.length - 1);
    const tuple = Math.min(k, shape.length - batchDims);
    const at = [...shape.slice(0, batchDims), ...lead];
    return fc
      .tuple(tensorOf(shape, dtype), tuples(shape, batchDims, tuple, at))
      .map(([x, indices]) => opCase(ops.gatherNd, [x, indices], { batchDims }));
  });

const scatterNdCase: fc.Arbitrary<OpCase> = fc
  .tuple(filled(1), anyDType, int(1, 3), fc.array(int(0, 4), { maxLength: 2 }), reductions)
  .chain(([shape, dtype, k, lead, reduction]) => {
    const tuple = Math.min(k, shape.length);
    return fc
      .tuple(tensorOf(shape, dtype), tuples(shape, 0, tuple, lead), tensorOf([...lead, ...shape.slice(tuple)], dtype))
      .map((inputs) => opCase(ops.scatterNd, inputs, { reduction }));
  });

const tensorScatterCase: fc.Arbitrary<OpCase> = fc
  .tuple(
    anyDType,
    int(1, 3),
    int(1, 3),
    int(1, 9),
    int(1, 5),
    fc.constantFrom("linear", "circular", undefined),
    fc.boolean(),
  )
  .chain(([dtype, batch, heads, length, width, mode, indexed]) =>
    int(0, length).chain((steps) =>
      fc
        .tuple(
          tensorOf([batch, heads, length, width], dtype),
          tensorOf([batch, heads, steps, width], dtype),
          fc.array(int(0, mode === "circular" ? 2 * length : length - steps), { minLength: batch, maxLength: batch }),
        )
        .map(([cache, update, starts]) =>
          opCase(ops.tensorScatter, [cache, update, indexed ? i64(starts) : undefined], { mode }),
        ),
    ),
  );

const oneHotCase: fc.Arbitrary<OpCase> = fc
  .tuple(layoutShape(0, 3), int(1, 9), fc.constantFrom<DType[]>("i64", "i64", "i32", "f32", "u8"), anyDType, int(-1, 1))
  .chain(([shape, depth, at, dtype, axis]) =>
    fc
      .tuple(tensorOf(shape, at, { min: -12, max: 12 }), tensorOf([2], dtype))
      .map(([indices, values]) =>
        opCase(ops.oneHot, [indices, hostTensor(BigInt(depth)), values], { axis: shape.length ? axis : -1 }),
      ),
  );

/** Few distinct values, so that there are ties. */
const tied = (shape: readonly number[], dtype: DType): fc.Arbitrary<HostTensor> =>
  fc.integer().map((seed) => {
    const x = tensorFrom(seed, dtype, shape, { min: -3, max: 3 });
    if (dtype !== "f32" && dtype !== "f64") return x;
    const data = (x.data as Float32Array).map((v) =>
      v > 2.8 ? Number.NaN : v < -2.8 ? Number.NEGATIVE_INFINITY : Math.round(v),
    );
    return { ...x, data };
  });

const topkCase: fc.Arbitrary<OpCase> = fc
  .tuple(layoutShape(1, 3), fc.constantFrom<DType[]>("f32", "f32", "f64", "i32", "i64", "u64", "f16", "u8"))
  .chain(([shape, dtype]) =>
    axisOf(shape.length).chain((axis) =>
      fc
        .record({
          x: tied(shape, dtype),
          k: int(0, shape.at(axis)!),
          largest: fc.option(fc.boolean(), { nil: undefined }),
          sorted: fc.boolean(),
          beyondDoubles: fc.boolean(),
        })
        .map(({ x, k, beyondDoubles, ...attrs }) => {
          // Doubles next to them are equal for many of these.
          if (beyondDoubles && isBig(x.dtype))
            (x.data as BigInt64Array).forEach((v, i, d) => void (d[i] += i % 3 === 0 ? 2n ** 63n - 9n : 2n ** 60n + v));
          return opCase(ops.topk, [x, i64([k])], { axis, ...attrs });
        }),
    ),
  );

const reverseSequenceCase: fc.Arbitrary<OpCase> = fc
  .tuple(filled(2), anyDType, fc.boolean())
  .chain(([shape, dtype, swap]) => {
    const [batchAxis, timeAxis] = swap ? [0, 1] : [1, 0];
    const lengths = fc.array(int(0, shape[timeAxis]), { minLength: shape[batchAxis], maxLength: shape[batchAxis] });
    return fc
      .tuple(tensorOf(shape, dtype), lengths)
      .map(([x, n]) => opCase(ops.reverseSequence, [x, i64(n)], { batchAxis, timeAxis }));
  });

export const indexingCases = {
  gather: fc.oneof({ arbitrary: gatherCase, weight: 2 }, { arbitrary: lookupCase, weight: 1 }),
  gatherElements: gatherElementsCase,
  gatherNd: gatherNdCase,
  scatterElements: scatterElementsCase,
  scatterNd: scatterNdCase,
  tensorScatter: tensorScatterCase,
  oneHot: oneHotCase,
  topk: topkCase,
  reverseSequence: reverseSequenceCase,
  nonZero: onTensor(
    ops.nonZero,
    layoutShape(),
    () => fc.constant(0),
    () => ({ attrs: {} }),
  ),
  compress: onTensor(
    ops.compress,
    filled(1),
    (shape) =>
      fc
        .tuple(fc.option(axisOf(shape.length), { nil: undefined }), fc.infiniteStream(fc.boolean()))
        .map((t) => ({ shape, t })),
    ({ shape, t: [axis, stream] }) => {
      const n = axis === undefined ? sizeOf(shape) : shape.at(axis)!;
      const condition = hostTensor(
        Uint8Array.from({ length: n }, () => (stream.next().value ? 1 : 0)),
        { dtype: "bool" },
      );
      return { inputs: [condition], attrs: { axis } };
    },
  ),
  unique: onTensor(
    ops.unique,
    filled(1, 3),
    (shape) =>
      fc.tuple(fc.option(axisOf(shape.length), { nil: undefined }), fc.option(fc.boolean(), { nil: undefined })),
    ([axis, sorted]) => ({ attrs: { axis, sorted } }),
  ),
  arrayFeatureExtractor: fc
    .tuple(filled(1, 3), anyDType, int(0, 5))
    .chain(([shape, dtype, count]) =>
      fc
        .tuple(tensorOf(shape, dtype), indicesInto(shape.at(-1)!, [count]))
        .map(([x, indices]) => opCase(ops.arrayFeatureExtractor, [x, indices], {})),
    ),
};
