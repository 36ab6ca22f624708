/** Kernels stop at an index outside of its tensor. The error is the one that the plain backend gives, for the node that it was. */
import { afterAll, describe, expect, test } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import {
  add,
  cachedAttention,
  compile,
  ForwardpassError,
  type Graph,
  gather,
  gatherElements,
  gatherNd,
  graph,
  type HostTensor,
  kvAppend,
  load,
  maxUnpool,
  mul,
  relu,
  reverseSequence,
  rmsNorm,
  roiAlign,
  rotaryEmbedding,
  type SymbolicValue,
  scatterElements,
  scatterNd,
  tanh,
} from "../../src/index.ts";
import { quantizedGather } from "../../src/ops/quantized-matmul.ts";
import { tensorFrom } from "../cases/case.ts";
import { encodeModel, node } from "../onnx/encode.ts";
import { withWorkers } from "./workers.ts";

const { backend: onTwo, dispose } = await withWorkers({ threads: 2, parallelWork: 1 });
afterAll(dispose);

type Value = SymbolicValue;

interface Case {
  readonly define: (x: Value, indices: Value, constant: (t: HostTensor) => Value) => Value;
  /** Of x. */
  readonly shape: readonly number[];
  readonly dtype?: "i32" | "i64";
  readonly indices: readonly number[];
  readonly good: readonly number[];
  readonly bad: readonly number[];
  readonly message: string;
}

const f32 = (...shape: number[]): HostTensor => tensorFrom(5, "f32", shape);
const table = f32(64, 8);
const q8 = (): HostTensor => ({ dtype: "u8", shape: [10 * 34], data: new Uint8Array(340) });

