import { openWebgpu } from "../src/backends/webgpu/index.ts";
import { installDawn } from "./gpu/dawn.ts";
import { testKernels } from "./kernels.ts";

/** A software driver takes seconds to compile a large shader, and each case has its own: fewer than on the host. */
const runs = Number(process.env["FORWARDPASS_RUNS"] ?? 8);
const timeout = 300_000;

await installDawn();
const backend = await openWebgpu();
const special = ["shader-f16", "chromium-experimental-subgroup-matrix"];
const missing = special.filter((name) => !backend.device.features.has(name as GPUFeatureName));
if (missing.length) console.log(`kernels on webgpu: no ${missing.join(", ")} here; compiled by test/gpu/wgsl.test.ts`);
testKernels(
  "webgpu kernels equal their references",
  { ...backend, kernels: await backend.ownKernels() },
  runs,
  timeout,
);
