/** Weights live on the device alone, and come back where the host wants them after all. */
import { expect, test } from "vitest";
import { openWebgpu } from "../../src/backends/webgpu/index.ts";
import { quantize } from "../../src/formats/gguf/index.ts";
import { add, compile, det, type Graph, gather, graph, matmul, nonZero } from "../../src/index.ts";
import type { DecoderWeights, StoredWeight, Weight } from "../../src/models/transformer/config.ts";
import { Decoder } from "../../src/models/transformer/sequence.ts";
import type { Weight as Constant } from "../../src/tensor/weight.ts";
import { build } from "../models/tiny.ts";
import { installDawn } from "./dawn.ts";

await installDawn();

const n = 160;
const table = Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : i % 7 === 0 ? 1e-3 : 0));
const nonZeros = table.filter((v) => v !== 0).length;

/** One weight that shaders, a step of the host, planning and a node without a shape rule all read. */
const model = (): Graph =>
  graph(({ input, weight }) => {
    const w = weight({ dtype: "f32", shape: [n, n], data: table });
    return {
      product: matmul(input("x", "f32", ["n", n]), w),
      row: gather(w, input("i", "i64", ["m"]), { axis: 0 }),
      det: det(add(w, input("zero", "f32", []))),
      constant: det(w),
      where: nonZero(w),
      w,
    };
  });

const weightOf = (g: Graph): Constant => [...g.constants.values()].find((t) => t.shape.length === 2) as Constant;

test.each([false, true])("a weight that only shaders read leaves the host; verified: %s", async (verify) => {
  const device = await openWebgpu();
  const g = graph(({ input, weight }) => ({
    y: matmul(input("x", "f32", ["n", n]), weight({ dtype: "f32", shape: [n, n], data: table })),
  }));
  using session = await compile(g, { device, verify });
  for (const rows of [1, 20, 1]) {
    const { y } = await session.run({ x: new Float32Array(rows * n).fill(1) });
    expect(y.data[n - 1]).toBeCloseTo(1 + 1e-3 * Math.ceil((n - 1) / 7), 1);
    expect(weightOf(session.graph).elements.onHost).toBe(false);
  }
  const { elements } = weightOf(session.graph);
  await elements.load();
  expect(elements.data).toEqual(table);
});

test("a weight comes back for the host", async () => {
  using session = await compile(model(), { device: await openWebgpu({ fallback: "cpu" }), optimize: false });
  for (const [rows, m] of [
    [1, 1],
    [20, 2],
    [1, 1],
  ]) {
    const got = await session.run({
      x: { dtype: "f32", shape: [rows, n], data: new Float32Array(rows * n).fill(1) },
      i: BigInt64Array.from({ length: m }, (_, k) => BigInt(3 * k)),
      zero: { dtype: "f32", shape: [], data: Float32Array.of(0) },
    });
    expect(got["w"].data).toEqual(table);
    expect(got["row"].data.slice(-n)).toEqual(table.slice(3 * (m - 1) * n, (3 * (m - 1) + 1) * n));
    expect(got["where"].shape).toEqual([2, nonZeros]);
    expect(got["det"].data[0]).toBeCloseTo(got["constant"].data[0] as number, 3);
  }
});

test("weights in a file are read once, whatever shapes they run with", async () => {
  const { config, weights } = build({ hidden: 64, layers: [{}] });
  const reads = new Map<string, number>();
  const stored = new Map<string, StoredWeight>();
  for (const [name, w] of weights as ReadonlyMap<string, Weight & { data: Float32Array }>) {
    // One of them in blocks, which are packed: shaders for those take a software driver long to compile.
    const type = name === "blk.0.ffn_down.weight" ? ("q8_0" as const) : undefined;
    const read = async (): Promise<Weight> => {
      reads.set(name, (reads.get(name) ?? 0) + 1);
      return type ? { type, shape: w.shape, bytes: quantize("Q8_0", w.data) } : w;
    };
    stored.set(name, { type, shape: w.shape, read });
  }
  const device = await openWebgpu();
  using model = await Decoder.open(config, stored as unknown as DecoderWeights, device);
  const logits = await model.sequence().feed([1, 2, 3, 4, 5, 6]);
  expect(logits.every(Number.isFinite)).toBe(true);
  expect(new Set(reads.values())).toEqual(new Set([1]));
  expect(reads.size).toBe(stored.size);
});
