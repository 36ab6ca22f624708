/** In a page: this project and its peers, in turn on the same GPU. */
import type * as Webgpu from "../../../src/backends/webgpu/index.ts";
import type * as Root from "../../../src/index.ts";
import type * as Tasks from "../../../src/tasks/index.ts";
import type { Engine } from "../engines/engine.ts";
import { forwardpassWebgpu } from "../engines/forwardpass-webgpu.ts";
import { gpujs } from "../engines/gpujs.ts";
import { jax } from "../engines/jax.ts";
import { type Ort, ortEngine } from "../engines/ort-engine.ts";
import { adapterOf } from "./adapter.ts";
import { measureCeilings } from "./ceilings.ts";
import { gpuEffort, type Request, spanOf, type Told } from "./protocol.ts";
import { workloads } from "./workloads.ts";

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
  if (request.workload === "ceilings") {
    const adapter = adapterOf(device.device);
    tell({ kind: "adapter", adapter });
    const wanted = !adapter.software || request.swiftshader;
    if (wanted) tell({ kind: "ceilings", ceilings: await measureCeilings(device.device, spanOf(request)) });
    return;
  }
  const { textGeneration } = await served<typeof Tasks>("/dist/tasks.js");
  await workloads
    .find((w) => w.name === request.workload)!
    .run({
      device,
      own,
      textGeneration,
      languageModels: request.languageModels,
      threads: [1],
      effort: gpuEffort(request),
      quick: request.quick === true,
      wants: (name) => name.includes(request.case),
      wantsEngine: () => true,
      openEngines: () => openEngines(device, request.engines),
      readFile: async (path) => new Uint8Array(await (await fetch(`/${path}`)).arrayBuffer()),
      report: (result) => tell({ kind: "result", result }),
    });
}

Object.assign(globalThis, { measureFor });
