/** ONNX Runtime's DynamicQuantizeLSTM: 8-bit weights, input and state rounded to 255 values on their way to the products. */
import { expect, test } from "vitest";
import { type HostTensor, load } from "../../src/index.ts";
import { encodeModel } from "./encode.ts";

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** One direction, one sample, one step, two inputs, two hidden units. */
const model = (weights: Record<string, HostTensor>) =>
  encodeModel({
    domains: { "com.microsoft": 1 },
    nodes: [
      {
        type: "DynamicQuantizeLSTM",
        domain: "com.microsoft",
        inputs: ["x", "w", "r", "", "", "h", "", "", "ws", "wz", "rs", "rz"],
        outputs: ["y"],
        attributes: { hidden_size: { int: 2 } },
      },
    ],
    inputs: [
      { name: "x", dtype: "f32", shape: [1, 1, 2] },
      { name: "h", dtype: "f32", shape: [1, 1, 2] },
    ],
    outputs: [{ name: "y", dtype: "f32" }],
    initializers: weights,
  });

const bytes = (shape: number[], values: number[]): HostTensor => ({ dtype: "i8", shape, data: Int8Array.from(values) });
const floats = (shape: number[], values: number[]): HostTensor => ({
  dtype: "f32",
  shape,
  data: Float32Array.from(values),
});

test.each(["tensor", "column"])("scales by %s; what is too small beside its neighbour is lost", async (granularity) => {
  // Gates in the order input, output, forget, cell; weights [direction, from, to], so rows are what comes in.
  const w = bytes([1, 2, 8], [1, 2, 3, 4, 5, 6, 7, 8, 10, 20, 30, 40, 50, 60, 70, 80]);
  const r = bytes([1, 2, 8], [-8, -7, -6, -5, -4, -3, -2, -1, 100, 90, 80, 70, 60, 50, 40, 30]);
  const [scale, zero] = [Array.from({ length: 8 }, (_, i) => 0.05 * (i + 1)), Array(8).fill(2)];
  const shape = granularity === "column" ? [1, 8] : [1];
  const cut = <T>(list: T[]): T[] => (granularity === "column" ? list : list.slice(0, 1));
  const session = await load(
    model({
      w,
      r,
      ws: floats(shape, cut(scale)),
      wz: bytes(shape, cut(zero)),
      rs: floats(shape, cut(scale)),
      rz: bytes(shape, cut(zero)),
    }),
    { device: "cpu" },
  );
  // In units of 1/255, x is [255, 0.4] and h is [-255, -0.4]: both second elements round to 0.
  const { y } = await session.run({
    x: Float32Array.of(1, 0.4 / 255),
    h: Float32Array.of(-1, -0.4 / 255),
  });
  const gate = (to: number): number => {
    const s = granularity === "column" ? scale[to] : scale[0];
    return s * (Number(w.data[to]) - 2) - s * (Number(r.data[to]) - 2);
  };
  for (const u of [0, 1]) {
    const cell = sigmoid(gate(u)) * Math.tanh(gate(6 + u));
    expect(y.data[u]).toBeCloseTo(sigmoid(gate(2 + u)) * Math.tanh(cell), 6);
  }
  session.dispose();
});
