/** The kernels of the elementwise operators, in order of preference. */
import type { HostStep, Kernel } from "../backend.ts";
import { binaryKernels } from "./elementwise-binary.ts";
import { moveKernels } from "./elementwise-move.ts";
import { quantizeKernels } from "./elementwise-quantize.ts";
import { unaryKernels } from "./elementwise-unary.ts";

export const elementwiseKernels: readonly Kernel<HostStep>[] = [
  ...unaryKernels,
  ...binaryKernels,
  ...moveKernels,
  ...quantizeKernels,
];
