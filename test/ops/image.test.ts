import { describe, expect, test } from "vitest";
import { affineGrid } from "../../src/ops/affine-grid.ts";
import { gridSample } from "../../src/ops/grid-sample.ts";
import { imageDecoder } from "../../src/ops/image-decoder.ts";
import { decodePnm } from "../../src/ops/image-files.ts";
import { type ResizeAttrs, resize } from "../../src/ops/resize.ts";
import { DTypeError, ShapeError, UnsupportedOpError } from "../../src/tensor/errors.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import type { HostTensor, HostValue } from "../../src/tensor/tensor.ts";
import { bmp } from "./bmp.ts";
import { elements, evaluate, expectClose, tensor } from "./evaluate.ts";

const line = (n: number): HostTensor => tensor(Array.from({ length: n }, (_, i) => i));
const i64 = (values: number[]): HostTensor => tensor(values, "i64");
const scaled = (x: HostTensor, scales: number[], attrs: ResizeAttrs): number[] =>
  elements(evaluate(resize, [x, undefined, tensor(scales), undefined], attrs)) as number[];
const sized = (x: HostTensor, sizes: number[], attrs: ResizeAttrs): HostTensor =>
  evaluate(resize, [x, undefined, undefined, i64(sizes)], attrs);
describe("resize", () => {
  const linear = (coordinateTransformationMode: ResizeAttrs["coordinateTransformationMode"]): ResizeAttrs => ({
    mode: "linear",
    coordinateTransformationMode,
  });

  test("where each coordinate mode looks", () => {
    expectClose(scaled(line(4), [2], linear("half_pixel")), [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]);
    expectClose(scaled(line(4), [2], linear("asymmetric")), [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]);
    expectClose(scaled(line(3), [2], linear("tf_half_pixel_for_nn")), [0.25, 0.75, 1.25, 1.75, 2, 2]);
    expectClose(elements(sized(line(4), [7], linear("align_corners"))), [0, 0.5, 1, 1.5, 2, 2.5, 3]);
    expectClose(elements(sized(line(4), [1], linear("pytorch_half_pixel"))), [0]);
    expectClose(elements(sized(line(4), [1], linear("half_pixel"))), [1.5]);
    // 2.4 wide in theory, 2 in fact: the corner that would be at 2.4 is not reached (values of the ONNX documentation).
    expectClose(scaled(line(4), [0.6], linear("align_corners")), [0, 2.142857]);
    // Centred: 2 of 2.4 elements, so both ends lose as much.
    expectClose(scaled(line(4), [0.6], linear("half_pixel_symmetric")), [2 / 3, 2 + 1 / 3]);
  });

  test("a crop beyond the edge is extrapolated", () => {
    const y = evaluate(resize, [line(4), tensor([0.5, 1.5]), undefined, i64([3])], {
      mode: "linear",
      coordinateTransformationMode: "tf_crop_and_resize",
      extrapolationValue: 10,
    });
    expectClose(elements(y), [1.5, 3, 10]);
  });

  test("nearest modes at a tie, and the exact dtype", () => {
    // Positions 0.5, 2.5, ... of 8 halved.
    const at = (nearestMode: ResizeAttrs["nearestMode"]) => scaled(line(8), [0.5], { nearestMode });
    expect(at("round_prefer_floor")).toEqual([0, 2, 4, 6]);
    expect(at("round_prefer_ceil")).toEqual([1, 3, 5, 7]);
    expect(at("floor")).toEqual([0, 2, 4, 6]);
    expect(at("ceil")).toEqual([1, 3, 5, 7]);
    const words = evaluate(resize, [tensor(["a", "b"]), undefined, tensor([2]), undefined]);
    expect(words.data).toEqual(["a", "a", "b", "b"]);
    const big = evaluate(resize, [tensor([2n ** 60n + 1n]), undefined, tensor([2]), undefined]);
    expect(elements(big)).toEqual([2n ** 60n + 1n, 2n ** 60n + 1n]);
  });

  test("a scale that f32 can't hold still hits whole positions and sizes", () => {
    const attrs: ResizeAttrs = { coordinateTransformationMode: "asymmetric", nearestMode: "floor" };
    const y = scaled(line(10), [2.2], attrs);
    expect(y.length).toBe(22);
    expect(y[11]).toBe(5);
    expect(scaled(line(10), [0.7], {}).length).toBe(7);
  });

  test("cubic weights: interpolates constants exactly, a = -0.75 halfway is -0.09375, 0.59375", () => {
    const impulse = tensor([0, 0, 1, 0, 0]);
    const attrs: ResizeAttrs = { mode: "cubic", coordinateTransformationMode: "align_corners" };
    const y = elements(sized(impulse, [9], attrs));
    expectClose(y, [0, -0.09375, 0, 0.59375, 1, 0.59375, 0, -0.09375, 0]);
    expectClose(scaled(tensor([3, 3, 3, 3]), [1.7], { mode: "cubic" }), [3, 3, 3, 3, 3, 3]);
    expectClose(scaled(tensor([3, 3, 3, 3]), [1.7], { mode: "cubic", excludeOutside: true }), [3, 3, 3, 3, 3, 3]);
  });

  test("antialiased linear: the values of the ONNX documentation", () => {
    const x = hostTensor(
      Float32Array.from({ length: 16 }, (_, i) => i + 1),
      { shape: [1, 1, 4, 4] },
    );
    const y = scaled(x, [1, 1, 0.6, 0.6], { mode: "linear", antialias: true });
    expectClose(y, [2.875, 4.5, 9.375, 11]);
  });

  test("keeps the aspect ratio", () => {
    const x = tensor([
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ]);
    expect(sized(x, [7, 8], { keepAspectRatioPolicy: "not_larger" }).shape).toEqual([4, 8]);
    expect(sized(x, [7, 8], { keepAspectRatioPolicy: "not_smaller" }).shape).toEqual([7, 14]);
    expect(sized(x, [3], { axes: [-2], keepAspectRatioPolicy: "not_larger" }).shape).toEqual([3, 4]);
  });

  test("refuses what it can't know", () => {
    const one = tensor([1]);
    expect(() => evaluate(resize, [line(4), undefined, undefined, undefined])).toThrow(ShapeError);
    expect(() => evaluate(resize, [line(4), undefined, one, i64([4])])).toThrow(/either scales or sizes/);
    expect(() => evaluate(resize, [line(4), undefined, tensor([1, 2]), undefined])).toThrow(/2 elements instead of 1/);
    expect(() => evaluate(resize, [line(4), undefined, tensor([-1]), undefined])).toThrow(/positive/);
    expect(() => evaluate(resize, [tensor(["a"]), undefined, one, undefined], { mode: "linear" })).toThrow(DTypeError);
    const crop: ResizeAttrs = { coordinateTransformationMode: "tf_crop_and_resize" };
    expect(() => evaluate(resize, [line(4), undefined, one, undefined], crop)).toThrow(/roi/);
  });
});