const cases: Record<string, Case> = {
  gather: {
    define: (x, i) => gather(x, i, { axis: 1 }),
    shape: [40, 7, 30],
    indices: [3],
    good: [0, -7, 6],
    bad: [0, 7, 1],
    message: "gather: index 7 is outside axis 1 of size 7",
  },
  "gather of i64 beyond 32 bits": {
    define: (x, i) => gather(x, i),
    shape: [40, 7],
    dtype: "i64",
    indices: [2],
    good: [39, -40],
    bad: [0, 2 ** 40],
    message: `gather: index ${2 ** 40} is outside axis 0 of size 40`,
  },
  "gather from a packed table": {
    define: (x, i, constant) => add(gather(constant(table), i), x),
    shape: [2, 8],
    indices: [2],
    good: [0, 63],
    bad: [64, 0],
    message: "gather: index 64 is outside axis 0 of size 64",
  },
  "gather from a table in blocks": {
    define: (x, i, constant) => add(quantizedGather(i, constant(q8()), { type: "q8_0", rows: 10, k: 32 }), x),
    shape: [3, 32],
    indices: [3],
    good: [0, 9, -1],
    bad: [0, 9, -11],
    message: "quantizedGather: index -11 is outside axis 0 of size 10",
  },
  gatherElements: {
    define: (x, i) => gatherElements(x, i, { axis: 1 }),
    shape: [2, 3],
    dtype: "i64",
    indices: [2, 2],
    good: [0, 1, 2, -3],
    bad: [0, 1, 2, -4],
    message: "gatherElements: index -4 is outside axis 1 of size 3",
  },
  gatherNd: {
    define: (x, i) => gatherNd(x, i),
    shape: [4, 5, 300],
    dtype: "i64",
    indices: [3, 2],
    good: [0, 0, 3, 4, 1, -5],
    bad: [0, 0, 3, 5, 1, 0],
    message: "gatherNd: index 5 is outside axis 1 of size 5",
  },
  scatterElements: {
    define: (x, i) => scatterElements(x, i, relu(gather(x, i))),
    shape: [9],
    dtype: "i64",
    indices: [3],
    good: [0, 8, -9],
    bad: [0, 9, 1],
    message: "gather: index 9 is outside axis 0 of size 9",
  },
  "scatterElements in place": {
    define: (x, i, constant) => scatterElements(x, i, constant(f32(3)), { reduction: "add" }),
    shape: [9],
    indices: [3],
    good: [0, 8, -9],
    bad: [0, 8, 9],
    message: "scatterElements: index 9 is outside axis 0 of size 9",
  },
  scatterNd: {
    define: (x, i, constant) => scatterNd(x, i, constant(f32(2, 6))),
    shape: [4, 6],
    dtype: "i64",
    indices: [2, 1],
    good: [3, -1],
    bad: [3, 4],
    message: "scatterNd: index 4 is outside axis 0 of size 4",
  },
  maxUnpool: {
    define: (x, i) => maxUnpool(x, i, { kernelShape: [2, 2], strides: [2, 2] }),
    shape: [1, 1, 1, 2],
    dtype: "i64",
    indices: [1, 1, 1, 2],
    good: [0, 7],
    bad: [0, 8],
    message: "maxUnpool: index 8 is outside [1,1,2,4]",
  },
  roiAlign: {
    define: (x, i, constant) =>
      roiAlign(x, constant({ dtype: "f32", shape: [1, 4], data: Float32Array.of(0, 0, 3, 3) }), i),
    shape: [2, 3, 4, 4],
    dtype: "i64",
    indices: [1],
    good: [1],
    bad: [2],
    message: "roiAlign: batch index 2 is outside a batch of 2",
  },
  rotaryEmbedding: {
    define: (x, i, constant) => rotaryEmbedding(x, constant(f32(16, 4)), constant(f32(16, 4)), i),
    shape: [1, 2, 3, 8],
    dtype: "i32",
    indices: [1],
    good: [13],
    bad: [14],
    message: "rotaryEmbedding: position 16 is outside a table of 16",
  },
  cachedAttention: {
    define: (x, i, constant) =>
      cachedAttention(x, constant(f32(16, 8)), constant(f32(16, 8)), i, undefined, { heads: 2 }),
    shape: [1, 2, 8],
    dtype: "i32",
    indices: [1],
    good: [14],
    bad: [15],
    message: "cachedAttention: row 16 is outside a cache of 16",
  },
  "kvAppend, as a value": {
    define: (x, i, constant) => kvAppend(constant(f32(16, 8)), x, i),
    shape: [2, 8],
    dtype: "i32",
    indices: [1],
    good: [14],
    bad: [15],
    message: "kvAppend: row 16 is outside a cache of 16",
  },
  "reverseSequence, which has no kernel here": {
    define: (x, i) => reverseSequence(x, i),
    shape: [4, 3],
    dtype: "i64",
    indices: [3],
    good: [1, 2, 4],
    bad: [1, 2, 5],
    message: "reverseSequence: length 5 is outside [0, 4] of axis 0",
  },
};

function modelOf({ define, shape, dtype = "i32", indices }: Case): Graph {
  return graph(({ input, weight }) => {
    const x = tanh(input("x", "f32", shape));
    return { y: relu(define(x, input("indices", dtype, indices), weight)) };
  });
}

const indexTensor = ({ dtype = "i32", indices }: Case, values: readonly number[]): HostTensor => ({
  dtype,
  shape: indices,
  data: dtype === "i32" ? Int32Array.from(values) : BigInt64Array.from(values.map(BigInt)),
});

async function messageOf(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (e) {
    expect(e).toBeInstanceOf(ForwardpassError);
    return `${(e as Error).name}: ${(e as Error).message}`;
  }
  throw new Error("no error");
}

const devices: Record<string, Backend> = { "one thread": wasm({ threads: 1 }), "two threads": onTwo };

