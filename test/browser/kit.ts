/** What browser tests ask of a page or a worker to do: bundled, loaded there, and called by name with plain values. */
import "gpu.js";
import type { Backend } from "../../src/backends/backend.ts";
import { gpujs, gpujsKernels } from "../../src/backends/gpujs/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { openWebgpu } from "../../src/backends/webgpu/index.ts";
import {
  add,
  compile,
  type DeviceName,
  elu,
  exp,
  type Graph,
  graph,
  type HostTensor,
  leakyRelu,
  load,
  log,
  logSoftmax,
  matmul,
  mish,
  neg,
  openDevice,
  relu,
  type Session,
  type SymbolicValue,
  sigmoid,
  softmax,
  softplus,
  tanh,
  tensor,
  thresholdedRelu,
} from "../../src/index.ts";
import { emptyTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { difference } from "../compare.ts";
import { type Case, runCaseFrom } from "../conformance/run.ts";
import { checkKernel } from "../kernel-property.ts";
import { type GoldenCase, worstDifference } from "../models/golden.ts";

export interface DeviceSpec {
  device: DeviceName;
  threads?: number;
}

/** With threads given, they divide also what is too small for it. */
const open = async ({ device, threads }: DeviceSpec): Promise<Backend> =>
  device === "wasm" && threads ? (wasm({ threads, parallelWork: 0 }) as Backend) : await openDevice(device);

async function bytesAt(url: string): Promise<Uint8Array> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Backends that exist in a browser, for property tests of their kernels. */
async function kernelsOf(device: DeviceName): Promise<Backend> {
  if (device === "cpu") return await openDevice(device);
  if (device === "webgpu") {
    const backend = await openWebgpu();
    return { ...backend, kernels: await backend.ownKernels() } as Backend;
  }
  const host = wasm({ threads: 1 });
  if (device === "gpujs") return { ...gpujs({ host }), kernels: gpujsKernels };
  return { ...host, kernels: await host.ownKernels() };
}

/** Calls `work` with the objects of WebGL that were made since and are not deleted yet. */
async function withObjects<T>(work: (objects: ReadonlySet<unknown>) => Promise<T>): Promise<T> {
  const objects = new Set<unknown>();
  const prototype = WebGL2RenderingContext.prototype as unknown as Record<string, (of?: unknown) => unknown>;
  const originals: typeof prototype = {};
  for (const kind of ["Texture", "Buffer", "Program", "Framebuffer", "Shader"]) {
    const [create, remove] = [prototype[`create${kind}`], prototype[`delete${kind}`]];
    Object.assign(originals, { [`create${kind}`]: create, [`delete${kind}`]: remove });
    prototype[`create${kind}`] = function (this: unknown, of) {
      const made = create.call(this, of);
      objects.add(made);
      return made;
    };
    prototype[`delete${kind}`] = function (this: unknown, made) {
      objects.delete(made);
      remove.call(this, made);
    };
  }
  try {
    return await work(objects);
  } finally {
    Object.assign(prototype, originals);
  }
}

const kit = {
  /** What this context has. */
  facts: async () => ({
    isolated: globalThis.crossOriginIsolated,
    worker: typeof window === "undefined",
    adapter: (await globalThis.navigator.gpu?.requestAdapter())?.info.architecture,
    webgl2: new OffscreenCanvas(1, 1).getContext("webgl2") !== null,
  }),

  /** Computes with tensors on the default device. */
  async product(): Promise<number[]> {
    using a = tensor([
      [1, 2],
      [3, 4],
    ]);
    return [...((await matmul(a, a).data()) as Float32Array)];
  },

  /** The largest difference from PyTorch's outputs of a model under /models/. */
  async golden(model: string, spec: DeviceSpec): Promise<number> {
    const { cases } = (await (await fetch(`/models/${model}/golden.json`)).json()) as { cases: GoldenCase[] };
    using session = await load(`/models/${model}/model.onnx`, { device: await open(spec) });
    return await worstDifference(session, cases);
  },

  /** The kernels that run a model under /models/. */
  async kernelsOfModel(model: string, spec: DeviceSpec): Promise<string[]> {
    using session = await load(`/models/${model}/model.onnx`, { device: await open(spec) });
    await session.run(zeros(session), { profile: true });
    return session.explain().map((s) => s.kernel);
  },

  defaultDevice: async () => (await openDevice()).name,

  /** What happens to a session whose WebGL context is lost after so many runs, and to one that is loaded then. */
  async loseContext(model: string, runs: number): Promise<{ error: string; again: boolean }> {
    let latest: WebGL2RenderingContext | null = null;
    const { getContext } = OffscreenCanvas.prototype;
    OffscreenCanvas.prototype.getContext = function (this: OffscreenCanvas, ...args: unknown[]) {
      return (latest = getContext.apply(this, args as never) as unknown as WebGL2RenderingContext);
    } as never;
    const device = await openDevice("gpujs");
    OffscreenCanvas.prototype.getContext = getContext;
    using session = await load(`/models/${model}/model.onnx`, { device });
    for (let i = 0; i < runs; i++) await session.run(zeros(session));
    latest!.getExtension("WEBGL_lose_context")!.loseContext();
    const error = await session.run(zeros(session)).then(
      () => "none",
      (e) => `${e.name}: ${e.message}`,
    );
    using second = await load(`/models/${model}/model.onnx`, { device });
    const [y] = Object.values(await second.run(zeros(second)));
    return { error, again: ((y as HostTensor).data as Float32Array).every(Number.isFinite) };
  },

  /** Runs conformance cases. Returns what is wrong, by id. */
  async conformance(cases: readonly Case[], spec: DeviceSpec): Promise<Record<string, string>> {
    const device = await open(spec);
    const wrong: Record<string, string> = {};
    for (const c of cases) {
      const message = await runCaseFrom((path) => bytesAt(`/conformance/${path}`), c, device);
      if (message) wrong[c.id] = message;
    }
    return wrong;
  },

  /** Loads a model by its URL and runs it on zeros. Returns the progress that was reported and the shape of its output. */
  async loadFrom(
    url: string,
    spec: DeviceSpec,
    cache = false,
  ): Promise<{ loaded: number; total: number; shape: readonly number[] }> {
    let loaded = 0;
    let total = 0;
    using session = await load(url, {
      cache,
      device: await open(spec),
      onProgress: (p) => {
        if (p.phase === "read") ({ loaded, total } = p);
      },
    });
    const [y] = Object.values(await session.run(zeros(session)));
    return { loaded, total, shape: (y as HostTensor).shape };
  },

  /** Runs one product again and again, with pauses in which threads can start. Returns whether all results were equal. */
  async repeat(spec: DeviceSpec, times: number): Promise<boolean> {
    const size = 256;
    const square = tensorFrom(1, "f32", [size, size]);
    const product = graph(({ input }) => ({
      y: matmul(input("a", "f32", [size, size]), input("b", "f32", [size, size])),
    }));
    using session = await compile(product, { device: await open(spec) });
    let first: Float32Array | undefined;
    for (let i = 0; i < times; i++) {
      const y = (await session.run({ a: square, b: square }))["y"].data as Float32Array;
      first ??= y;
      if (y.some((v, j) => v !== first![j])) return false;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return true;
  },

  kernels: async (device: DeviceName): Promise<string[]> => (await kernelsOf(device)).kernels.map((k) => k.name),

  /**
   * Objects of WebGL that are there while a session keeps the plans of the latest two shapes, after each of `shapes`, when it
   * is disposed, and what another one computes then.
   */
  async shapes(
    spec: DeviceSpec,
    shapes: readonly number[],
  ): Promise<{ live: number[]; left: number; again: number[] }> {
    return await withObjects(async (objects) => {
      const device = await open(spec);
      const net = graph(({ input }) => ({ y: softmax(exp(input("x", "f32", [2, "n"])), {}) }));
      const run = async (session: Session, n: number): Promise<HostTensor> =>
        (await session.run({ x: { dtype: "f32", shape: [2, n], data: new Float32Array(2 * n) } }))["y"];
      const live: number[] = [];
      using other = await compile(net, { device });
      using session = await compile(net, { device, plans: 2 });
      for (const n of shapes) {
        await run(session, n);
        live.push(objects.size);
      }
      session.dispose();
      const left = objects.size;
      return { live, left, again: [...((await run(other, 2)).data as Float32Array)] };
    });
  },

  /** The same after each of so many sessions on devices opened for them, and what one that is there all the time computes then. */
  async sessions(spec: DeviceSpec, times: number): Promise<{ live: number[]; again: number[] }> {
    const one: HostTensor = { dtype: "f32", shape: [1], data: Float32Array.of(1) };
    const net = (op: typeof exp): Graph =>
      graph(({ input, weight }) => ({ y: add(op(input("x", "f32", [1])), weight(one)) }));
    const run = async (session: Session): Promise<number[]> => [
      ...((await session.run({ x: one }))["y"].data as Float32Array),
    ];
    return await withObjects(async (objects) => {
      using staying = await compile(net(neg), { device: await open(spec) });
      await run(staying);
      const live: number[] = [];
      for (let i = 0; i < times; i++) {
        const session = await compile(net(relu), { device: await open(spec) });
        await run(session);
        session.dispose();
        live.push(objects.size);
      }
      return { live, again: await run(staying) };
    });
  },

  /** What becomes of NaN and infinity, also as attributes, where it is not what the cpu device says: by operator. */
  async specials(spec: DeviceSpec): Promise<Record<string, string | undefined>> {
    const rows = [Number.NaN, 1, 2, Infinity, 1, -1, -Infinity, 0, 0.5];
    const x = { dtype: "f32", shape: [3, 3], data: Float32Array.from(rows) } as const;
    const wrong: Record<string, string | undefined> = {};
    const byAlpha = [NaN, Infinity].flatMap((alpha) =>
      Object.entries({
        leakyRelu: (v: SymbolicValue) => leakyRelu(v, { alpha }),
        thresholdedRelu: (v: SymbolicValue) => thresholdedRelu(v, { alpha }),
        elu: (v: SymbolicValue) => elu(v, { alpha }),
        "product and leakyRelu": (v: SymbolicValue) => leakyRelu(matmul(v, v), { alpha }),
      }).map(([name, op]) => [`${name} by ${alpha}`, op] as const),
    );
    const operators = { exp, log, sigmoid, tanh, softplus, mish, softmax, logSoftmax };
    for (const [name, op] of [...Object.entries(operators), ...byAlpha]) {
      const net = graph(({ input }) => ({
        y: (op as (x: SymbolicValue, a: object) => SymbolicValue)(input("x", "f32", [3, 3]), {}),
      }));
      const [got, want] = await Promise.all(
        [await open(spec), await openDevice("cpu")].map(async (device) => {
          using session = await compile(net, { device });
          return (await session.run({ x }))["y"];
        }),
      );
      const message = difference(got, want, { absolute: 1e-5, relative: 1e-5 });
      if (message) wrong[name] = message;
    }
    return wrong;
  },

  /** Checks kernels against their references with generated inputs. Returns what is wrong, by kernel. */
  async properties(device: DeviceName, runs: number): Promise<Record<string, string>> {
    const backend = await kernelsOf(device);
    const wrong: Record<string, string> = {};
    for (const kernel of backend.kernels)
      await checkKernel(backend, kernel, runs).catch((e) => {
        // What differs is the cause; the message has the seed and the smallest case.
        const { cause, message } = e as Error;
        wrong[kernel.name] = [(cause as Error | undefined)?.message, message].filter(Boolean).join("\n");
      });
    return wrong;
  },
};

export type Kit = typeof kit;

const zeros = (session: Session): Record<string, HostTensor> =>
  Object.fromEntries(
    session.inputs.map(({ name, dtype, shape }) => {
      const free = { dtype: dtype!, shape: shape!.map((d) => (typeof d === "number" ? d : 1)) };
      return [name, emptyTensor(free)];
    }),
  );

const call = (name: keyof Kit, args: unknown[]): Promise<unknown> =>
  (kit[name] as (...args: unknown[]) => Promise<unknown>)(...args);

if (typeof window !== "undefined") Object.assign(globalThis, { kit });
else
  globalThis.onmessage = async ({ data: [name, args] }: MessageEvent) => {
    try {
      postMessage({ result: await call(name, args) });
    } catch (e) {
      postMessage({ error: String((e as Error).stack ?? e) });
    }
  };
