/** Models run here, off the page's own thread: it stays smooth, and threads of the wasm backend may sleep. */
import type { WebgpuBackend } from "../../src/backends/webgpu/index.ts";
import { type Backend, type DeviceName, load, openDevice, type Session, type StepInfo } from "../../src/index.ts";
import { type TextGenerator, textGeneration } from "../../src/tasks/index.ts";
import { type Verification, verifyAll } from "./verify.ts";

export interface Timing {
  kernel: string;
  ms: number;
  /** Steps that it ran. */
  count: number;
}

export interface Answer {
  logits: Float32Array;
  ms: number;
  timings: Timing[];
}

export interface Told {
  tokens: number;
  perSecond: number;
  timings: Timing[];
}

interface LoadedBytes {
  loaded: number;
  total: number;
}

type Nothing = (value: never) => void;

let device: Backend | undefined;
let sessions = new Map<string, Session>();
let story: { source: string | File; model: TextGenerator } | undefined;
let stopping: AbortController | undefined;

function timingsOf(steps: readonly StepInfo[]): Timing[] {
  const rows = new Map<string, Timing>();
  for (const { kernel, ms } of steps) {
    if (ms === undefined) continue;
    const row = rows.get(kernel) ?? { kernel, ms: 0, count: 0 };
    rows.set(kernel, { kernel, ms: row.ms + ms, count: row.count + 1 });
  }
  return [...rows.values()].sort((a, b) => b.ms - a.ms);
}

async function session(model: string): Promise<Session> {
  let found = sessions.get(model);
  if (!found) sessions.set(model, (found = await load(new URL(`models/${model}.onnx`, base).href, { device })));
  return found;
}

/** The page's folder: the worker's own is elsewhere once bundled. */
let base = "";

export const engine = {
  /** Which backends there are here. */
  async backends(_report: Nothing, page: string): Promise<Record<DeviceName, boolean>> {
    base = page;
    const webgl = new OffscreenCanvas(1, 1).getContext("webgl2")?.getExtension("EXT_color_buffer_float");
    const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
    return { cpu: true, wasm: true, webgpu: Boolean(adapter), gpujs: Boolean(webgl) };
  },

  /** Switches to a backend. Returns a few words on it. */
  async use(_report: Nothing, name: DeviceName): Promise<string> {
    stopping?.abort();
    for (const s of sessions.values()) s.dispose();
    sessions = new Map();
    story?.model.dispose();
    story = undefined;
    if (name === "gpujs") await import("gpu.js");
    device = await openDevice(name);
    if (name === "webgpu") {
      const { vendor, architecture } = (device as WebgpuBackend).device.adapterInfo;
      const software = architecture === "swiftshader" ? "(in software, on the CPU)" : "";
      return [vendor, architecture, software].filter(Boolean).join(" ") || "your GPU";
    }
    if (name === "gpujs") return "through gpu.js; stories on WebAssembly";
    if (name === "cpu") return "plain typed arrays, one thread";
    const threads = crossOriginIsolated && typeof SharedArrayBuffer !== "undefined";
    return threads ? `SIMD, ${Math.min(navigator.hardwareConcurrency, 8)} threads` : "SIMD, one thread";
  },

  /** Scores of a picture, the time of a run that was warmed up, and where it goes. */
  async classify(_report: Nothing, model: string, pixels: Float32Array): Promise<Answer> {
    const net = await session(model);
    await net.run({ image: pixels });
    const start = performance.now();
    const { logits } = await net.run({ image: pixels });
    const ms = performance.now() - start;
    await net.run({ image: pixels }, { profile: true });
    return { logits: logits.data as Float32Array, ms, timings: timingsOf(net.explain()) };
  },

  /** Continues a text, piece by piece. Undefined where it was stopped before it began, or by another backend. */
  async tell(
    report: (event: { piece: string } | LoadedBytes) => void,
    source: string | File,
    prompt: string,
    temperature: number,
  ): Promise<Told | undefined> {
    stopping = new AbortController();
    const { signal } = stopping;
    try {
      const model = await storyModel(source, signal, report);
      const stream = model.stream(prompt, { maxTokens: 200, temperature, signal });
      try {
        for await (const piece of stream) report({ piece });
      } catch (e) {
        if (!signal.aborted) throw e;
      }
      const { tokens, decodeMs } = stream.generation;
      return {
        tokens: tokens.length,
        perSecond: tokens.length > 1 ? ((tokens.length - 1) / decodeMs) * 1000 : 0,
        timings: await profileToken(model, await model.tokensOf(prompt)),
      };
    } catch (e) {
      if (!signal.aborted) throw e;
      return undefined;
    }
  },

  async stop(_report: Nothing): Promise<void> {
    stopping?.abort();
  },

  /** Operators against their references, row by row. */
  verify: async (report: (row: Verification) => void): Promise<void> => await verifyAll(device!, report),
};

/** The latest one, or another in its place. */
async function storyModel(
  source: string | File,
  signal: AbortSignal,
  report: (event: LoadedBytes) => void,
): Promise<TextGenerator> {
  if (story?.source === source) return story.model;
  story?.model.dispose();
  story = undefined;
  const model = await textGeneration(typeof source === "string" ? new URL(source, base).href : source, {
    // One token at a time is too little work for WebGL.
    device: device?.name === "gpujs" ? "wasm" : device,
    signal,
    onProgress: ({ phase, loaded, total }) => phase === "read" && report({ loaded, total }),
  });
  // Its last steps look at no signal, and the backend may be another one by now.
  if (signal.aborted) {
    model.dispose();
    throw signal.reason;
  }
  story = { source, model };
  return model;
}

/** Where the time of one token goes, at the end of a short text. */
async function profileToken(model: TextGenerator, tokens: readonly number[]): Promise<Timing[]> {
  const sequence = model.decoder.sequence();
  try {
    await sequence.feed(tokens);
    await sequence.feed(tokens.slice(-1), { profile: true });
    // Only the plan of one token was measured.
    return timingsOf(model.decoder.session.explain());
  } finally {
    sequence.dispose();
  }
}

export type Engine = typeof engine;
