import { wasm } from "../../src/backends/wasm/index.ts";
import { testKernels } from "../kernels.ts";

const ops = new Set(["kvAppend", "cachedAttention", "rotaryEmbedding", "gather"]);
for (const relaxedSimd of [true, false]) {
  const backend = wasm({ threads: 1, features: relaxedSimd ? {} : { relaxedSimd } });
  const kernels = (await backend.ownKernels()).filter((k) => ops.has(k.op.name));
  testKernels(`decoder kernels ${relaxedSimd ? "as the host allows" : "in baseline SIMD"}`, { ...backend, kernels });
}
