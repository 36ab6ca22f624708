import { cpu } from "../src/backends/cpu/index.ts";
import { testKernels } from "./kernels.ts";

testKernels("cpu kernels equal their references", cpu());
