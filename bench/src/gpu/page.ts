/** In a page: this project and its peers, in turn on the same GPU. */
import type * as Webgpu from "../../../src/backends/webgpu/index.ts";
import type * as Root from "../../../src/index.ts";
import type * as Tasks from "../../../src/tasks/index.ts";
import type { Engine } from "../engines/engine.ts";
import { forwardpassWebgpu } from "../engines/forwardpass-webgpu.ts";
import { gpujs } from "../engines/gpujs.ts";
import { jax } from "../engines/jax.ts";
import { type Ort, ortEngine } from "../engines/ort-engine.ts";
import { answer } from "./answer.ts";
import type { Request, Told } from "./protocol.ts";

const own = "forwardpass page";

/** Modules that the server has as they are: the build of this project, and onnxruntime's, which fetches its other half. */
const served = <T>(path: string): Promise<T> => import(path) as Promise<T>;

async function onnxruntime(): Promise<Engine> {
  const ort = await served<Ort>("/onnxruntime/ort.webgpu.bundle.min.mjs");
  ort.env.wasm.wasmPaths = "/onnxruntime/";
  ort.env.wasm.numThreads = 1;
  return ortEngine("ort-web webgpu", ort, { executionProviders: ["webgpu"] }, own);
}

const peers: Readonly<Record<string, () => Promise<Engine>>> = {
  "ort-web": onnxruntime,
  "jax-js": () => jax(own, "webgpu"),
  tfjs: async () => (await import("../engines/tfjs-webgpu.ts")).tfjsWebgpu(own),
  "gpu.js": () => gpujs(own),
};

/** Ours first. What can't be had is said. */
async function openEngines(device: Webgpu.WebgpuBackend, wanted: readonly string[]): Promise<Engine[]> {
  const engines = [forwardpassWebgpu(own, await served<typeof Root>("/dist/index.js"), device)];
  for (const [name, open] of Object.entries(peers)) {
    if (wanted.length && !wanted.some((w) => name.startsWith(w))) continue;
    try {
      engines.push(await open());
    } catch (e) {
      tell({ kind: "trouble", message: `${name} is left out: ${(e as Error).message.split("\n")[0]}` });
    }
  }
  return engines;
}

const { tell } = globalThis as unknown as { tell(message: Told): void };

async function measureFor(request: Request): Promise<void> {
  const { openWebgpu } = await served<typeof Webgpu>("/dist/webgpu.js");
  const device = await openWebgpu();
  await answer(request, {
    device,
    own,
    tell,
    loadTextGeneration: async () => (await served<typeof Tasks>("/dist/tasks.js")).textGeneration,
    openEngines: () => openEngines(device, request.engines),
    readFile: async (path) => new Uint8Array(await (await fetch(`/${path}`)).arrayBuffer()),
  });
}

Object.assign(globalThis, { measureFor });
