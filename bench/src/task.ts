/** What is measured: one ONNX model with its inputs, the same for every engine. */
import { encodeFloats, f16ToNumber } from "../../src/tensor/float.ts";
import { OnnxWriter, randomNumbers } from "../models/onnx-writer.ts";

export interface Feed {
  readonly dtype: "f32" | "f16" | "i64" | "u8";
  readonly shape: readonly number[];
  /** f16 as bits. */
  readonly data: Float32Array | Uint16Array | BigInt64Array | Uint8Array;
}

export interface Task {
  readonly name: string;
  readonly onnx: Uint8Array;
  readonly inputs: Readonly<Record<string, Feed>>;
  /** Multiplications and additions of a run; 0 where nobody counted. */
  readonly flop: number;
  /** That it reads at least, where that is what bounds it. */
  readonly bytes?: number;
  /** For engines that read no ONNX: the task is a matrix product of these sizes, its inputs `a` and, if dynamic, `b`. */
  readonly product?: { readonly m: number; readonly k: number; readonly n: number };
  /** Inputs are in the device's memory before, and outputs stay there: what takes time is computing. */
  readonly resident?: boolean;
  /** Of outputs, relative to their largest magnitude. */
  readonly tolerance?: number;
}

/** Uniform numbers in [-1, 1). */
export function randomFeed(shape: readonly number[], seed: number, dtype: "f32" | "f16" = "f32"): Feed {
  const next = randomNumbers(seed);
  const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next);
  if (dtype === "f32") return { dtype, shape, data: values };
  const data = new Uint16Array(values.length);
  encodeFloats(dtype, values, data);
  return { dtype, shape, data };
}

/** The numbers that f16 bits stand for. */
export const widened = (bits: Uint16Array): Float32Array => Float32Array.from(bits, (b) => f16ToNumber(b));

/** A model of a few nodes: `write` adds them and names the output. All its inputs and its output have one dtype. */
export function smallTask(
  name: string,
  flop: number,
  inputs: Readonly<Record<string, readonly number[]>>,
  write: (model: OnnxWriter) => { output: string; shape: readonly number[] },
  { dtype = "f32", ...more }: Partial<Task> & { dtype?: "f32" | "f16" } = {},
): Task {
  const model = new OnnxWriter("task", 1);
  for (const [input, shape] of Object.entries(inputs)) model.input(input, shape, dtype);
  const { output, shape } = write(model);
  const feeds = Object.entries(inputs).map(([input, dims], i) => [input, randomFeed(dims, 100 + i, dtype)] as const);
  return { name, flop, onnx: model.finish(output, shape, dtype), inputs: Object.fromEntries(feeds), ...more };
}
