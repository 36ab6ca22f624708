/** Models that are well-formed and wrong: structure, attributes and weights changed, lengths put right; and greedy ones. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type HostTensor, hostTensor, load } from "../../src/index.ts";
import { randomFrom } from "../random.ts";
import { encodeModel, type ModelSpec, type NodeSpec } from "./encode.ts";
import { memoryLimit, survives } from "./hostile.ts";
import { Mutator } from "./mutate.ts";

describe.each([
  ["fraud-mlp", 1200, 400],
  ["mnist-cnn", 700, 200],
  ["spam-transformer", 300, 100],
] as const)("%s", (name, onCpu, onWasm) => {
  const bytes = readFileSync(new URL(`../../examples/models/${name}/model.onnx`, import.meta.url));
  test.each([
    ["cpu", onCpu, 1],
    ["wasm", onWasm, 2],
  ] as const)(
    "on %s: %i mutations",
    async (device, count, seed) => {
      const mutator = new Mutator(bytes);
      const random = randomFrom(seed);
      const results = new Map<string, number>();
      for (let i = 0; i < count; i++) {
        const hostile = mutator.mutate(random);
        const result = await survives(hostile, device).catch((cause) => {
          throw new Error(`mutation ${i} of seed ${seed}: ${cause}`, { cause });
        });
        results.set(result, (results.get(result) ?? 0) + 1);
      }
      // Mutations that never got as far as shapes, or changed nothing, would show nothing.
      expect(results.size).toBeGreaterThanOrEqual(4);
      expect(results.get("ran")).toBeLessThan(0.8 * count);
    },
    120_000,
  );
});

const node = (type: string, inputs: string[], attributes: NodeSpec["attributes"] = {}, output = "y"): NodeSpec => ({
  type,
  inputs,
  outputs: [output],
  attributes,
});
const i64 = (...values: number[]): HostTensor => hostTensor(BigInt64Array.from(values, BigInt));
const scalar = (value: number): HostTensor => ({ dtype: "i64", shape: [], data: BigInt64Array.of(BigInt(value)) });
const kernel: HostTensor = { dtype: "f32", shape: [1, 1, 3, 3], data: new Float32Array(9) };
const [big, huge] = [2 ** 31, 2 ** 45];
/** y = x joined with itself, again and again. */
const doubled = (of: string, times: number): NodeSpec[] =>
  Array.from({ length: times }, (_, i) =>
    node("Concat", Array(2).fill(i === 0 ? of : `c${i}`), { axis: { int: 0 } }, i === times - 1 ? "y" : `c${i + 1}`),
  );

/** Small files that ask for gigabytes: by attribute, by constant, by value of an input, step by step. */
const greedy: Record<string, [NodeSpec | NodeSpec[], ModelSpec["initializers"]?]> = {
  Expand: [node("Expand", ["one", "a"]), { a: i64(big, 8), one: i64(1) }],
  "Expand to an input's value": [node("Expand", ["one", "sizes"]), { one: i64(1) }],
  ConstantOfShape: [node("ConstantOfShape", ["a"]), { a: i64(big, 8) }],
  "ConstantOfShape beyond integers": [node("ConstantOfShape", ["a"]), { a: i64(huge, huge) }],
  Tile: [node("Tile", ["x", "a"]), { a: i64(1, 1, big, 1) }],
  Pad: [node("Pad", ["x", "a"]), { a: i64(0, 0, big, 0, 0, 0, big, 0) }],
  Range: [node("Range", ["a", "b", "c"]), { a: scalar(0), b: scalar(huge), c: scalar(1) }],
  OneHot: [node("OneHot", ["sizes", "a", "b"]), { a: scalar(huge), b: i64(0, 1) }],
  HannWindow: [node("HannWindow", ["a"]), { a: scalar(big) }],
  RandomNormal: [node("RandomNormal", [], { shape: { ints: [2 ** 20, 2 ** 20] } })],
  Conv: [node("Conv", ["x", "k"], { pads: { ints: Array(4).fill(2 ** 20) } }), { k: kernel }],
  ConvTranspose: [node("ConvTranspose", ["x", "k"], { strides: { ints: [2 ** 20, 2 ** 20] } }), { k: kernel }],
  MaxPool: [
    node("MaxPool", ["x"], { kernel_shape: { ints: [2 ** 20, 2 ** 20] }, pads: { ints: Array(4).fill(2 ** 20 - 1) } }),
  ],
  Resize: [node("Resize", ["x", "", "", "a"]), { a: i64(1, 1, 2 ** 17, 2 ** 17) }],
  CenterCropPad: [node("CenterCropPad", ["x", "a"]), { a: i64(1, 1, big, 2) }],
  "outer product": [
    [node("Expand", ["one", "a"], {}, "column"), node("MatMul", ["column", "row"])],
    { one: i64(1), a: i64(2 ** 16, 1), row: { dtype: "i64", shape: [1, 8192], data: new BigInt64Array(8192) } },
  ],
  "doubling an input": [doubled("x", 40)],
  "doubling a constant": [doubled("a", 40), { a: i64(1, 2) }],
  "doubling a shape": [doubled("sizes", 40)],
};

test.each(Object.entries(greedy))("refuses gigabytes: %s", async (_, [nodes, initializers]) => {
  const bytes = encodeModel({
    opset: 18,
    nodes: [nodes].flat(),
    inputs: [
      { name: "x", dtype: "f32", shape: [1, 1, 2, 2] },
      { name: "sizes", dtype: "i64", shape: [2] },
    ],
    outputs: [{ name: "y" }],
    initializers,
  });
  const inputs = { x: new Float32Array(4), sizes: BigInt64Array.of(2n ** 20n, 2n ** 20n) };
  const before = process.memoryUsage().arrayBuffers;
  for (const limit of [memoryLimit, undefined]) {
    using session = await load(bytes, { device: "cpu", memoryLimit: limit });
    await expect(session.run(inputs)).rejects.toThrow(/memory/);
  }
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(512 << 20);
});

test("values that fit one by one and not together", async () => {
  const bytes = encodeModel({
    nodes: [node("Expand", ["x", "a"], {}, "wide"), node("Exp", ["wide"], {}, "e"), node("MatMul", ["wide", "e"])],
    inputs: [{ name: "x", dtype: "f32", shape: [1] }],
    outputs: [{ name: "y" }],
    initializers: { a: i64(1024, 1024) },
  });
  const x = Float32Array.of(0.5);
  using tight = await load(bytes, { device: "cpu", memoryLimit: 10 << 20 });
  await expect(tight.run({ x })).rejects.toThrow(/at once/);
  using enough = await load(bytes, { device: "cpu", memoryLimit: 24 << 20 });
  const { y } = await enough.run({ x });
  expect(y.data[0]).toBeCloseTo(512 * Math.exp(0.5), 1);
});
