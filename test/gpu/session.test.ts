/** What a GPU session takes from its device, and what becomes of it when that fails. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { describe, expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { openWebgpu, webgpu } from "../../src/backends/webgpu/index.ts";
import type { WebgpuSession } from "../../src/backends/webgpu/session.ts";
import {
  add,
  type Backend,
  compile,
  DeviceError,
  exp,
  type Graph,
  graph,
  InputError,
  mul,
  openDevice,
  relu,
  sigmoid,
  UnsupportedOpError,
} from "../../src/index.ts";
import * as ops from "../../src/ops/index.ts";
import { counting } from "./counting.ts";
import { installDawn } from "./dawn.ts";

await installDawn();

const n = 64;
const x = Float32Array.from({ length: n }, (_, i) => i / 8 - 4);
const hidden = (v: number): number => Math.max(v * v + v, 0);

/** Four elementwise nodes, of which the second is an output too. */
const chain = (): Graph =>
  graph(({ input }) => {
    const v = input("x", "f32", [n]);
    const h = relu(add(mul(v, v), v));
    return { y: sigmoid(mul(h, v)), h };
  });

describe("a session on the GPU", () => {
  test("joins elementwise steps, and stores what is read twice", async () => {
    const device = await openWebgpu();
    using session = await compile(chain(), { device });
    const { y, h } = await session.run({ x });
    x.forEach((v, i) => {
      expect(h.data[i]).toBeCloseTo(hidden(v), 4);
      expect(y.data[i]).toBeCloseTo(1 / (1 + Math.exp(-hidden(v) * v)), 5);
    });
    const steps = session.explain();
    expect(steps.map((s) => s.kernel)).toEqual(["webgpu/elementwise/fused", "webgpu/elementwise/fused"]);
    expect(steps.map((s) => s.dispatches)).toEqual([1, 1]);
  });

  test("makes no buffer after its first run, submits once and reads back once", async () => {
    const device = await openWebgpu();
    using session = await compile(chain(), { device });
    await session.run({ x });
    const again = () => session.run({ x });
    expect(await counting(device.device, "createBuffer", again)).toBe(0);
    expect(await counting(device.device, "createBindGroup", again)).toBe(0);
    expect(await counting(device.device.queue, "submit", again)).toBe(1);
    expect(await counting(Object.getPrototypeOf(await probe(device.device)), "mapAsync", again)).toBe(1);
  });

  test("refuses to run at once, and what was submitted until then fails for nobody", async () => {
    using session = await compile(chain(), { device: await openWebgpu() });
    const unhandled: unknown[] = [];
    const listener = (e: unknown) => unhandled.push(e);
    process.on("unhandledRejection", listener);
    try {
      expect(() => session.runSync({ x })).toThrow(/runSync: waits for a device: use run/);
      await session.run({ x });
      expect(() => session.runSync({ x })).toThrow(DeviceError);
      expect((await session.run({ x })).h.data[0]).toBeCloseTo(hidden(x[0]), 4);
      await new Promise((resolve) => setTimeout(resolve, 20));
    } finally {
      process.off("unhandledRejection", listener);
    }
    expect(unhandled).toEqual([]);
  });

  test("gives back the buffers of plans that are kept no longer", async () => {
    const device = await openWebgpu();
    const g = graph(({ input }) => ({ y: ops.reduceSum(exp(input("x", "f32", ["n"])), undefined, {}) }));
    using session = await compile(g, { device, plans: 2 });
    const bytes: number[] = [];
    for (const size of [100, 1e6, 100, 200, 100]) {
      await session.run({ x: new Float32Array(size) });
      bytes.push(session.bytes);
    }
    expect(bytes[1]).toBeGreaterThan(8e6);
    // The plan of a million went with the third one.
    expect(bytes[2]).toBe(bytes[1]);
    expect(bytes[3]).toBeLessThan(1e4);
    expect(bytes[4]).toBe(bytes[3]);
  });

  test("measures each step", async () => {
    const device = await openWebgpu();
    using session = await compile(chain(), { device });
    await session.run({ x }, { profile: true });
    for (const s of session.explain()) expect(s.ms).toBeGreaterThanOrEqual(0);
  });

  test("measures by the device's own clock where it has one, and by waiting where not", async () => {
    const shape = [256, 256];
    const g = graph(({ input }) => ({ y: ops.matmul(input("a", "f32", shape), input("b", "f32", shape)) }));
    const data = new Float32Array(256 * 256);
    const { findAdapter } = await import("../../src/backends/webgpu/gpu.ts");
    const clockless = await (await findAdapter({})).requestDevice();
    for (const device of [await openWebgpu(), await openWebgpu({ device: clockless })]) {
      using session = await compile(g, { device });
      const run = () => session.run({ a: data, b: data }, { profile: true });
      const before = performance.now();
      const queries = await counting(device.device, "createQuerySet", run);
      const wall = performance.now() - before;
      expect(queries).toBe(device.device.features.has("timestamp-query") ? 1 : 0);
      const [{ ms }] = session.explain();
      expect(ms).toBeGreaterThan(0);
      expect(ms).toBeLessThan(wall);
    }
    expect(clockless.features.has("timestamp-query")).toBe(false);
    clockless.destroy();
  });

  test("tells of the shaders that it compiles", async () => {
    const seen: string[] = [];
    const device = await openWebgpu({ onProgress: ({ done, total }) => seen.push(`${done}/${total}`) });
    using session = await compile(chain(), { device });
    await session.run({ x });
    expect(seen).toEqual(["0/2", "1/2", "2/2"]);
    // Other sessions of the device find them there.
    using other = await compile(chain(), { device: await openWebgpu() });
    const again = () => other.run({ x });
    expect(await counting(device.device, "createComputePipelineAsync", again)).toBe(0);
  });

  test("refuses what 32 bits don't hold, and takes what they do", async () => {
    const device = await openWebgpu();
    const g = graph(({ input }) => ({ y: add(input("a", "i64", [2]), input("b", "i64", [2])) }));
    using session = await compile(g, { device });
    const b = BigInt64Array.of(1n, 2n);
    await expect(session.run({ a: BigInt64Array.of(1n << 40n, 0n), b })).rejects.toThrow(InputError);
    expect((await session.run({ a: BigInt64Array.of(-7n, 2n ** 30n), b })).y.data).toEqual(
      BigInt64Array.of(-6n, 2n ** 30n + 2n),
    );
  });

  test("lists every operator that it has no kernel for, or runs them on the host where that is asked for", async () => {
    const g = graph(({ input }) => {
      const a = input("a", "f32", [2, 2]);
      return { y: relu(ops.det(a)), z: ops.eyeLike(a, {}), w: ops.det(mul(a, a)) };
    });
    const a = Float32Array.of(1, 2, 3, 4);
    using strict = await compile(g, { device: await openWebgpu() });
    const error = await strict.run({ a }).catch((e) => e);
    expect(error).toBeInstanceOf(UnsupportedOpError);
    expect(error.missing).toHaveLength(2);
    using lenient = await compile(g, { device: await openWebgpu({ fallback: "cpu" }) });
    const { y, z, w } = await lenient.run({ a });
    expect([...(y.data as Float32Array)]).toEqual([0]);
    expect([...(z.data as Float32Array)]).toEqual([1, 0, 0, 1]);
    expect((w.data as Float32Array)[0]).toBeCloseTo(1 * 16 - 4 * 9, 4);
  });
});

