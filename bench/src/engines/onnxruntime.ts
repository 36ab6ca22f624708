/** onnxruntime-web (its wasm backend) and onnxruntime-node. */
import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import { smallTask } from "../task.ts";
import type { Engine } from "./engine.ts";
import { type Ort, ortEngine } from "./ort-engine.ts";

const require = createRequire(import.meta.url);

/** A copy of the package of its own: the number of threads is a setting of the whole package. */
function freshCopy(name: string): Ort {
  for (const path of Object.keys(require.cache))
    if (/onnxruntime-(web|node|common)/.test(path)) delete require.cache[path];
  return require(name) as Ort;
}

/** Its worker threads start here, with `Worker` global as it wants; afterwards others find plain Node again. */
export async function ortWeb(threads: number, baseline: string): Promise<Engine> {
  const ort = freshCopy("onnxruntime-web");
  ort.env.wasm.numThreads = threads;
  Object.assign(globalThis, { Worker });
  const engine = ortEngine(`ort-web x${threads}`, ort, { executionProviders: ["wasm"] }, baseline);
  const task = smallTask("relu", 0, { x: [1] }, (m) => ({ output: m.node("Relu", ["x"]), shape: [1] }));
  await (await engine.load(task)).dispose();
  Reflect.deleteProperty(globalThis, "Worker");
  return engine;
}

let native: Ort | undefined;

/** Its native part starts once in a process; threads are an option of the session. */
export function ortNode(threads: number, baseline: string): Engine {
  native ??= freshCopy("onnxruntime-node");
  return ortEngine(`ort-node x${threads}`, native, { intraOpNumThreads: threads, interOpNumThreads: 1 }, baseline);
}
