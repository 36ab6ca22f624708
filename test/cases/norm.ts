import fc from "fast-check";
import { batchNorm, batchNormTraining } from "../../src/ops/batch-norm.ts";
import { groupNorm, instanceNorm } from "../../src/ops/group-norm.ts";
import { layerNorm, layerNormStatistics, rmsNorm } from "../../src/ops/layer-norm.ts";
import { localResponseNorm, lpNorm, meanVarianceNorm } from "../../src/ops/local-norm.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { opCase, shapeOf, tensorFrom } from "./case.ts";

const dtype = fc.constantFrom<DType>("f32", "f32", "f32", "f64", "f16");
const epsilon = fc.constantFrom(undefined, 1e-5, 1e-2);
const dim = (max: number): fc.Arbitrary<number> => fc.integer({ min: 1, max });

/** [batch, channels, ...spatial]; a long spatial axis now and then. */
const images = fc
  .tuple(dim(3), dim(6), fc.oneof(fc.array(dim(6), { maxLength: 3 }), fc.tuple(dim(80))))
  .map(([n, c, spatial]) => [n, c, ...spatial]);

const batchInputs = fc
  .record({
    shape: fc.oneof({ weight: 4, arbitrary: images }, fc.constantFrom([3], [0, 4, 2])),
    dtype,
    seed: fc.integer(),
  })
  .map(({ shape, dtype, seed }) => {
    const channels = [shape[1] ?? 1];
    return [
      tensorFrom(seed, dtype, shape),
      ...[1, 2, 3].map((i) => tensorFrom(seed + i, dtype, channels)),
      tensorFrom(seed + 4, dtype, channels, { min: 0.1, max: 3 }),
    ];
  });

const layers = fc
  .record({
    shape: fc.oneof(shapeOf(1, 4), fc.tuple(dim(5), dim(150)), fc.tuple(dim(2), dim(3), dim(70))),
    dtype,
    seed: fc.integer(),
    bias: fc.boolean(),
    start: fc.nat(),
    scaleFrom: fc.nat(),
    narrow: fc.boolean(),
    epsilon,
  })
  .map(({ shape, dtype, seed, bias, start, scaleFrom, narrow, epsilon }) => {
    const rank = shape.length;
    const axis = (start % (2 * rank)) - rank;
    const from = axis < 0 ? axis + rank : axis;
    // The affine part covers the normalised axes, or fewer or more of them, or repeats along one.
    const affine = narrow ? shape.slice(scaleFrom % rank).map((d, i) => (i === 0 ? 1 : d)) : shape.slice(from);
    return {
      inputs: [
        tensorFrom(seed, dtype, shape),
        tensorFrom(seed + 1, dtype, affine),
        bias ? tensorFrom(seed + 2, dtype, shape.slice(from)) : undefined,
      ],
      attrs: { axis, epsilon },
    };
  });

const sampleNorms = fc.record({
  shape: images,
  dtype,
  seed: fc.integer(),
  epsilon,
  groups: dim(6),
  perGroup: fc.boolean(),
});

export const normCases = {
  batchNorm: fc.tuple(batchInputs, epsilon).map(([inputs, epsilon]) => opCase(batchNorm, inputs, { epsilon })),
  batchNormTraining: fc
    .tuple(
      batchInputs.filter(([x]) => !x.shape.includes(0)),
      epsilon,
      fc.constantFrom(undefined, 0.5),
    )
    .map(([inputs, epsilon, momentum]) => opCase(batchNormTraining, inputs, { epsilon, momentum })),
  instanceNorm: sampleNorms.map(({ shape, dtype, seed, epsilon }) =>
    opCase(
      instanceNorm,
      [shape, [shape[1]], [shape[1]]].map((s, i) => tensorFrom(seed + i, dtype, s)),
      { epsilon },
    ),
  ),
  groupNorm: sampleNorms.map(({ shape: [n, c, ...spatial], dtype, seed, epsilon, groups, perGroup }) => {
    const channels = c * groups;
    const affine = [perGroup ? groups : channels];
    const shapes = [[n, channels, ...spatial], affine, affine];
    return opCase(
      groupNorm,
      shapes.map((s, i) => tensorFrom(seed + i, dtype, s)),
      { groups, epsilon },
    );
  }),
  layerNorm: layers.map(({ inputs, attrs }) => opCase(layerNorm, inputs, attrs)),
  layerNormStatistics: layers.map(({ inputs, attrs }) => opCase(layerNormStatistics, inputs.slice(0, 1), attrs)),
  rmsNorm: layers.map(({ inputs, attrs }) => opCase(rmsNorm, inputs.slice(0, 2), attrs)),
  localResponseNorm: fc
    .record({
      shape: images,
      dtype,
      seed: fc.integer(),
      size: dim(7),
      bias: fc.constantFrom(undefined, 2),
      beta: fc.constantFrom(undefined, 0.5, 0.7, 1),
    })
    .map(({ shape, dtype, seed, size, bias, beta }) =>
      opCase(localResponseNorm, [tensorFrom(seed, dtype, shape)], { size, bias, alpha: 0.1, beta }),
    ),
  lpNorm: fc
    .record({
      shape: fc.oneof(shapeOf(1, 4), fc.tuple(dim(3), dim(80))),
      dtype,
      seed: fc.integer(),
      start: fc.nat(),
      p: fc.constantFrom(1 as const, 2 as const),
    })
    .map(({ shape, dtype, seed, start, p }) =>
      opCase(lpNorm, [tensorFrom(seed, dtype, shape)], { axis: (start % (2 * shape.length)) - shape.length, p }),
    ),
  // A set of one element has no deviation: what is left is rounding.
  meanVarianceNorm: shapeOf(2, 4)
    .filter((shape) => shape.some((d) => d > 1))
    .chain((shape) =>
      fc
        .record({
          dtype,
          seed: fc.integer(),
          axes: fc.subarray(
            shape.map((_, i) => i),
            { minLength: 1 },
          ),
        })
        .filter(({ axes }) => axes.reduce((n, a) => n * shape[a], 1) > 1)
        .map(({ dtype, seed, axes }) => opCase(meanVarianceNorm, [tensorFrom(seed, dtype, shape)], { axes })),
    ),
};