test("without navigator.gpu, the package webgpu is found", async () => {
  const { findGpu } = await import("../../src/backends/webgpu/gpu.ts");
  const installed = Object.getOwnPropertyDescriptor(navigator, "gpu")!;
  try {
    Reflect.deleteProperty(navigator, "gpu");
    expect((await (await findGpu()).requestAdapter())?.limits.maxBufferSize).toBeGreaterThan(0);
  } finally {
    Object.defineProperty(navigator, "gpu", installed);
  }
});

test("in Node without the package webgpu, the error says what to install", async () => {
  const folder = await mkdtemp(join(tmpdir(), "forwardpass-peer-"));
  try {
    await build({
      stdin: {
        contents: `import { openDevice } from "./src/device.ts";
import { webgpu } from "./src/backends/webgpu/index.ts";
console.log(String(await webgpu()), await openDevice("webgpu").catch((e) => e.name + ": " + e.message));`,
        resolveDir: fileURLToPath(new URL("../..", import.meta.url)),
      },
      bundle: true,
      outfile: join(folder, "open.mjs"),
      platform: "node",
      format: "esm",
      packages: "external",
      logLevel: "error",
    });
    const { stdout } = await promisify(execFile)(process.execPath, [join(folder, "open.mjs")]);
    expect(stdout).toMatch(/^undefined DeviceError: .*npm install webgpu/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("importing the core pulls in no WebGPU code", async () => {
  /** The code that is loaded with an entry, without what it imports when it is needed. */
  const bundle = async (file: string): Promise<string> => {
    const { outputFiles, metafile } = await build({
      entryPoints: [file],
      bundle: true,
      splitting: true,
      metafile: true,
      write: false,
      format: "esm",
      outdir: "out",
      platform: "neutral",
      external: ["node:*"],
      logLevel: "silent",
    });
    const names = new Set(Object.keys(metafile.outputs).filter((name) => metafile.outputs[name].entryPoint === file));
    for (const name of names)
      for (const { path, kind } of metafile.outputs[name].imports) if (kind === "import-statement") names.add(path);
    expect(names.size).toBeGreaterThan(0);
    return [...names].map((name) => outputFiles.find((f) => f.path.endsWith(name))?.text ?? "").join("\n");
  };
  expect(await bundle("src/backends/webgpu/index.ts")).toContain("createComputePipelineAsync");
  expect(await bundle("src/index.ts")).not.toContain("createComputePipelineAsync");
});

describe("trouble with the device", () => {
  const request = async (): Promise<GPUDevice> => {
    const { findAdapter } = await import("../../src/backends/webgpu/gpu.ts");
    return await (await findAdapter({})).requestDevice();
  };

  test("a device lost between and during runs is a DeviceError, and the next one works", async () => {
    const own = await request();
    const device = await openWebgpu({ device: own });
    const session = await compile(chain(), { device });
    await session.run({ x });
    const running = session.run({ x });
    own.destroy();
    await expect(running).rejects.toThrow(DeviceError);
    await expect(session.run({ x })).rejects.toThrow(/lost.*load the model again/);
    session.dispose();
    expect(() => device.open()).toThrow(DeviceError);
    for (const name of ["webgpu", "cpu"] as const) {
      using again = await compile(chain(), { device: await openDevice(name) });
      expect((await again.run({ x })).h.data[0]).toBeCloseTo(hidden(x[0]), 4);
    }
  });

  test("the shared device is opened anew after it was lost", async () => {
    const first = await openWebgpu();
    first.device.destroy();
    await first.device.lost;
    const second = await openWebgpu();
    expect(second.device).not.toBe(first.device);
    using session = await compile(chain(), { device: second });
    expect((await session.run({ x })).h.data[0]).toBeCloseTo(hidden(x[0]), 4);
  });

  test("a backend that is opened while the last other one is disposed has a device", async () => {
    const others = await openWebgpu();
    others.device.destroy();
    await others.device.lost;
    const last = await openWebgpu();
    const opening = openWebgpu();
    last.dispose();
    using session = await compile(chain(), { device: await opening });
    expect((await session.run({ x })).h.data[0]).toBeCloseTo(hidden(x[0]), 4);
  });

  test("a device that others use, or gave, is not destroyed", async () => {
    const own = await request();
    const given = await openWebgpu({ device: own });
    using _ = await compile(chain(), { device: given });
    given.dispose();
    await own.queue.onSubmittedWorkDone();
    own.pushErrorScope("validation");
    own.createBuffer({ size: 16, usage: 128 }).destroy();
    expect(await own.popErrorScope()).toBeNull();
    const [a, b] = [await openWebgpu(), await openWebgpu()];
    expect(a.device).toBe(b.device);
    using session = await compile(chain(), { device: b });
    a.dispose();
    a.dispose();
    expect((await session.run({ x })).h.data[0]).toBeCloseTo(hidden(x[0]), 4);
    own.destroy();
  });

  test("values larger than a binding are refused with a DeviceError", async () => {
    const own = await request();
    const device = await openWebgpu({ device: own });
    const rows = own.limits.maxStorageBufferBindingSize / 4;
    const g = graph(({ input }) => ({
      y: ops.reshape(exp(add(input("a", "f32", [1]), input("b", "f32", [rows + 1]))), [-1]),
    }));
    using session = await compile(g, { device });
    await expect(session.run({ a: new Float32Array(1), b: new Float32Array(rows + 1) })).rejects.toThrow(DeviceError);
    own.destroy();
  });

  const software = process.env["VK_DRIVER_FILES"]?.includes("swiftshader");

  // Elsewhere a gigabyte may well be there.
  test.skipIf(!software)(
    "out of memory is a DeviceError that says what to do, and leaves all else usable",
    async () => {
      const device = await openWebgpu();
      const count = 2 ** 28;
      const g = graph(({ input }) => {
        const v = input("x", "f32", [n]);
        return { y: ops.reduceSum(ops.expand(input("one", "f32", [1]), [count]), {}), h: relu(v) };
      });
      using session = await compile(g, { device });
      const inputs = { x, one: Float32Array.of(1) };
      for (let k = 0; k < 2; k++) {
        const error = await session.run(inputs).catch((e) => e);
        expect(error).toBeInstanceOf(DeviceError);
        expect(error.message).toMatch(/out of memory while .*; try smaller inputs or the wasm device/);
      }
      const expectUsable = async (used: Backend) => {
        using other = await compile(chain(), { device: used });
        expect((await other.run({ x })).h.data[0]).toBeCloseTo(hidden(x[0]), 4);
      };
      await expectUsable(device);
      await expectUsable(cpu());
      await expectUsable(wasm({ threads: 1 }));
      // And so does a result that is to stay, and a cache that is to grow.
      const { GpuState } = await import("../../src/backends/webgpu/state.ts");
      const store = device.open() as WebgpuSession;
      const state = new GpuState(store, [{ dtype: "f32", shape: [count, 1] }]);
      state.reserve(count);
      await expect(store.grown()).rejects.toThrow(/out of memory while growing the state/);
      store.dispose();
    },
  );

  test("where there is no adapter, webgpu() is undefined and openWebgpu() says what to do", async () => {
    const own = Object.getOwnPropertyDescriptor(navigator, "gpu")!;
    const { device } = await openWebgpu();
    device.destroy();
    await device.lost;
    try {
      for (const requestAdapter of [async () => null, async () => Promise.reject(new Error("no driver"))]) {
        Object.defineProperty(navigator, "gpu", { value: { requestAdapter }, configurable: true });
        expect(await webgpu()).toBeUndefined();
        await expect(openWebgpu()).rejects.toThrow(DeviceError);
        await expect(openDevice("webgpu")).rejects.toThrow(/adapter/);
      }
      using onHost = await compile(chain(), { device: await openDevice("cpu") });
      expect((await onHost.run({ x })).h.data[0]).toBeCloseTo(hidden(x[0]), 4);
    } finally {
      Object.defineProperty(navigator, "gpu", own);
    }
    expect(await webgpu()).toBeDefined();
  });

  test("a shader that does not compile is a DeviceError with the compiler's words", async () => {
    const { deviceOf } = await import("../../src/backends/webgpu/device.ts");
    const own = await request();
    const gpu = deviceOf(own);
    await expect(gpu.pipeline("fn main( {", [], "broken")).rejects.toThrow(/shader of broken/);
    own.destroy();
  });
});

async function probe(device: GPUDevice): Promise<GPUBuffer> {
  return device.createBuffer({ size: 16, usage: 128 });
}

test("arrays that are written into while a run waits for its plan, or for what is read back", async () => {
  const device = (await openWebgpu({ fallback: "cpu" })) as Backend;
  const added = graph(({ input }) => ({ y: ops.add(input("x", "f32", [1]), input("z", "f32", [1])) }));
  // Which elements are not zero comes back before z is read.
  const staged = graph(({ input }) => {
    const places = ops.nonZero(exp(input("x", "f32", [3])));
    return { y: ops.add(ops.cast(places, { to: "f32" }), input("z", "f32", [1])) };
  });
  for (const [net, size, want] of [
    [added, 1, [11]],
    [staged, 3, [10, 11, 12]],
  ] as const) {
    using session = await compile(net, { device });
    for (let i = 0; i < 2; i++) {
      const [x, z] = [new Float32Array(size).fill(1), Float32Array.of(10)];
      const run = session.run({ x, z });
      x.fill(99);
      z.fill(99);
      expect([...((await run).y.data as Float32Array)]).toEqual(want);
    }
  }
});

test("arrays in memory that threads share", async () => {
  const device = (await openWebgpu()) as Backend;
  using session = await compile(
    graph(({ input }) => ({ y: exp(input("x", "f32", ["n"])) })),
    { device },
  );
  for (let i = 0; i < 2; i++)
    expect([...(await session.run({ x: new Float32Array(new SharedArrayBuffer(12)) })).y.data]).toEqual([1, 1, 1]);
});
