/** Inputs and outputs that stay on the device. */
import { expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { deviceOf } from "../../src/backends/webgpu/device.ts";
import { openWebgpu } from "../../src/backends/webgpu/index.ts";
import { nextTurn } from "../../src/graph/drive.ts";
import {
  add,
  type Backend,
  cast,
  compile,
  DeviceError,
  DeviceTensor,
  DisposedError,
  DTypeError,
  type Graph,
  graph,
  InputError,
  matmul,
  mul,
  nonZero,
  type RunOptions,
  relu,
  reshape,
  ShapeError,
} from "../../src/index.ts";
import { counting, liveBuffers } from "./counting.ts";
import { installDawn } from "./dawn.ts";

await installDawn();
const device = await openWebgpu();

const x = Float32Array.from({ length: 12 }, (_, i) => i - 5);
const w = { dtype: "f32", shape: [4, 4], data: Float32Array.from({ length: 16 }, (_, i) => i % 5) } as const;

const layer = (): Graph =>
  graph(({ input, weight }) => {
    const v = input("x", "f32", ["n", 4]);
    return { y: relu(matmul(v, weight(w))), same: v, double: add(v, v) };
  });

/** relu(x w), row by row. */
function multiplied(v: Float32Array): number[] {
  return Array.from({ length: v.length }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < 4; k++) sum += v[Math.floor(i / 4) * 4 + k] * w.data[k * 4 + (i % 4)];
    return Math.max(sum, 0);
  });
}

const host = { dtype: "f32", shape: [3, 4], data: x } as const;

test("outputs that stay are read when asked for, and are inputs of other sessions of the device", async () => {
  using first = await compile(layer(), { device });
  using second = await compile(layer(), { device: await openWebgpu() });
  const staging = Object.getPrototypeOf(device.device.createBuffer({ size: 16, usage: 128 }));
  let kept: Record<string, DeviceTensor> = {};
  const run = async () => {
    kept = await first.run({ x: host }, { keepOnDevice: true });
  };
  expect(await counting(staging, "mapAsync", run)).toBe(0);
  expect(kept["y"]).toBeInstanceOf(DeviceTensor);
  expect(kept["y"].shape).toEqual([3, 4]);
  const twice = await second.run({ x: kept["y"] });
  const once = multiplied(x);
  expect([...(twice.y.data as Float32Array)]).toEqual(multiplied(Float32Array.from(once)));
  expect([...(await kept["y"].data())]).toEqual(once);
  expect([...(await kept["double"].data())]).toEqual([...x].map((v) => 2 * v));
  // What is an input as well is a tensor of its own.
  expect(await kept["same"].toHost()).toEqual(host);
  for (const t of Object.values(kept)) t.dispose();
  await expect(kept["y"].data()).rejects.toThrow(DisposedError);
  await expect(second.run({ x: kept["y"] })).rejects.toThrow(DisposedError);
});

test("named outputs stay, the others are read back; a session that is gone takes none with it", async () => {
  const session = await compile(layer(), { device });
  const { y, double } = await session.run({ x: host }, { keepOnDevice: ["y"] });
  session.dispose();
  expect((double as typeof host).data).toBeInstanceOf(Float32Array);
  expect([...(await y.data())]).toEqual(multiplied(x));
  await expect(session.run({ x: host })).rejects.toThrow(DisposedError);
  using again = await compile(layer(), { device });
  await expect(again.run({ x: host }, { keepOnDevice: ["z"] })).rejects.toThrow(InputError);
});

test("outputs that nobody wants are neither read nor kept", async () => {
  using session = await compile(layer(), { device });
  const some = await session.run({ x: host }, { outputs: ["double"] });
  expect(Object.keys(some)).toEqual(["double"]);
  expect([...(some["double"].data as Float32Array)]).toEqual([...x].map((v) => v + v));
  let kept: Record<string, DeviceTensor> = {};
  const run = async () => {
    kept = await session.run({ x: host }, { outputs: ["y"], keepOnDevice: true });
  };
  expect(await counting(device.device, "createBuffer", run)).toBeLessThanOrEqual(1);
  expect(Object.keys(kept)).toEqual(["y"]);
  expect([...(await kept["y"].data())]).toEqual(multiplied(x));
  kept["y"].dispose();
  expect(await session.run({ x: host }, { outputs: [] })).toEqual({});
});

