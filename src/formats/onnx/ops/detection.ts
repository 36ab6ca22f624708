/** ONNX regions, boxes and determinants -> ours. */
import { det } from "../../../ops/det.ts";
import { maxRoiPool } from "../../../ops/max-roi-pool.ts";
import { nonMaxSuppression } from "../../../ops/non-max-suppression.ts";
import { roiAlign } from "../../../ops/roi-align.ts";
import type { LoweringTable } from "../node.ts";
import { choice } from "./choice.ts";

export const detectionLowerings: LoweringTable = {
  RoiAlign: (n) =>
    roiAlign(n.input(0), n.input(1), n.input(2), {
      mode: choice(n, "mode", ["avg", "max"] as const),
      outputHeight: n.int("output_height", 1),
      outputWidth: n.int("output_width", 1),
      samplingRatio: n.int("sampling_ratio", 0),
      spatialScale: n.float("spatial_scale", 1),
      // The attribute came with opset 16; before, coordinates were never shifted.
      coordinateTransformationMode:
        n.opset < 16
          ? "output_half_pixel"
          : choice(n, "coordinate_transformation_mode", ["half_pixel", "output_half_pixel"] as const),
    }),
  MaxRoiPool: (n) =>
    maxRoiPool(n.input(0), n.input(1), {
      pooledShape: n.ints("pooled_shape") ?? n.unsupported("MaxRoiPool without pooled_shape"),
      spatialScale: n.float("spatial_scale", 1),
    }),
  NonMaxSuppression: (n) =>
    nonMaxSuppression(n.input(0), n.input(1), n.optional(2), n.optional(3), n.optional(4), {
      centerPointBox: n.flag("center_point_box"),
    }),
  Det: (n) => det(n.input(0)),
};