describe("gridSample", () => {
  const x = hostTensor(Float32Array.of(1, 2, 3, 4), { shape: [1, 1, 2, 2] });
  const at = (points: number[][], attrs: Parameters<typeof evaluate<typeof gridSample>>[2]) =>
    elements(evaluate(gridSample, [x, tensor([[points]])], attrs));

  test("coordinates are x first, -1 and 1 are outer edges or corners", () => {
    expectClose(at([[0, 0]], {}), [2.5]);
    expectClose(at([[-0.5, 0.5]], {}), [3]);
    expectClose(at([[1, -1]], { alignCorners: true }), [2]);
    // A quarter of the pixel at the corner, the rest zeros.
    expectClose(at([[1, -1]], {}), [0.5]);
  });

  test("outside: zeros, the border, its reflection", () => {
    const far = [[3, -3]];
    expectClose(at(far, { mode: "nearest" }), [0]);
    expectClose(at(far, { mode: "nearest", paddingMode: "border" }), [2]);
    // x: 3.5 reflects at 1.5 to -0.5, y likewise.
    expectClose(at([[1.5, 0.5]], { paddingMode: "reflection" }), [4]);
    expectClose(at([[Number.NaN, 0]], { mode: "nearest" }), [0]);
  });

  test("nearest takes ties to even", () => {
    // Position 0.5 between elements 0 and 1.
    expectClose(at([[0, 0]], { mode: "nearest" }), [1]);
  });

  test("samples the identity grid to the input", () => {
    const theta = tensor([
      [
        [1, 0, 0],
        [0, 1, 0],
      ],
    ]);
    const image = hostTensor(
      Float32Array.from({ length: 24 }, (_, i) => Math.sin(i)),
      { shape: [1, 2, 3, 4] },
    );
    for (const alignCorners of [false, true])
      for (const mode of ["linear", "nearest", "cubic"] as const) {
        const grid = evaluate(affineGrid, [theta, i64([1, 2, 3, 4])], { alignCorners });
        expect(grid.shape).toEqual([1, 3, 4, 2]);
        expectClose(
          elements(evaluate(gridSample, [image, grid], { mode, alignCorners })),
          elements(image) as number[],
          4,
        );
      }
  });

  test("typed errors", () => {
    expect(() => evaluate(gridSample, [x, tensor([[[[0, 0, 0]]]])], {})).toThrow(ShapeError);
    expect(() => evaluate(gridSample, [x, i64([0])], {})).toThrow(DTypeError);
    expect(() => evaluate(affineGrid, [tensor([[[1]]]), i64([1, 1, 2, 2])], {})).toThrow(ShapeError);
  });
});

