import { openWebgpu } from "../src/backends/webgpu/index.ts";
import { testKernels } from "./kernels.ts";

/** Compiling a shader for each case takes most of the time: fewer cases than on the host. */
const runs = Number(process.env["FORWARDPASS_RUNS"] ?? 12);

const backend = await openWebgpu();
testKernels("webgpu kernels equal their references", { ...backend, kernels: await backend.ownKernels() }, runs);
