import { expect, test } from "vitest";
import type { HostStep, Kernel } from "../src/backends/backend.ts";
import { cpu } from "../src/backends/cpu/index.ts";
import { applyActivation } from "../src/ops/activation.ts";
import { testKernels } from "./kernels.ts";

const backend = cpu();
const kernels = await backend.ownKernels();
testKernels("cpu kernels equal their references", { ...backend, kernels });

test("leakyRelu is exact for every alpha", () => {
  const x = Float32Array.of(-1.5, -0.3, 0, 0.3, 1.7, 1e-40, -3e38, 3e38, -Infinity, Infinity, NaN);
  const type = { dtype: "f32", shape: [x.length] } as const;
  const { plan } = kernels.find((k) => k.name === "cpu/leakyRelu/f32") as Kernel<HostStep>;
  for (const alpha of [0.01, 1e-9, 1e-30, -2, 1e21, -1e21, 3e38, Infinity, NaN]) {
    const y = new Float32Array(x.length);
    plan([type], [type], { alpha })!.run([x], [y], y);
    expect([alpha, ...y]).toEqual([alpha, ...x.map((v) => applyActivation({ kind: "leakyRelu", alpha }, v))]);
  }
});
