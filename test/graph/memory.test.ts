/** What sessions hold, and let go. Where garbage collection decides, in a process of its own. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isReversible, type Kernel, type Step, unpack } from "../../src/backends/backend.ts";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import { inferNode } from "../../src/graph/infer.ts";
import { add, gather, hostTensor, matmul } from "../../src/index.ts";
import { isHostInput } from "../../src/ops/op.ts";
import type { TypedArray } from "../../src/tensor/dtype.ts";
import { ForwardpassError } from "../../src/tensor/errors.ts";
import { emptyTensor, type HostTensor } from "../../src/tensor/tensor.ts";
import { Elements, type Weight } from "../../src/tensor/weight.ts";
import type { OpCase } from "../cases/case.ts";
import { cases } from "../cases/index.ts";
import { resultOf } from "./child.ts";

/** Milliseconds: ten thousand cycles take 15 to 30 seconds on a core of their own. */
const longest = 300_000;

interface Held {
  weights: number;
  held: number;
  bytes: number;
  left: number;
}

describe.each(["cpu", "wasm"])("weights on %s", (device) => {
  test.each(["mlp", "conv"])("are in memory once: %s", async (kind) => {
    const { weights, held, bytes, left } = await resultOf<Held>("weights", device, kind);
    expect(bytes).toBeGreaterThan(weights);
    // The device's copy and the activations; nothing of the file.
    expect(held).toBeLessThan(1.3 * weights);
    expect(left).toBeLessThan(0.1 * weights);
  });
});

test.each(["mlp", "conv"])("weights on webgpu leave the host: %s", async (kind) => {
  const { weights, held, bytes } = await resultOf<Held>("weights", "webgpu", kind);
  expect(bytes).toBeGreaterThan(weights);
  expect(held).toBeLessThan(0.3 * weights);
});

test("tensors on a device that nobody disposes give their memory to later ones", async () => {
  const { buffers } = await resultOf<{ buffers: number }>("kept", "60");
  expect(buffers).toBeGreaterThan(0);
  expect(buffers).toBeLessThan(30);
});

test.each(["1", "2"])("states that nobody disposes give their memory to later ones: %s threads", async (threads) => {
  const { early, late } = await resultOf<{ early: number; late: number }>("states", threads);
  // Each takes 128 kB, a fork as much.
  expect(late).toBeLessThan(early + 300_000);
});

describe.each(["cpu", "wasm"])("loading, running and disposing over and over on %s", (device) => {
  test.each([
    ["dispose", 10_000],
    ["keep", 500],
  ])(
    "leaves memory flat: %s",
    async (how, cycles) => {
      type Bytes = { heapUsed: number; external: number };
      const [early, late] = await resultOf<Bytes[]>("cycles", device, `${cycles}`, how, "2");
      // Nine tenths of the cycles lie between; sessions that stay take 25 kB of heap and 7 kB outside of it.
      expect(late.heapUsed - early.heapUsed).toBeLessThan(4e6);
      expect(late.external - early.external).toBeLessThan(1e6);
    },
    longest,
  );
});

const layouts: [string, readonly Kernel<Step>[]][] = [
  ["cpu", await cpu().ownKernels()],
  ["wasm", await wasm({ threads: 1 }).ownKernels()],
];

/** Layouts with which a kernel would pack the inputs of a case, were they constant. */
function prepacksOf(kernel: Kernel<Step>, { inputs, attrs }: OpCase) {
  try {
    const operands = inputs.map((t) => t && { dtype: t.dtype, shape: t.shape, value: t });
    const outputs = inferNode({ op: kernel.op, name: "", inputs: [], outputs: [], attrs }, operands);
    const given = inputs.map(
      (t, i) => t && { dtype: t.dtype, shape: t.shape, constant: i > 0 || isHostInput(kernel.op, i) ? t : undefined },
    );
    return kernel.plan(given, outputs, attrs)?.prepack ?? [];
  } catch (e) {
    if (e instanceof ForwardpassError) return [];
    throw e;
  }
}