describe("imageDecoder", () => {
  const rgb = Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 40, 50, 60, 70, 80, 90);
  const decode = (bytes: Uint8Array, pixelFormat?: "RGB" | "BGR" | "Grayscale"): HostTensor => {
    const work = imageDecoder.op.evaluate!([hostTensor(bytes)], { pixelFormat }, undefined as never);
    const step = (work as Generator<unknown, HostValue[]>).next();
    expect(step.done).toBe(true);
    return (step.value as HostTensor[])[0];
  };

  test("BMP, in every pixel format", () => {
    const file = bmp(3, 2, rgb);
    expect(decode(file)).toEqual({ dtype: "u8", shape: [2, 3, 3], data: rgb });
    expect(Array.from(decode(file, "BGR").data as Uint8Array).slice(0, 6)).toEqual([0, 0, 255, 0, 255, 0]);
    expect(decode(file, "Grayscale")).toEqual({
      dtype: "u8",
      shape: [2, 3, 1],
      data: Uint8Array.of(76, 150, 29, 18, 48, 78),
    });
  });

  test("portable maps: raw, plain, bitmaps, comments, wide samples", () => {
    const text = (s: string, ...rest: number[]): Uint8Array => Uint8Array.of(...new TextEncoder().encode(s), ...rest);
    expect(decode(text("P6\n# a comment\n3 2\n255\n", ...rgb)).data).toEqual(rgb);
    expect(Array.from(decodePnm(text("P1 3 1\n1 0\n1"))!.data)).toEqual([0, 0, 0, 255, 255, 255, 0, 0, 0]);
    expect(Array.from(decodePnm(text("P4 3 1\n", 0b10100000))!.data)).toEqual([0, 0, 0, 255, 255, 255, 0, 0, 0]);
    expect(Array.from(decodePnm(text("P2 2 1 15 0 15"))!.data)).toEqual([0, 0, 0, 255, 255, 255]);
    expect(Array.from(decodePnm(text("P5 1 1 65535\n", 0x80, 0x80))!.data)).toEqual([128, 128, 128]);
    expect(decodePnm(text("P6 3 2 255\n", 1, 2))).toBeUndefined();
    expect(decodePnm(text("P3 1 1 255 1 2"))).toBeUndefined();
  });

  test("JPEG 2000 is refused by name", async () => {
    const bytes = Uint8Array.of(0, 0, 0, 12, 0x6a, 0x50, 0x20, 0x20);
    const work = imageDecoder.op.evaluate!([hostTensor(bytes)], {}, undefined as never) as Generator<unknown>;
    await expect(work.next().value).rejects.toThrow(UnsupportedOpError);
  });
});
