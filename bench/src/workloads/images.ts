/** Operators of detectors, segmenters and image pipelines that are neither convolutions nor pooling. */
import { OnnxWriter, randomNumbers } from "../../models/onnx-writer.ts";
import { type Feed, randomFeed, type Task } from "../task.ts";
import { type LazyTask, measureAll, type Workload } from "./workload.ts";

interface Output {
  readonly output: string;
  readonly shape: readonly number[];
}

function imageTask(
  name: string,
  inputs: Readonly<Record<string, Feed>>,
  write: (model: OnnxWriter) => Output,
  dtype: Feed["dtype"] = "f32",
): Task {
  const model = new OnnxWriter("task", 1, 20);
  for (const [input, feed] of Object.entries(inputs)) model.input(input, feed.shape, feed.dtype);
  const { output, shape } = write(model);
  // Quantised results may be rounded either way.
  return {
    name,
    flop: 0,
    onnx: model.finish(output, shape, dtype),
    inputs,
    tolerance: dtype === "u8" ? 0.01 : undefined,
  };
}

const floats = (shape: readonly number[], next: () => number): Feed => ({
  dtype: "f32",
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next),
});

/** Numbers in [0, 1). */
function uniform(seed: number): () => number {
  const next = randomNumbers(seed);
  return () => (next() + 1) / 2;
}

/** Boxes of usual sizes: `count` of y1, x1, y2, x2 (or x first), in a square of `size`. */
function boxes(count: number, size: number): Float32Array {
  const next = uniform(3);
  const data = new Float32Array(4 * count);
  for (let i = 0; i < data.length; i += 4)
    for (const axis of [0, 1]) {
      const length = size * (0.05 + 0.3 * next() ** 2);
      data[i + axis] = next() * (size - length);
      data[i + 2 + axis] = data[i + axis] + length;
    }
  return data;
}

function roiAlign(channels: number, size: number, rois: number, bins: number, mode = "avg", samples = 2): LazyTask {
  const how = samples ? mode : `${mode} adaptive`;
  const name = `RoiAlign ${how} ${channels}x${size}x${size} ${rois} regions ${bins}x${bins}`;
  const make = (): Task => {
    const inputs: Record<string, Feed> = {
      x: randomFeed([1, channels, size, size], 100),
      rois: { dtype: "f32", shape: [rois, 4], data: boxes(rois, size * 4) },
      batch: { dtype: "i64", shape: [rois], data: new BigInt64Array(rois) },
    };
    const attributes = { mode, output_height: bins, output_width: bins, sampling_ratio: samples, spatial_scale: 0.25 };
    return imageTask(name, inputs, (model) => ({
      output: model.node("RoiAlign", ["x", "rois", "batch"], attributes),
      shape: [rois, channels, bins, bins],
    }));
  };
  return { name, make };
}

function gridSample(channels: number, size: number, mode: string, padding = "zeros"): LazyTask {
  const name = `GridSample ${mode} ${padding} ${channels}x${size}x${size}`;
  const make = (): Task => {
    const next = randomNumbers(5);
    let i = 0;
    // A warp: smooth, a little of it outside.
    const warp = (): number => {
      const point = i >> 1;
      const at = i++ % 2 === 0 ? point % size : Math.floor(point / size);
      return 1.05 * ((2 * at + 1) / size - 1) + 0.03 * next();
    };
    const inputs = { x: randomFeed([1, channels, size, size], 100), grid: floats([1, size, size, 2], warp) };
    return imageTask(name, inputs, (model) => ({
      output: model.node("GridSample", ["x", "grid"], { mode, padding_mode: padding }),
      shape: [1, channels, size, size],
    }));
  };
  return { name, make };
}

function suppression(count: number, classes: number, most: number, threshold: number): LazyTask {
  const name = `NonMaxSuppression ${count} boxes ${classes} classes above ${threshold}`;
  const make = (): Task => {
    const next = uniform(7);
    const inputs: Record<string, Feed> = {
      boxes: { dtype: "f32", shape: [1, count, 4], data: boxes(count, 640) },
      scores: floats([1, classes, count], () => next() ** 6),
    };
    return imageTask(name, inputs, (model) => {
      const limits = [model.integers([most]), model.around([1], 0.5, 0), model.around([1], threshold, 0)];
      const chosen = model.node("NonMaxSuppression", ["boxes", "scores", ...limits]);
      return { output: model.node("Cast", [chosen], { to: 1 }), shape: [-1, 3] };
    });
  };
  return { name, make };
}

function deformConv(channels: number, size: number): LazyTask {
  const name = `DeformConv 3x3 ${channels}->${channels} @${size}`;
  const make = (): Task => {
    const inputs = {
      x: randomFeed([1, channels, size, size], 100),
      offset: randomFeed([1, 18, size, size], 101),
      mask: randomFeed([1, 9, size, size], 102),
    };
    return imageTask(name, inputs, (model) => {
      const weights = model.weights([channels, channels, 3, 3], 9 * channels);
      const operands = ["x", weights, "offset", model.around([channels], 0, 0.1), "mask"];
      const output = model.node("DeformConv", operands, { kernel_shape: [3, 3], pads: [1, 1, 1, 1] });
      return { output, shape: [1, channels, size, size] };
    });
  };
  return { name, make };
}

