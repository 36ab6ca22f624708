/**
 * One engine in a process of its own: `fresh.mjs ENGINE MODEL SHAPE RUNS GIVEN` imports it, loads the model, given as its
 * "path" or as "bytes", runs it, and prints `{ ready, peak }`: milliseconds from the first line to the first output, and the
 * peak of memory in MB.
 */
const start = performance.now();

import type { HostTensor } from "../../src/index.ts";
import { peakBytes } from "./peak-bytes.ts";

const [engine, path, shapeText, runs, given] = process.argv.slice(2);
const shape = shapeText.split(",").map(Number);
const [name, threads] = engine.split(" x");
const { readFileSync } = await import("node:fs");
const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.5);

async function open(): Promise<() => Promise<unknown>> {
  const model = given === "path" ? path : readFileSync(path);
  if (name.startsWith("forwardpass")) {
    const dist = process.env["FORWARDPASS_DIST"];
    const index = dist
      ? `file://${dist.replace(/\/?$/, "/")}node/index.js`
      : new URL("../../dist/node/index.js", import.meta.url).href;
    const { load } = (await import(index)) as typeof import("../../src/index.ts");
    const device = name.endsWith("cpu") ? "cpu" : "wasm";
    const session = await load(model, { device, threads: threads ? Number(threads) : undefined });
    const x: HostTensor = { dtype: "f32", shape, data };
    return () => session.run({ x });
  }
  const web = name === "ort-web";
  const ort = web
    ? await import("onnxruntime-web")
    : ((await import("onnxruntime-node")) as never as typeof import("onnxruntime-web"));
  if (web && threads) ort.env.wasm.numThreads = Number(threads);
  const options = web ? { executionProviders: ["wasm"] } : { intraOpNumThreads: threads ? Number(threads) : 0 };
  const session = await ort.InferenceSession.create(model as never, options);
  return () => session.run({ x: new ort.Tensor("float32", data, shape) });
}

const run = await open();
await run();
const ready = performance.now() - start;
for (let i = 1; i < Number(runs); i++) await run();
console.log(JSON.stringify({ ready, peak: peakBytes() / 1e6 }));
process.exit(0);
