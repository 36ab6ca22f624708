/** The webgpu backend: WGSL generated for each plan, in browsers and, through the optional peer `webgpu`, in Node. */
import type { HostType } from "../../tensor/host-type.ts";
import { areUsual } from "../../tensor/usual.ts";
import { type Backend, type Kernel, KernelFamilies, type KernelFamily } from "../backend.ts";
import type { CpuBackend } from "../cpu/index.ts";
import { absorbSteps } from "./absorb.ts";
import { deviceOf, type GpuDevice, sharedDevice } from "./device.ts";
import { elementwiseKernels } from "./elementwise-table.ts";
import { fuseElementwise } from "./fuse.ts";
import { findGpu, NoGpuError } from "./gpu.ts";
import { joinIndependent } from "./join.ts";
import { type PipelineProgress, WebgpuSession } from "./session.ts";
import { splitBindings } from "./split.ts";
import type { AnyStep, GpuStep } from "./step.ts";
import { type GpuLimits, type GpuTarget, limitNames, type MatrixUnit } from "./target.ts";

export interface WebgpuOptions {
  /** A device of the caller's: it is used and never destroyed. Default: one that all backends here share. */
  device?: HostType<"GPUDevice">;
  /** Which of several GPUs the shared device is on, when it is first opened. Default "high-performance". */
  powerPreference?: "low-power" | "high-performance";
  /** Limits to keep to where the device allows more, for tests. */
  limits?: Partial<GpuLimits>;
  /** "cpu": operators without a GPU kernel run on the host, at the cost of copies. Default: they are refused. */
  fallback?: "cpu";
  /** Told how many shaders are compiled while plans are made. */
  onProgress?: (progress: PipelineProgress) => void;
}

export interface WebgpuBackend extends Backend<AnyStep> {
  readonly device: HostType<"GPUDevice">;
  /** Every kernel of this backend: for tests. */
  ownKernels(): Promise<readonly Kernel<GpuStep>[]>;
  /** Lets go of the device. The last backend to do so destroys it, unless the caller gave it. */
  dispose(): void;
}

/** In order of preference within each operator. */
export const familiesFor = (target: GpuTarget): readonly KernelFamily<GpuStep>[] => [
  ["*", async () => elementwiseKernels(target)],
  ["sin cos tan asin acos atan asinh acosh atanh", async () => (await import("./angles.ts")).angleKernels(target)],
  ["matmul gemm", async () => (await import("./matmul.ts")).matmulKernels(target)],
  ["conv convTranspose", async () => (await import("./conv.ts")).convKernels(target)],
  [
    "maxPool averagePool lpPool globalAveragePool globalMaxPool globalLpPool",
    async () => (await import("./pool.ts")).poolKernels(target),
  ],
  [
    "resize depthToSpace spaceToDepth localResponseNorm einsum",
    async () => (await import("./image.ts")).imageKernels(target),
  ],
  ["attention attentionScores cachedAttention", async () => (await import("./attention.ts")).attentionKernels(target)],
  [
    "kvAppend rotaryEmbedding appendCache cacheStart keyPaddingMask",
    async () => (await import("./decoder.ts")).decoderKernels(target),
  ],
  ["quantizedMatmul quantizedGather", async () => (await import("./quantized.ts")).quantizedKernels(target)],
  [
    "quantizeLinear dequantizeLinear dynamicQuantizeLinear matmulInteger matmulIntegerToFloat",
    async () => (await import("./quantize.ts")).quantizeKernels(target),
  ],
  ["softmax logSoftmax hardmax", async () => (await import("./softmax.ts")).softmaxKernels(target)],
  ["layerNorm layerNormStatistics rmsNorm", async () => (await import("./norm.ts")).normKernels(target)],
  [
    "instanceNorm groupNorm batchNorm batchNormTraining lpNorm meanVarianceNorm",
    async () => (await import("./channel-norm.ts")).channelNormKernels(target),
  ],
  [
    "reduceSum reduceMean reduceLogSum reduceL1 reduceSumSquare reduceL2 reduceProd reduceMax reduceMin reduceLogSumExp " +
      "argMax argMin",
    async () => (await import("./reduce.ts")).reduceKernels(target),
  ],
  [
    "transpose slice expand concat split constantOfShape range",
    async () => (await import("./movement.ts")).movementKernels(target),
  ],
  ["tile pad trilu eyeLike dropout", async () => (await import("./movement-other.ts")).otherMovementKernels(target)],
  ["gather", async () => (await import("./gather.ts")).gatherKernels(target)],
  [
    "gatherElements gatherNd oneHot scatterElements scatterNd cumSum cumProd reverseSequence topk",
    async () => (await import("./indexing.ts")).indexingKernels(target),
  ],
];

