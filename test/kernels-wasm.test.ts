import { afterAll } from "vitest";
import { wasmFeatures } from "../src/backends/wasm/features.ts";
import { wasm } from "../src/backends/wasm/index.ts";
import { testKernels } from "./kernels.ts";
import { withWorkers } from "./wasm/workers.ts";

for (const relaxedSimd of wasmFeatures().relaxedSimd ? [true, false] : [false]) {
  const backend = wasm({ threads: 1, features: { relaxedSimd } });
  const label = `wasm kernels with ${relaxedSimd ? "relaxed" : "baseline"} SIMD equal their references`;
  testKernels(label, { ...backend, kernels: await backend.ownKernels() });
}

/** Every step in three parts, by whichever thread comes first. */
const { backend, dispose } = await withWorkers({ threads: 3, parallelWork: 0 });
testKernels("wasm kernels in parts equal their references", { ...backend, kernels: await backend.ownKernels() }, 20);
afterAll(dispose);
