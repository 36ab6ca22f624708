/** What is measured: one ONNX model with its inputs, the same for every engine. */
import { OnnxWriter, randomNumbers } from "../models/onnx-writer.ts";

export interface Feed {
  readonly dtype: "f32" | "i64";
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

export interface Task {
  readonly name: string;
  readonly onnx: Uint8Array;
  readonly inputs: Readonly<Record<string, Feed>>;
  /** Multiplications and additions of a run; 0 where nobody counted. */
  readonly flop: number;
  /** For engines that read no ONNX: the task is a matrix product of these sizes, its inputs `a` and, if dynamic, `b`. */
  readonly product?: { readonly m: number; readonly k: number; readonly n: number };
}

/** Uniform numbers in [-1, 1). */
export function randomFeed(shape: readonly number[], seed: number): Feed {
  const next = randomNumbers(seed);
  return { dtype: "f32", shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next) };
}

/** A model of a few nodes: `write` adds them and names the output. */
export function smallTask(
  name: string,
  flop: number,
  inputs: Readonly<Record<string, readonly number[]>>,
  write: (model: OnnxWriter) => { output: string; shape: readonly number[] },
  product?: Task["product"],
): Task {
  const model = new OnnxWriter("task", 1);
  for (const [input, shape] of Object.entries(inputs)) model.input(input, shape);
  const { output, shape } = write(model);
  const feeds = Object.entries(inputs).map(([input, dims], i) => [input, randomFeed(dims, 100 + i)] as const);
  return { name, flop, onnx: model.finish(output, shape), inputs: Object.fromEntries(feeds), product };
}
