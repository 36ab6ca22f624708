import fc from "fast-check";
import type { Op } from "../../src/ops/op.ts";
import { hardmax, logSoftmax, type SoftmaxAttrs, softmax } from "../../src/ops/softmax.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { type OpCase, opCase, shapeOf, tensorFrom } from "./case.ts";

/** Shapes small in every axis, and some with one long axis. */
export const rowShapes: fc.Arbitrary<number[]> = fc.oneof(
  { weight: 3, arbitrary: shapeOf(1, 4) },
  fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 150 })),
  fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), fc.constant(2)),
  fc.constantFrom<number[]>([], [0], [2, 0], [0, 3]),
);

const rows = (op: Op<readonly ["x"], never, readonly ["y"], SoftmaxAttrs>): fc.Arbitrary<OpCase> =>
  rowShapes.chain((shape) =>
    fc
      .record({
        seed: fc.integer(),
        dtype: fc.constantFrom<DType>("f32", "f32", "f32", "f64", "f16", "bf16"),
        axis: fc.integer({ min: -Math.max(1, shape.length), max: Math.max(1, shape.length) - 1 }),
        wide: fc.boolean(),
      })
      .map(({ seed, dtype, axis, wide }) => {
        const range = wide ? { min: -200, max: 200 } : undefined;
        return opCase(op, [tensorFrom(seed, dtype, shape, range)], { axis });
      }),
  );

export const softmaxCases = { softmax: rows(softmax), logSoftmax: rows(logSoftmax), hardmax: rows(hardmax) };