test.each(layouts)("packed layouts of %s that serve as the only copy can be undone", (_, kernels) => {
  const seen = new Set<string>();
  for (const kernel of kernels) {
    const arbitrary = (cases as Record<string, fc.Arbitrary<OpCase>>)[kernel.op.name];
    fc.assert(
      fc.property(arbitrary, (c) => {
        for (const prepack of prepacksOf(kernel, c).filter(isReversible)) {
          const input = c.inputs[prepack.input]!;
          const source = (prepack.stored ? (input as Weight).elements.data : input.data) as TypedArray;
          const packed = emptyTensor(prepack.type).data as TypedArray;
          prepack.pack(source, packed);
          expect(unpack(prepack, packed, source.length)).toEqual(source);
          if (prepack.inPlace) {
            const own = source.slice();
            prepack.pack(own, own);
            expect(own).toEqual(packed);
          }
          seen.add(kernel.op.name);
        }
      }),
      { numRuns: 30, seed: 7 },
    );
  }
  expect([...seen]).toEqual(expect.arrayContaining(["matmul", "gemm", "conv"]));
});

test("positions past what f32 counts exactly come back", () => {
  const size = (1 << 24) + 5;
  const reverse = {
    input: 0,
    key: "reverse",
    type: { dtype: "f32", shape: [size + 1] },
    moves: true,
    pack(from: TypedArray, to: TypedArray) {
      for (let i = 0; i < size; i++) to[size - i] = from[i];
      to[0] = 0;
    },
  } as const;
  const packed = Float32Array.from({ length: size + 1 }, (_, i) => (i === 0 ? 0 : i % 977));
  const plain = unpack(reverse, packed, size);
  expect(plain.every((v, i) => v === packed[size - i])).toBe(true);
});

describe.each([
  ["cpu", () => cpu()],
  ["wasm", () => wasm({ threads: 1 })],
])("a weight that %s has packed", (_, device) => {
  const rows = 300;
  const width = 64;
  const table = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i));
  const file = new Float32Array(2 * table.length);
  file.set(table, 7);
  const view = (): HostTensor => ({
    dtype: "f32",
    shape: [width, rows],
    data: file.subarray(7, 7 + table.length),
  });

  test("is unpacked for a step that reads it as it is, and for the host", async () => {
    const model = graph(({ input, weight }) => {
      const w = weight(view());
      const product = matmul(input("x", "f32", ["n", width]), w);
      return { product, row: gather(w, input("i", "i64", ["m"]), { axis: 0 }), w: add(w, input("zero", "f32", [])) };
    });
    const run = (s: Awaited<ReturnType<typeof compile>>, n: number, m: number) =>
      s.run({
        x: hostTensor(new Float32Array(n * width).fill(0.5), { shape: [n, width] }),
        i: BigInt64Array.from({ length: m }, (_, k) => BigInt(k * 3)),
        zero: hostTensor(0),
      });
    using s = await compile(model, { device: device() });
    for (const [n, m] of [
      [1, 1],
      [70, 2],
      [1, 1],
    ]) {
      const got = await run(s, n, m);
      expect(got["w"].data).toEqual(table);
      const want = Array.from({ length: m }, (_, k) => [...table.subarray(k * 3 * rows, (k * 3 + 1) * rows)]);
      expect([...(got["row"].data as Float32Array)]).toEqual(want.flat());
      let sum = 0;
      for (let k = 0; k < width; k++) sum += 0.5 * table[k * rows + 5];
      expect(got["product"].data[(n - 1) * rows + 5]).toBeCloseTo(sum, 4);
    }
    expect([...s.graph.constants.values()].find((t) => t.shape.length === 2)!.data).toEqual(table);
  });
});

test("small constants stay, without the file around them", () => {
  const file = new Float32Array(1 << 20);
  const small = new Elements(file.subarray(5, 9));
  small.handOver(() => Float32Array.of(9));
  expect(small.data).toEqual(new Float32Array(4));
  expect(small.data.buffer.byteLength).toBe(16);
});