for (const [name, device] of Object.entries(devices))
  describe(`on ${name}`, () => {
    test.each(Object.entries(cases))("%s", async (_, c) => {
      using plain = await compile(modelOf(c), { device: cpu() });
      using session = await compile(modelOf(c), { device: device as never });
      const x = tensorFrom(1, "f32", c.shape);
      const [good, bad] = [c.good, c.bad].map((values) => ({ x, indices: indexTensor(c, values) }));
      const want = await messageOf(() => plain.run(bad));
      expect(want).toContain(c.message);
      expect(want).toMatch(/\(node ".+"\)$/);
      const { y } = await plain.run(good);
      for (let i = 0; i < 3; i++) {
        expect(await messageOf(() => session.run(bad))).toBe(want);
        expect(await messageOf(() => session.runSync(bad))).toBe(want);
        expect(await messageOf(() => session.run(bad, { profile: true }))).toBe(want);
        const got = (await session.run(good)).y;
        expect(got.shape).toEqual(y.shape);
        (got.data as Float32Array).forEach((v, k) => void expect(v).toBeCloseTo(y.data[k] as number, 4));
      }
    });

    test("which of equal layers it was, whose code is one", async () => {
      const layers = graph(({ input, weight }) => {
        let x = input("x", "f32", [8, 64]);
        for (let i = 0; i < 4; i++) {
          const rows = gather(x, input(`i${i}`, "i32", [8]));
          x = rmsNorm(mul(rows, weight(tensorFrom(i, "f32", [64]))), weight(tensorFrom(9 + i, "f32", [64])));
        }
        return { x };
      });
      using plain = await compile(layers, { device: cpu() });
      using session = await compile(layers, { device: device as never });
      const inputs = (badAt: number) => ({
        x: tensorFrom(1, "f32", [8, 64]),
        ...Object.fromEntries(
          [0, 1, 2, 3].map((i) => [`i${i}`, Int32Array.of(0, 1, 2, 3, 4, 5, 6, i === badAt ? 8 : 7)]),
        ),
      });
      const seen = new Set<string>();
      for (const at of [2, 0, 3, 1]) {
        const message = await messageOf(() => session.run(inputs(at)));
        expect(message).toBe(await messageOf(() => plain.run(inputs(at))));
        seen.add(message);
        await session.run(inputs(-1));
      }
      expect(seen.size).toBe(4);
    });

    test("which of several that are side by side", async () => {
      const rows = graph(({ input, weight, state }) => {
        const position = input("position", "i32", [1]);
        const sum = ["a", "b", "c"]
          .map((name) => quantizedGather(input(name, "i32", [32]), weight(q8()), { type: "q8_0", rows: 10, k: 32 }))
          .reduce((a, b) => add(a, b));
        return { y: kvAppend(state("cache", "f32", [64, 32]), sum, position) };
      });
      const inputs = (bad?: string) => ({
        position: Int32Array.of(0),
        ...Object.fromEntries(["a", "b", "c"].map((n) => [n, new Int32Array(32).fill(n === bad ? 10 : 9)])),
      });
      using plain = await compile(rows, { device: cpu() });
      using session = await compile(rows, { device: device as never });
      const states = [plain.openState(), session.openState()];
      for (const bad of ["b", "c", "a"]) {
        const [want, got] = [
          await messageOf(() => plain.run(inputs(bad), { state: states[0], rows: 32 })),
          await messageOf(() => session.run(inputs(bad), { state: states[1], rows: 32 })),
        ];
        expect(want).toContain("quantizedGather: index 10 is outside axis 0 of size 10");
        expect(got).toBe(want);
      }
      await session.run(inputs(), { state: states[1], rows: 32 });
    });

    test("a state that is full keeps what it has", async () => {
      const decoder = graph(({ input, state }) => {
        const position = input("position", "i32", [1]);
        const x = input("x", "f32", [1, 2, 8]);
        const cache = kvAppend(state("cache", "f32", [64, 8]), tanh(x), position);
        return { y: cachedAttention(x, cache, cache, position, undefined, { heads: 2 }) };
      });
      const x = tensorFrom(1, "f32", [1, 2, 8]);
      const at = (n: number) => ({ x, position: Int32Array.of(n) });
      const results = [];
      for (const d of [cpu(), device]) {
        using session = await compile(decoder, { device: d as never });
        const state = session.openState();
        const options = { state, rows: 4 };
        await session.run(at(0), options);
        const message = await messageOf(() => session.run(at(4), options));
        const { y } = await session.run(at(2), options);
        results.push({ message, y: [...(y.data as Float32Array)].map((v) => Math.round(v * 1e4)) });
      }
      expect(results[0].message).toContain("kvAppend: row 4 is outside a cache of 4");
      expect(results[0].message).toContain("of state, run() reserves as many as its graph declares: { rows: 5 }");
      expect(results[1]).toEqual(results[0]);
    });

    test("of several sequences it is told which, and what helps", async () => {
      const decoder = graph(({ input, state }) => {
        const [position, sequence] = ["position", "sequence"].map((name) => input(name, "i32", [2]));
        const x = input("x", "f32", [1, 2, 8]);
        const cache = kvAppend(state("cache", "f32", [64, 8]), tanh(x), position, sequence);
        return { y: cachedAttention(x, cache, cache, position, sequence, { heads: 2 }) };
      });
      using session = await compile(decoder, { device: device as never });
      const options = { state: [session.openState(), session.openState()], rows: [4, 6] };
      const run = (position: number[], sequence: number[]) =>
        session.run(
          {
            x: tensorFrom(1, "f32", [1, 2, 8]),
            position: Int32Array.from(position),
            sequence: Int32Array.from(sequence),
          },
          options,
        );
      await run([3, 5], [0, 1]);
      const told = async (position: number[], sequence: number[]) => messageOf(() => run(position, sequence));
      expect(await told([3, 6], [0, 1])).toBe(
        'InputError: kvAppend: row 6 of sequence 1 is outside a cache of 6; of state, run() reserves as many as its graph declares: { rows: 7 } (node "kvAppend_1")',
      );
      expect(await told([4, 0], [0, 1])).toContain(
        "row 4 of sequence 0 is outside a cache of 4; of state, run() reserves",
      );
      expect(await told([0, -3], [0, 1])).toContain(
        "row -3 of sequence 1 is outside a cache of 6; positions count from 0",
      );
      expect(await told([0, 0], [0, 2])).toContain(
        "kvAppend: token 1 is of sequence 2, but run() got 2: pass one more",
      );
      await run([3, 5], [0, 1]);
    });
  });