/**
 * The `webgpu` backend; undefined where there is no GPU for it, or no package `webgpu` in Node.
 * @throws DeviceError where there is one and it does not start
 */
export async function webgpu(options: WebgpuOptions = {}): Promise<WebgpuBackend | undefined> {
  try {
    return await openWebgpu(options);
  } catch (e) {
    if (e instanceof NoGpuError) return undefined;
    throw e;
  }
}

/** The same; throws InputError for options that there are none, DeviceError with what to install or to look at where there is no GPU. */
export async function openWebgpu(options: WebgpuOptions = {}): Promise<WebgpuBackend> {
  if (!areUsual(options, "fallback") || ![undefined, "cpu"].includes(options.fallback))
    (await import("./options.ts")).checkWebgpuOptions(options);
  const { device, powerPreference = "high-performance", fallback, onProgress } = options;
  const gpu = device ? deviceOf(device).hold() : await sharedDevice(powerPreference);
  // A device of the caller's may come from elsewhere: then nothing is known of the language.
  const languageFeatures = await findGpu().then(
    (found) => found.wgslLanguageFeatures,
    () => undefined,
  );
  const target = targetOf(gpu.device, languageFeatures, options);
  const host = fallback && (await import("../cpu/index.ts")).cpu();
  return backend(gpu, target, host, onProgress);
}

function backend(
  gpu: GpuDevice,
  target: GpuTarget,
  host: CpuBackend | undefined,
  onProgress: WebgpuOptions["onProgress"],
): WebgpuBackend {
  const own = new KernelFamilies<GpuStep>(familiesFor(target));
  return {
    name: "webgpu",
    device: gpu.device,
    async ownKernels() {
      await own.load();
      return own.kernels;
    },
    get kernels() {
      return host ? [...own.kernels, ...host.kernels] : own.kernels;
    },
    kernelsFor: (op) => (host ? [...own.for(op), ...host.kernelsFor(op)] : own.for(op)),
    fallback: host?.fallback as Backend<AnyStep>["fallback"],
    inplace: false,
    refine: (plan) => splitBindings(joinIndependent(absorbSteps(fuseElementwise(plan, target)), target), target),
    async load(ops, dtypes) {
      await own.load(new Set(ops.map((op) => op.name)));
      await host?.load?.(ops, dtypes);
    },
    open() {
      gpu.assertUsable();
      return new WebgpuSession(gpu, target, onProgress);
    },
    dispose: once(() => gpu.release()),
  };
}

function targetOf(
  { features, limits, adapterInfo }: GPUDevice,
  language: WGSLLanguageFeatures | undefined,
  { limits: wanted }: WebgpuOptions,
): GpuTarget {
  const { subgroupMinSize: min = 4, subgroupMaxSize: max = 128 } = adapterInfo ?? {};
  const units = features.has(matrixFeature) && language?.has("subgroup_id") && min === max ? unitsOf(adapterInfo) : [];
  return {
    f16: features.has("shader-f16"),
    subgroups: features.has("subgroups") ? { min, max } : undefined,
    matrixUnits: units.length > 0 ? units : undefined,
    packedDot: language?.has("packed_4x8_integer_dot_product") === true,
    limits: { ...(Object.fromEntries(limitNames.map((name) => [name, limits[name]])) as GpuLimits), ...wanted },
  };
}

const matrixFeature = "chromium-experimental-subgroup-matrix" as GPUFeatureName;

/** As Chromium tells of them. */
interface MatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

function unitsOf(info: GPUAdapterInfo): MatrixUnit[] {
  const { subgroupMatrixConfigs = [] } = info as { subgroupMatrixConfigs?: Iterable<MatrixConfig> };
  return [...subgroupMatrixConfigs].flatMap(({ componentType: component, resultComponentType, M: m, N: n, K: k }) =>
    resultComponentType === "f32" && (component === "f32" || component === "f16") ? [{ component, m, n, k }] : [],
  );
}

function once(work: () => void): () => void {
  let done = false;
  return () => {
    if (!done) work();
    done = true;
  };
}