test("once tensors are given back, runs that keep make no buffers", async () => {
  const g = graph(({ input }) => {
    const v = input("x", "f32", ["n", 4]);
    return { y: relu(v), double: add(v, v) };
  });
  using session = await compile(g, { device });
  let x: typeof host | DeviceTensor = host;
  const run = async () => {
    const { y, double } = await session.run({ x }, { keepOnDevice: ["y"] });
    expect(double).toBeDefined();
    if (x instanceof DeviceTensor) x.dispose();
    x = y;
  };
  for (let i = 0; i < 2; i++) await run();
  expect(await counting(device.device, "createBuffer", run)).toBe(0);
  expect(await counting(device.device.queue, "submit", run)).toBe(1);
});

test("a run that is stopped, or whose session is disposed, leaves nothing on the device", async () => {
  const { findAdapter } = await import("../../src/backends/webgpu/gpu.ts");
  const own = await (await findAdapter({})).requestDevice();
  const live = liveBuffers(own);
  // Two stages: y is there while the second is planned.
  const g = graph(({ input }) => {
    const y = relu(input("x", "f32", ["n", 4]));
    return { y, z: add(cast(nonZero(y), { to: "f32" }), input("one", "f32", [1])) };
  });
  const inputs = { x: host, one: Float32Array.of(1) };
  const on = await openWebgpu({ device: own, fallback: "cpu" });
  const session = await compile(g, { device: on as Backend });
  await session.run(inputs);
  const before = live.size;
  let stopped = 0;
  for (let turns = 0; turns < 12; turns++) {
    const { signal, abort } = stoppedAfter(turns);
    const run = session.run(inputs, { signal, keepOnDevice: true });
    await abort;
    await run.then(
      (kept) => {
        for (const t of Object.values(kept)) t.dispose();
      },
      () => stopped++,
    );
  }
  expect(stopped).toBeGreaterThan(0);
  const left = [...live].filter((b) => b.label !== "a tensor that stays on the device");
  expect(left.length).toBe(before);
  expect(live.size - left.length).toBeLessThanOrEqual(2);
  session.dispose();
  // In the midst of its first run.
  const other = await compile(layer(), { device: on as Backend });
  const run = other.run({ x: host });
  await 0;
  other.dispose();
  await expect(run).rejects.toThrow(DisposedError);
  expect(other.bytes).toBe(0);
  expect(live.size).toBe(0);
  own.destroy();
});

test.each<[string, number, RunOptions]>([
  ["first", 0, {}],
  ["idle", 0, {}],
  ["queued", 2, {}],
  ["profiled", 1, { profile: true }],
  ["that can be stopped", 0, { signal: new AbortController().signal }],
])("a tensor that is disposed lasts for the run that takes it: %s", async (name, before, options) => {
  using session = await compile(layer(), { device });
  const { double } = await session.run({ x: host }, { keepOnDevice: ["double"] });
  using target = name === "first" ? await compile(layer(), { device }) : undefined;
  const { elements } = double;
  const runs = Array.from({ length: before }, () => session.run({ x: host }));
  const last = (target ?? session).run({ x: double }, options);
  double.dispose();
  double.dispose();
  expect(elements!.users).toBe(1);
  expect([...((await last).y.data as Float32Array)]).toEqual(multiplied(x.map((v) => 2 * v)));
  expect(elements!.users).toBe(0);
  await Promise.all(runs);
});

test("runs that don't come to run let go of what they take", async () => {
  using session = await compile(layer(), { device });
  const { y } = await session.run({ x: host }, { keepOnDevice: ["y"] });
  const { elements } = y;
  await expect(session.run({ x: y }, { keepOnDevice: ["none"] })).rejects.toThrow(InputError);
  await session.plan({ x: y });
  const run = session.run({ x: y });
  session.dispose();
  await expect(run).rejects.toThrow(DisposedError);
  expect(elements!.users).toBe(1);
  y.dispose();
});

test("of tensors that were given back so many are kept for others, while there are sessions", async () => {
  const { findAdapter } = await import("../../src/backends/webgpu/gpu.ts");
  const own = await (await findAdapter({})).requestDevice();
  const live = liveBuffers(own);
  const gpu = deviceOf(own);
  gpu.enter();
  gpu.enter();
  for (let i = 1; i <= 100; i++) gpu.giveBack(gpu.take(256 * i, "a tensor"));
  expect(live.size).toBeGreaterThan(32);
  expect(live.size).toBeLessThanOrEqual(64);
  const large = [1, 2, 3].map(() => gpu.take(2 ** 27, "a large tensor"));
  for (const b of large) gpu.giveBack(b);
  expect([...live]).toEqual(large.slice(1));
  expect(gpu.take(2 ** 27, "another")).toBe(large[1]);
  gpu.leave();
  expect(live.size).toBe(2);
  gpu.leave();
  expect([...live]).toEqual([large[1]]);
  gpu.giveBack(large[1]);
  expect(live.size).toBe(0);
  own.destroy();
});

