/** ONNX resampling and image decoding -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { affineGrid } from "../../../ops/affine-grid.ts";
import { gridSample } from "../../../ops/grid-sample.ts";
import { type ImageDecoderAttrs, imageDecoder } from "../../../ops/image-decoder.ts";
import type { CoordinateMode, NearestMode } from "../../../ops/resample.ts";
import { type ResizeAttrs, resize } from "../../../ops/resize.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";
import { choice } from "./choice.ts";

const modes = ["nearest", "linear", "cubic"] as const;
const coordinateModes: readonly CoordinateMode[] = [
  "half_pixel",
  "half_pixel_symmetric",
  "pytorch_half_pixel",
  "align_corners",
  "asymmetric",
  "tf_half_pixel_for_nn",
  "tf_crop_and_resize",
];
const nearestModes: readonly NearestMode[] = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"];

/** Upsample, and Resize before opset 11: asymmetric, which their text leaves open and all runtimes agree on. */
const legacyResize = (n: OnnxNode, scales: SymbolicValue): SymbolicValue => {
  // Upsample-7 still knew the name that version 1 had.
  const mode = n.string("mode") === "bilinear" ? "linear" : choice(n, "mode", modes);
  return resize(n.input(0), undefined, scales, undefined, {
    mode,
    coordinateTransformationMode: "asymmetric",
    nearestMode: "simple",
  });
};

function resizeAttrs(n: OnnxNode): ResizeAttrs {
  return {
    mode: choice(n, "mode", modes),
    coordinateTransformationMode: choice(n, "coordinate_transformation_mode", coordinateModes),
    nearestMode: choice(n, "nearest_mode", nearestModes),
    cubicCoeffA: n.float("cubic_coeff_a", -0.75),
    excludeOutside: n.flag("exclude_outside"),
    antialias: n.flag("antialias"),
    extrapolationValue: n.float("extrapolation_value", 0),
    axes: n.ints("axes"),
    keepAspectRatioPolicy: choice(n, "keep_aspect_ratio_policy", ["stretch", "not_larger", "not_smaller"] as const),
  };
}

/** With the names of opset 16. */
const gridModes = {
  linear: "linear",
  nearest: "nearest",
  cubic: "cubic",
  bilinear: "linear",
  bicubic: "cubic",
} as const;

export const imageLowerings: LoweringTable = {
  Upsample: (n) => {
    if (n.opset >= 9) return legacyResize(n, n.input(1));
    const [height, width] = [n.float("height_scale"), n.float("width_scale")];
    const plane = height && width ? [1, 1, height, width] : undefined;
    const scales = n.floats("scales") ?? plane ?? n.missing("scales");
    return legacyResize(
      n,
      n.builder.constant({ dtype: "f32", shape: [scales.length], data: Float32Array.from(scales) }),
    );
  },
  Resize: (n) => {
    if (n.opset < 11) return legacyResize(n, n.input(1));
    const attrs = resizeAttrs(n);
    // Elsewhere the region means nothing, and its value need not be known.
    const roi = attrs.coordinateTransformationMode === "tf_crop_and_resize" ? n.optional(1) : undefined;
    return resize(n.input(0), roi, n.optional(2), n.optional(3), attrs);
  },
  GridSample: (n) => {
    return gridSample(n.input(0), n.input(1), {
      mode: gridModes[choice(n, "mode", ["linear", "nearest", "cubic", "bilinear", "bicubic"]) ?? "linear"],
      paddingMode: choice(n, "padding_mode", ["zeros", "border", "reflection"] as const),
      alignCorners: n.flag("align_corners"),
    });
  },
  AffineGrid: (n) => affineGrid(n.input(0), n.input(1), { alignCorners: n.flag("align_corners") }),
  ImageDecoder: (n) =>
    imageDecoder(n.input(0), {
      pixelFormat: choice<NonNullable<ImageDecoderAttrs["pixelFormat"]>>(n, "pixel_format", [
        "RGB",
        "BGR",
        "Grayscale",
      ]),
    }),
};
