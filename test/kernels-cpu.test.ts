import { cpu } from "../src/backends/cpu/index.ts";
import { testKernels } from "./kernels.ts";

const backend = cpu();
testKernels("cpu kernels equal their references", { ...backend, kernels: await backend.ownKernels() });
