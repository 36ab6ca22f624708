/** Limits of devices: operands in several bindings, and typed errors where nothing helps. */
import { describe, expect, test } from "vitest";
import { findAdapter } from "../../src/backends/webgpu/gpu.ts";
import { openWebgpu, type WebgpuOptions } from "../../src/backends/webgpu/index.ts";
import { quantize } from "../../src/formats/gguf/index.ts";
import {
  abs,
  compile,
  conv,
  DeviceError,
  type Graph,
  gather,
  graph,
  matmul,
  neg,
  relu,
  reshape,
  transpose,
} from "../../src/index.ts";
import { quantizedMatmul } from "../../src/ops/quantized-matmul.ts";
import { installDawn } from "./dawn.ts";

await installDawn();

const [rows, width] = [300, 64];
const table = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i));
const bytes = 4 * table.length;
const quantized = quantize("Q8_0", table);

/** A table that is looked into, and multiplied with along either axis; blocks of one; filters. */
const model = (): Graph =>
  graph(({ input, weight }) => {
    const w = weight({ dtype: "f32", shape: [rows, width], data: table });
    const blocks = weight({ dtype: "u8", shape: [quantized.length], data: quantized });
    const filters = weight({ dtype: "f32", shape: [rows, width, 1, 1], data: table });
    const row = gather(w, input("i", "i64", ["m"]), { axis: 0 });
    return {
      row,
      along: matmul(row, transpose(w, { perm: [1, 0] })),
      across: matmul(input("x", "f32", ["m", rows]), w),
      blocks: quantizedMatmul(row, blocks, { type: "q8_0", n: rows, k: width }),
      image: conv(reshape(row, [1, width, -1, 1]), filters, {}),
    };
  });

async function run(limits: WebgpuOptions["limits"], m: number) {
  using session = await compile(model(), { device: await openWebgpu({ limits }) });
  return await session.run({
    i: BigInt64Array.from({ length: m }, (_, k) => BigInt((k * 37) % rows)),
    x: { dtype: "f32", shape: [m, rows], data: Float32Array.from({ length: m * rows }, (_, i) => Math.cos(i)) },
  });
}

describe("outputs that no buffer holds together", async () => {
  const own = await (await findAdapter({})).requestDevice();
  const limits: Record<string, number> = {};
  for (const name in own.limits) limits[name] = own.limits[name as keyof GPUSupportedLimits] as number;
  Object.defineProperty(own, "limits", { value: { ...limits, maxBufferSize: 1024 } });
  const g = graph(({ input }) => {
    const x = input("x", "f32", [200]);
    return { a: relu(x), b: neg(x), c: abs(x), d: relu(neg(x)) };
  });
  const x = Float32Array.from({ length: 200 }, (_, i) => i - 100);
  const want = {
    a: x.map((v) => Math.max(v, 0)),
    b: x.map((v) => -v),
    c: x.map(Math.abs),
    d: x.map((v) => Math.max(-v, 0)),
  };

  test("are read one after the other", async () => {
    using session = await compile(g, { device: await openWebgpu({ device: own }) });
    const y = await session.run({ x });
    for (const [name, data] of Object.entries(want)) expect(y[name].data, name).toEqual(data);
  });

  test("are not read where they stay", async () => {
    using session = await compile(g, { device: await openWebgpu({ device: own }) });
    const staging = (usage: number): boolean => (usage & 1) !== 0;
    const made: number[] = [];
    const { createBuffer } = own;
    own.createBuffer = (d) => {
      made.push(d.usage);
      return createBuffer.call(own, d);
    };
    const y = await session.run({ x }, { keepOnDevice: true });
    expect(made.filter(staging)).toEqual([]);
    for (const [name, data] of Object.entries(want)) expect(await y[name].data(), name).toEqual(data);
  });
});

describe("weights larger than a binding", () => {
  test.each([1, 20])("are read in parts: %s rows", async (m) => {
    const whole = await run({}, m);
    // Parts are not multiples of a row, and results fit.
    const parts = await run({ maxStorageBufferBindingSize: bytes / 3 + 256 }, m);
    for (const [name, { data }] of Object.entries(whole)) expect(parts[name].data, name).toEqual(data);
  });

  test("on a device that was asked for nothing: an embedding of 132 MiB", async () => {
    const own = await (await findAdapter({})).requestDevice();
    const [n, k] = [33 * 1024, 1024];
    expect(4 * n * k).toBeGreaterThan(own.limits.maxStorageBufferBindingSize);
    const data = new Float32Array(n * k);
    for (let i = 0; i < n; i++) data[i * k] = i;
    const g = graph(({ input, weight }) => {
      const w = weight({ dtype: "f32", shape: [n, k], data });
      const row = gather(w, input("i", "i64", [1]), { axis: 0 });
      return { row, logits: matmul(row, transpose(w, { perm: [1, 0] })) };
    });
    using session = await compile(g, { device: await openWebgpu({ device: own }) });
    const { row, logits } = await session.run({ i: BigInt64Array.of(BigInt(n - 1)) });
    expect(row.data[0]).toBe(n - 1);
    expect(logits.data).toEqual(Float32Array.from({ length: n }, (_, i) => i * (n - 1)));
    session.dispose();
    own.destroy();
  });

  test("are refused where the device has too few bindings", async () => {
    await expect(run({ maxStorageBufferBindingSize: 4096 }, 1)).rejects.toThrow(DeviceError);
    await expect(run({ maxStorageBufferBindingSize: 4096 }, 1)).rejects.toThrow(/binds at most 4096; try/);
  });
});
