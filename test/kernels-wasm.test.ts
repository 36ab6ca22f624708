import { wasmFeatures } from "../src/backends/wasm/features.ts";
import { wasm } from "../src/backends/wasm/index.ts";
import { testKernels } from "./kernels.ts";

/** Kernels with several threads are tested in whole sessions: a plan of one small node does not start any. */
for (const relaxedSimd of wasmFeatures().relaxedSimd ? [true, false] : [false]) {
  const backend = wasm({ threads: 1, features: { relaxedSimd } });
  const label = `wasm kernels with ${relaxedSimd ? "relaxed" : "baseline"} SIMD equal their references`;
  testKernels(label, { ...backend, kernels: await backend.ownKernels() });
}
