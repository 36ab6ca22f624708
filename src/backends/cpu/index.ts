/** The plain backend: typed arrays and TypeScript loops, wherever JavaScript runs. */
import { type Backend, type HostStep, type Kernel, KernelFamilies, type KernelFamily } from "../backend.ts";
import { HostSession } from "./program.ts";
import { referenceStep } from "./reference.ts";

/** In order of preference for each operator. */
export const families: readonly KernelFamily<HostStep>[] = [
  ["kvAppend rotaryEmbedding cachedAttention", async () => (await import("./decoder.ts")).decoderKernels],
  ["matmulNBits", async () => (await import("./matmul-n-bits.ts")).matmulNBitsKernels],
  ["quantizedMatmul", async () => (await import("./quantized-blocks.ts")).quantizedBlockKernels],
  [
    "matmulInteger matmulIntegerToFloat qlinearMatmul convInteger convIntegerToFloat qlinearConv",
    async () => (await import("./integer.ts")).integerKernels,
  ],
  ["convTranspose", async () => (await import("./conv-transpose.ts")).convTransposeKernels],
  ["maxPool averagePool globalAveragePool globalMaxPool", async () => (await import("./pool.ts")).poolKernels],
  ["conv", async () => (await import("./conv.ts")).convKernels],
  ["matmul gemm", async () => (await import("./matmul.ts")).matmulKernels],
  [
    "relu abs neg sqrt reciprocal exp erf sigmoid tanh hardSwish gelu silu swish leakyRelu elu " +
      "hardSigmoid clip sign floor ceil round log sin cos tan asin acos atan sinh cosh asinh acosh atanh " +
      "celu selu thresholdedRelu softplus softsign mish isNan isInf shrink",
    async () => (await import("./elementwise-unary.ts")).unaryKernels,
  ],
  [
    "add sub mul div min max prelu equal less lessOrEqual greater greaterOrEqual pow swiglu and or xor mod " +
      "bitwiseAnd bitwiseOr bitwiseXor",
    async () => (await import("./elementwise-binary.ts")).binaryKernels,
  ],
  ["where not cast", async () => (await import("./elementwise-move.ts")).moveKernels],
  [
    "dequantizeLinear quantizeLinear dynamicQuantizeLinear",
    async () => (await import("./elementwise-quantize.ts")).quantizeKernels,
  ],
  [
    "transpose slice expand tile depthToSpace spaceToDepth concat split centerCropPad pad trilu " +
      "constantOfShape range",
    async () => (await import("./movement.ts")).movementKernels,
  ],
  [
    "gather gatherNd gatherElements scatterElements scatterNd oneHot reverseSequence",
    async () => (await import("./indexing.ts")).indexingKernels,
  ],
  ["topk", async () => (await import("./indexing-topk.ts")).topkKernels],
  ["resize", async () => (await import("./resize.ts")).resizeKernels],
  ["gridSample roiAlign affineGrid", async () => (await import("./image.ts")).imageKernels],
  ["col2im maxUnpool", async () => (await import("./scatter-windows.ts")).scatterWindowKernels],
  ["dft stft", async () => (await import("./signal.ts")).signalKernels],
  ["softmax logSoftmax hardmax", async () => (await import("./softmax.ts")).softmaxKernels],
  [
    "reduceSum reduceMean reduceLogSum reduceSumSquare reduceL2 reduceL1 reduceProd reduceMax reduceMin " +
      "reduceLogSumExp argMax argMin cumSum cumProd",
    async () => (await import("./reduce.ts")).reduceKernels,
  ],
  [
    "layerNorm rmsNorm batchNorm instanceNorm groupNorm localResponseNorm lpNorm meanVarianceNorm",
    async () => (await import("./norm.ts")).normKernels,
  ],
  ["attention", async () => (await import("./attention.ts")).attentionKernels],
  ["lstm gru rnn", async () => (await import("./recurrent.ts")).recurrentKernels],
];

const loaded = new KernelFamilies(families);

export interface CpuBackend extends Backend<HostStep> {
  /** Every kernel: for tests. */
  ownKernels(): Promise<readonly Kernel<HostStep>[]>;
}

/** The `cpu` backend. Needs nothing from the host but JavaScript. */
export function cpu(): CpuBackend {
  return {
    name: "cpu",
    async ownKernels() {
      await loaded.load();
      return loaded.kernels;
    },
    get kernels() {
      return loaded.kernels;
    },
    kernelsFor: (op) => loaded.for(op),
    fallback: referenceStep as Backend<HostStep>["fallback"],
    load: (ops) => loaded.load(new Set(ops.map((op) => op.name))),
    widens: true,
    open: () => new HostSession(),
  };
}
