/**
 * One engine in a process of its own: `fresh.mjs ENGINE MODEL SHAPE RUNS` imports it, loads the model, runs it, and
 * prints `{ ready, peak }`: milliseconds from the first line to the first output, and the peak of memory in MB.
 */
const start = performance.now();

import type { HostTensor } from "../../src/index.ts";

const [engine, path, shapeText, runs] = process.argv.slice(2);
const shape = shapeText.split(",").map(Number);
const [name, threads] = engine.split(" x");
const { readFileSync } = await import("node:fs");
const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.5);

async function open(): Promise<() => Promise<unknown>> {
  const bytes = readFileSync(path);
  if (name.startsWith("forwardpass")) {
    const dist = process.env["FORWARDPASS_DIST"];
    const index = dist
      ? `file://${dist.replace(/\/?$/, "/")}node/index.js`
      : new URL("../../dist/node/index.js", import.meta.url).href;
    const { load } = (await import(index)) as typeof import("../../src/index.ts");
    const device = name.endsWith("cpu") ? "cpu" : "wasm";
    const session = await load(bytes, { device, threads: threads ? Number(threads) : undefined });
    const x: HostTensor = { dtype: "f32", shape, data };
    return () => session.run({ x });
  }
  const web = name === "ort-web";
  const ort = web
    ? await import("onnxruntime-web")
    : ((await import("onnxruntime-node")) as never as typeof import("onnxruntime-web"));
  if (web && threads) ort.env.wasm.numThreads = Number(threads);
  const options = web ? { executionProviders: ["wasm"] } : { intraOpNumThreads: threads ? Number(threads) : 0 };
  const session = await ort.InferenceSession.create(bytes, options);
  return () => session.run({ x: new ort.Tensor("float32", data, shape) });
}

const run = await open();
await run();
const ready = performance.now() - start;
for (let i = 1; i < Number(runs); i++) await run();
console.log(JSON.stringify({ ready, peak: process.resourceUsage().maxRSS / 1024 }));
process.exit(0);
