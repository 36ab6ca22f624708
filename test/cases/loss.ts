import fc from "fast-check";
import { nllLoss } from "../../src/ops/nll-loss.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { opCase, tensorFrom } from "./case.ts";

export const lossCases = {
  nllLoss: fc
    .record({
      seed: fc.integer(),
      dtype: fc.constantFrom<DType>("f32", "f32", "f64", "f16"),
      index: fc.constantFrom<DType>("i32", "i64"),
      batch: fc.integer({ min: 1, max: 4 }),
      classes: fc.integer({ min: 1, max: 6 }),
      spatial: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
      weight: fc.boolean(),
      reduction: fc.constantFrom(undefined, "none" as const, "sum" as const, "mean" as const),
      ignoreIndex: fc.constantFrom(undefined, undefined, -1),
    })
    .map(({ seed, dtype, index, batch, classes, spatial, weight, reduction, ignoreIndex }) =>
      opCase(
        nllLoss,
        [
          tensorFrom(seed, dtype, [batch, classes, ...spatial]),
          tensorFrom(seed + 1, index, [batch, ...spatial], { min: ignoreIndex ?? 0, max: classes - 1 }),
          weight ? tensorFrom(seed + 2, dtype, [classes], { min: 0.1, max: 2 }) : undefined,
        ],
        { reduction, ignoreIndex },
      ),
    ),
};