/** Stops after some turns of the event loop. */
function stoppedAfter(turns: number): { signal: AbortSignal; abort: Promise<void> } {
  const controller = new AbortController();
  const abort = (async () => {
    for (let i = 0; i < turns; i++) await nextTurn();
    controller.abort();
  })();
  return { signal: controller.signal, abort };
}

test("types are checked, and tensors of another device refused", async () => {
  using session = await compile(layer(), { device });
  const { y } = await session.run({ x: host }, { keepOnDevice: ["y"] });
  const other = graph(({ input }) => {
    const v = input("x", "f32", [4, 3]);
    return { y: mul(v, v) };
  });
  using wrong = await compile(other, { device });
  await expect(wrong.run({ x: y })).rejects.toThrow(ShapeError);
  using integers = await compile(
    graph(({ input }) => ({ y: relu(input("x", "i32", ["n", 4])) })),
    { device },
  );
  await expect(integers.run({ x: y })).rejects.toThrow(DTypeError);
  using onHost = await compile(layer(), { device: wasm({ threads: 1 }) });
  await expect(onHost.run({ x: y })).rejects.toThrow(/another device.*toHost/);
  const { findAdapter } = await import("../../src/backends/webgpu/gpu.ts");
  const own = await (await findAdapter({})).requestDevice();
  using elsewhere = await compile(layer(), { device: await openWebgpu({ device: own }) });
  await expect(elsewhere.run({ x: y })).rejects.toThrow(DeviceError);
  const theirs = (await elsewhere.run({ x: host }, { keepOnDevice: ["y"] })).y;
  own.destroy();
  await own.lost;
  await expect(theirs.data()).rejects.toThrow(/lost/);
  theirs.dispose();
});

test("where a shape depends on a tensor of the device, it is read", async () => {
  using shapes = await compile(
    graph(({ input }) => {
      const v = input("v", "i64", [2]);
      return { v: add(v, v) };
    }),
    { device },
  );
  const { v } = await shapes.run({ v: BigInt64Array.of(1n, 3n) }, { keepOnDevice: ["v"] });
  using session = await compile(
    graph(({ input }) => ({ y: reshape(relu(input("x", "f32", [3, 4])), input("shape", "i64", [2])) })),
    { device },
  );
  for (let k = 0; k < 2; k++) {
    const { y } = await session.run({ x: host, shape: v });
    expect(y.shape).toEqual([2, 6]);
    expect([...(y.data as Float32Array)]).toEqual([...x].map((e) => Math.max(e, 0)));
  }
});

test.each<[string, () => Backend]>([
  ["cpu", () => cpu()],
  ["wasm", () => wasm({ threads: 1 })],
])("the same program runs on %s, whose memory is the host's", async (_, open) => {
  using session = await compile(layer(), { device: open() });
  const { y } = await session.run({ x: host }, { keepOnDevice: ["y"] });
  expect(y).toBeInstanceOf(DeviceTensor);
  const twice = await session.run({ x: y });
  expect([...(twice.y.data as Float32Array)]).toEqual(multiplied(Float32Array.from(multiplied(x))));
  // And what the host has, every device takes.
  using gpu = await compile(layer(), { device });
  expect((await gpu.run({ x: y })).y.data).toEqual(twice.y.data);
  y.dispose();
  await expect(session.run({ x: y })).rejects.toThrow(DisposedError);
});

test("warmup makes plans and pipelines before the first run", async () => {
  using session = await compile(layer(), { device });
  await expect(session.warmup()).rejects.toThrow(/"n": size/);
  await session.warmup({ n: 3 });
  const run = () => session.run({ x: host });
  expect(await counting(device.device, "createComputePipelineAsync", run)).toBe(0);
  expect(await counting(device.device, "createBuffer", run)).toBe(0);
  using onHost = await compile(layer(), { device: wasm({ threads: 1 }) });
  await onHost.warmup({ n: 3 });
  expect(onHost.explain()).not.toEqual([]);
});