function col2Im(channels: number, size: number, kernel: number, stride: number): LazyTask {
  const name = `Col2Im ${kernel}x${kernel}/${stride} ${channels}x${size}x${size}`;
  const make = (): Task => {
    const windows = ((size - kernel) / stride + 1) ** 2;
    return imageTask(name, { x: randomFeed([1, channels * kernel * kernel, windows], 100) }, (model) => ({
      output: model.node("Col2Im", ["x", model.integers([size, size]), model.integers([kernel, kernel])], {
        strides: [stride, stride],
      }),
      shape: [1, channels, size, size],
    }));
  };
  return { name, make };
}

function maxUnpool(channels: number, size: number): LazyTask {
  const name = `MaxUnpool 2x2 ${channels}x${size}x${size}`;
  const make = (): Task => {
    const next = uniform(9);
    const indices = BigInt64Array.from({ length: channels * size * size }, (_, i) => {
      const [row, column] = [Math.floor(i / size), i % size];
      return BigInt((2 * row + Math.floor(2 * next())) * 2 * size + 2 * column + Math.floor(2 * next()));
    });
    const shape = [1, channels, size, size];
    const inputs: Record<string, Feed> = { x: randomFeed(shape, 100), indices: { dtype: "i64", shape, data: indices } };
    return imageTask(name, inputs, (model) => ({
      output: model.node("MaxUnpool", ["x", "indices"], { kernel_shape: [2, 2], strides: [2, 2] }),
      shape: [1, channels, 2 * size, 2 * size],
    }));
  };
  return { name, make };
}

function affineGrid(batch: number, size: number): LazyTask {
  const name = `AffineGrid ${batch}x${size}x${size}`;
  const make = (): Task =>
    imageTask(name, { theta: randomFeed([batch, 2, 3], 100) }, (model) => ({
      output: model.node("AffineGrid", ["theta", model.integers([batch, 3, size, size])]),
      shape: [batch, size, size, 2],
    }));
  return { name, make };
}

interface Resized {
  readonly dtype?: "f32" | "u8";
  readonly mode: "nearest" | "linear" | "cubic";
  readonly from: readonly number[];
  readonly to: readonly number[];
}

function resize({ dtype = "f32", mode, from, to }: Resized): LazyTask {
  const name = `Resize ${dtype} ${mode} ${from.join("x")} to ${to.slice(-2).join("x")}`;
  const make = (): Task => {
    const next = uniform(11);
    const bytes = (): Feed => ({
      dtype: "u8",
      shape: from,
      data: Uint8Array.from({ length: from.reduce((a, b) => a * b, 1) }, () => 256 * next()),
    });
    const x = dtype === "u8" ? bytes() : randomFeed(from, 100);
    const how: Record<string, string> =
      mode === "nearest" ? { coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" } : {};
    return imageTask(
      name,
      { x },
      (model) => ({ output: model.node("Resize", ["x", "", "", model.integers(to)], { mode, ...how }), shape: to }),
      dtype,
    );
  };
  return { name, make };
}

function lpNorm(shape: readonly number[], axis: number, p: 1 | 2): LazyTask {
  const name = `LpNormalization L${p} ${shape.join("x")} axis ${axis}`;
  const make = (): Task =>
    imageTask(name, { x: randomFeed(shape, 100) }, (model) => ({
      output: model.node("LpNormalization", ["x"], { axis, p }),
      shape,
    }));
  return { name, make };
}

const tasks: readonly LazyTask[] = [
  roiAlign(256, 50, 100, 7),
  roiAlign(256, 50, 1000, 7),
  roiAlign(256, 50, 100, 14),
  roiAlign(256, 50, 100, 7, "avg", 0),
  roiAlign(256, 50, 100, 7, "max"),
  gridSample(64, 128, "linear"),
  gridSample(64, 128, "linear", "border"),
  gridSample(64, 128, "nearest"),
  gridSample(3, 512, "linear", "reflection"),
  gridSample(16, 128, "cubic"),
  suppression(1000, 80, 100, 0.05),
  suppression(8400, 80, 300, 0.25),
  suppression(8400, 1, 300, 0.01),
  deformConv(64, 56),
  deformConv(256, 14),
  col2Im(16, 128, 4, 2),
  col2Im(64, 57, 3, 2),
  maxUnpool(64, 56),
  affineGrid(1, 256),
  affineGrid(8, 64),
  resize({ mode: "nearest", from: [1, 64, 112, 112], to: [1, 64, 224, 224] }),
  resize({ mode: "nearest", from: [1, 128, 40, 40], to: [1, 128, 80, 80] }),
  resize({ mode: "linear", from: [1, 64, 112, 112], to: [1, 64, 224, 224] }),
  resize({ mode: "cubic", from: [1, 16, 112, 112], to: [1, 16, 224, 224] }),
  resize({ dtype: "u8", mode: "nearest", from: [1, 3, 480, 640], to: [1, 3, 224, 224] }),
  resize({ dtype: "u8", mode: "linear", from: [1, 3, 480, 640], to: [1, 3, 224, 224] }),
  resize({ dtype: "u8", mode: "linear", from: [1, 480, 640, 3], to: [1, 224, 224, 3] }),
  lpNorm([256, 768], -1, 2),
  lpNorm([256, 768], -1, 1),
  lpNorm([1, 64, 56, 56], 1, 2),
];

export const images: Workload = {
  name: "images",
  title: "Operators of detectors and image pipelines",
  async run(context) {
    await measureAll(tasks, await context.openEngines(), context);
  },
};
