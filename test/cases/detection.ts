import fc from "fast-check";
import { det } from "../../src/ops/det.ts";
import { maxRoiPool } from "../../src/ops/max-roi-pool.ts";
import { nonMaxSuppression } from "../../src/ops/non-max-suppression.ts";
import { roiAlign } from "../../src/ops/roi-align.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { opCase, tensorFrom } from "./case.ts";

const regions = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  channels: fc.integer({ min: 1, max: 4 }),
  height: fc.integer({ min: 1, max: 12 }),
  width: fc.integer({ min: 1, max: 12 }),
  count: fc.integer({ min: 0, max: 5 }),
  outHeight: fc.integer({ min: 1, max: 5 }),
  outWidth: fc.integer({ min: 1, max: 5 }),
  // The last: bins of thousands of samples.
  spatialScale: fc.constantFrom(1, 0.5, 1.7, 2.9),
  dtype: fc.constantFrom<DType>("f32", "f32", "f32", "f64"),
  seed: fc.integer(),
});

const batchOf = (seed: number, i: number, batch: number): number => Math.abs(seed + i) % batch;

export const detectionCases = {
  roiAlign: fc
    .record({
      r: regions,
      mode: fc.constantFrom("avg" as const, "max" as const),
      samplingRatio: fc.integer({ min: 0, max: 3 }),
      coordinateTransformationMode: fc.constantFrom("half_pixel" as const, "output_half_pixel" as const),
    })
    .map(({ r, ...attrs }) =>
      opCase(
        roiAlign,
        [
          tensorFrom(r.seed, r.dtype, [r.batch, r.channels, r.height, r.width]),
          // Partly outside, some turned inside out.
          tensorFrom(r.seed + 1, r.dtype, [r.count, 4], { min: -3, max: 15 }),
          hostTensor(BigInt64Array.from({ length: r.count }, (_, i) => BigInt(batchOf(r.seed, i, r.batch)))),
        ],
        { ...attrs, outputHeight: r.outHeight, outputWidth: r.outWidth, spatialScale: r.spatialScale },
      ),
    ),
  maxRoiPool: regions.map((r) => {
    const rois = tensorFrom(r.seed + 1, r.dtype, [r.count, 5], { min: -3, max: 15 });
    const data = rois.data as Float32Array;
    for (let i = 0; i < r.count; i++) data[5 * i] = batchOf(r.seed, i, r.batch);
    const x = tensorFrom(r.seed, r.dtype, [r.batch, r.channels, r.height, r.width]);
    return opCase(maxRoiPool, [x, rois], { pooledShape: [r.outHeight, r.outWidth], spatialScale: r.spatialScale });
  }),
  nonMaxSuppression: fc
    .record({
      batch: fc.integer({ min: 1, max: 2 }),
      classes: fc.integer({ min: 1, max: 3 }),
      boxes: fc.integer({ min: 0, max: 12 }),
      most: fc.constantFrom(undefined, 0, 1, 3, 100),
      iou: fc.constantFrom(undefined, 0, 0.3, 0.5, 1),
      score: fc.constantFrom(undefined, 0.2, 0.9),
      centerPointBox: fc.boolean(),
      seed: fc.integer(),
    })
    .map(({ batch, classes, boxes, most, iou, score, centerPointBox, seed }) =>
      opCase(
        nonMaxSuppression,
        [
          tensorFrom(seed, "f32", [batch, boxes, 4], { min: 0, max: 1 }),
          tensorFrom(seed + 1, "f32", [batch, classes, boxes], { min: 0, max: 1 }),
          most === undefined ? undefined : hostTensor([most], { dtype: "i64" }),
          iou === undefined ? undefined : hostTensor([iou]),
          score === undefined ? undefined : hostTensor([score]),
        ],
        { centerPointBox },
      ),
    ),
  det: fc
    .record({
      lead: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
      m: fc.integer({ min: 0, max: 5 }),
      dtype: fc.constantFrom<DType>("f32", "f64", "f16"),
      seed: fc.integer(),
    })
    .map(({ lead, m, dtype, seed }) => opCase(det, [tensorFrom(seed, dtype, [...lead, m, m])], {})),
};
