import fc from "fast-check";
import { affineGrid } from "../../src/ops/affine-grid.ts";
import { gridSample } from "../../src/ops/grid-sample.ts";
import { imageDecoder } from "../../src/ops/image-decoder.ts";
import type { CoordinateMode } from "../../src/ops/resample.ts";
import { type ResizeAttrs, resize } from "../../src/ops/resize.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { bmp } from "../ops/bmp.ts";
import { opCase, shapeOf, tensorFrom } from "./case.ts";

const coordinateModes: CoordinateMode[] = [
  "half_pixel",
  "half_pixel_symmetric",
  "pytorch_half_pixel",
  "align_corners",
  "asymmetric",
  "tf_half_pixel_for_nn",
  "tf_crop_and_resize",
];

const resizeAttrs: fc.Arbitrary<ResizeAttrs> = fc.record({
  mode: fc.constantFrom("nearest" as const, "linear" as const, "linear" as const, "cubic" as const),
  coordinateTransformationMode: fc.constantFrom(...coordinateModes),
  nearestMode: fc.constantFrom(
    "round_prefer_floor" as const,
    "round_prefer_ceil" as const,
    "floor" as const,
    "ceil" as const,
  ),
  cubicCoeffA: fc.constantFrom(-0.75, -0.5),
  excludeOutside: fc.boolean(),
  antialias: fc.boolean(),
  extrapolationValue: fc.constantFrom(0, 10),
  keepAspectRatioPolicy: fc.constantFrom("stretch" as const, "not_larger" as const, "not_smaller" as const),
});

const resizeCase = fc
  .record({
    shape: shapeOf(1, 5, 9),
    attrs: resizeAttrs,
    bySize: fc.boolean(),
    /** Which axes are resized: as bits. Two neighbours are the usual case. */
    pick: fc.integer({ min: 1, max: 31 }),
    factors: fc.array(fc.constantFrom(0.4, 0.5, 0.6, 1, 1.5, 2, 2.2, 3), { minLength: 5, maxLength: 5 }),
    start: fc.constantFrom(0, 0.2),
    end: fc.constantFrom(1, 0.8, 1.3),
    dtype: fc.constantFrom<DType>("f32", "f32", "f32", "f32", "f16", "f64", "u8", "i64"),
    seed: fc.integer(),
  })
  .map(({ shape, attrs, bySize, pick, factors, start, end, dtype, seed }) => {
    const axes = shape.map((_, i) => i).filter((i) => (pick >> i) & 1);
    if (axes.length === 0) axes.push(shape.length - 1);
    const x = tensorFrom(seed, dtype, shape, { min: -3, max: 100 });
    const crops = attrs.coordinateTransformationMode === "tf_crop_and_resize";
    const roi = crops ? hostTensor([...axes.map(() => start), ...axes.map(() => end)]) : undefined;
    const scales = bySize ? undefined : hostTensor(axes.map((a) => factors[a]));
    const sizes = bySize
      ? hostTensor(
          axes.map((a) => Math.max(1, Math.round(shape[a] * factors[a]))),
          { dtype: "i64" },
        )
      : undefined;
    return opCase(resize, [x, roi, scales, sizes], { ...attrs, axes });
  });

export const imageCases = {
  resize: resizeCase,
  gridSample: fc
    .record({
      batch: fc.integer({ min: 1, max: 3 }),
      channels: fc.integer({ min: 1, max: 5 }),
      // Two spatial axes most of the time.
      space: fc.oneof({ weight: 3, arbitrary: shapeOf(2, 2, 12) }, { weight: 1, arbitrary: shapeOf(1, 3, 4) }),
      seed: fc.integer(),
      size: fc.integer({ min: 1, max: 9 }),
      mode: fc.constantFrom("linear" as const, "linear" as const, "nearest" as const, "cubic" as const, undefined),
      paddingMode: fc.constantFrom("zeros" as const, "border" as const, "reflection" as const),
      alignCorners: fc.boolean(),
      dtype: fc.constantFrom<DType>("f32", "f32", "f32", "f64", "i32"),
    })
    .map(({ batch, channels, space, seed, size, mode, paddingMode, alignCorners, dtype }) => {
      const x = tensorFrom(seed, dtype, [batch, channels, ...space]);
      const out = space.map((_, i) => 1 + ((size + i) % 9));
      // Far outside now and then.
      const grid = tensorFrom(seed + 1, "f32", [batch, ...out, space.length], { min: -1.8, max: 1.8 });
      return opCase(gridSample, [x, grid], { mode, paddingMode, alignCorners });
    }),
  affineGrid: fc
    .record({
      n: fc.integer({ min: 1, max: 3 }),
      space: shapeOf(2, 3, 6),
      seed: fc.integer(),
      alignCorners: fc.boolean(),
    })
    .map(({ n, space, seed, alignCorners }) =>
      opCase(
        affineGrid,
        [tensorFrom(seed, "f32", [n, space.length, space.length + 1]), hostTensor([n, 3, ...space], { dtype: "i64" })],
        { alignCorners },
      ),
    ),
  imageDecoder: fc
    .record({
      width: fc.integer({ min: 1, max: 7 }),
      height: fc.integer({ min: 1, max: 5 }),
      seed: fc.integer(),
      pixelFormat: fc.constantFrom("RGB" as const, "BGR" as const, "Grayscale" as const),
    })
    .map(({ width, height, seed, pixelFormat }) => {
      const pixels = tensorFrom(seed, "u8", [height, width, 3], { min: 0, max: 255 });
      return opCase(imageDecoder, [hostTensor(bmp(width, height, pixels.data as Uint8Array))], { pixelFormat });
    }),
};
