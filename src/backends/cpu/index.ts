/** The plain backend: typed arrays and TypeScript loops, wherever JavaScript runs. */
import type { Backend, HostStep, Kernel } from "../backend.ts";
import { kernelTable } from "../backend.ts";
import { attentionKernels } from "./attention.ts";
import { convKernels } from "./conv.ts";
import { convTransposeKernels } from "./conv-transpose.ts";
import { decoderKernels } from "./decoder.ts";
import { elementwiseKernels } from "./elementwise.ts";
import { imageKernels } from "./image.ts";
import { indexingKernels } from "./indexing.ts";
import { topkKernels } from "./indexing-topk.ts";
import { integerKernels } from "./integer.ts";
import { matmulKernels } from "./matmul.ts";
import { matmulNBitsKernels } from "./matmul-n-bits.ts";
import { movementKernels } from "./movement.ts";
import { normKernels } from "./norm.ts";
import { poolKernels } from "./pool.ts";
import { HostSession, referenceStep } from "./program.ts";
import { quantizedBlockKernels } from "./quantized-blocks.ts";
import { recurrentKernels } from "./recurrent.ts";
import { reduceKernels } from "./reduce.ts";
import { resizeKernels } from "./resize.ts";
import { signalKernels } from "./signal.ts";
import { softmaxKernels } from "./softmax.ts";

/** In order of preference for each operator. */
export const cpuKernels: readonly Kernel<HostStep>[] = [
  ...decoderKernels,
  ...matmulNBitsKernels,
  ...quantizedBlockKernels,
  ...integerKernels,
  ...convTransposeKernels,
  ...poolKernels,
  ...convKernels,
  ...matmulKernels,
  ...elementwiseKernels,
  ...movementKernels,
  ...indexingKernels,
  ...topkKernels,
  ...resizeKernels,
  ...imageKernels,
  ...signalKernels,
  ...softmaxKernels,
  ...reduceKernels,
  ...normKernels,
  ...attentionKernels,
  ...recurrentKernels,
];

const kernelsFor = kernelTable(cpuKernels);

/** The `cpu` backend. Needs nothing from the host but JavaScript. */
export function cpu(): Backend<HostStep> {
  return {
    name: "cpu",
    kernels: cpuKernels,
    kernelsFor,
    fallback: referenceStep as Backend<HostStep>["fallback"],
    open: () => new HostSession(),
  };
}