test("in the body of a loop", async () => {
  const body = {
    nodes: [node("Gather", ["table", "i"], ["row"], {}), node("Add", ["a", "row"], ["next"])],
    inputs: [
      { name: "i", dtype: "i64" as const },
      { name: "go", dtype: "bool" as const },
      { name: "a", dtype: "f32" as const, shape: [1] },
    ],
    outputs: [{ name: "go" }, { name: "next" }],
  };
  const model = encodeModel({
    nodes: [node("Loop", ["turns", "", "a0"], ["y"], { body: { graph: body } })],
    inputs: [
      { name: "turns", dtype: "i64", shape: [] },
      { name: "a0", dtype: "f32", shape: [1] },
      { name: "table", dtype: "f32", shape: [3, 1] },
    ],
    outputs: [{ name: "y", dtype: "f32", shape: [1] }],
  });
  const turns = (n: number) => ({
    turns: BigInt64Array.of(BigInt(n)),
    a0: Float32Array.of(0),
    table: Float32Array.of(1, 2, 3),
  });
  using plain = await load(model, { device: "cpu" });
  using session = await load(model, { device: wasm({ threads: 1 }) });
  const want = await messageOf(() => plain.run(turns(4)));
  expect(want).toContain("index 3 is outside axis 0 of size 3");
  expect(await messageOf(() => session.run(turns(4)))).toBe(want);
  expect((await session.run(turns(3))).y.data).toEqual(Float32Array.of(6));
});
