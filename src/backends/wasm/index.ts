/** The wasm backend: SIMD kernels emitted from TypeScript, linked into one module for each plan. */

import { DeviceError, InputError } from "../../tensor/errors.ts";
import { areUsual } from "../../tensor/usual.ts";
import { type Backend, type Kernel, KernelFamilies, type KernelFamily, type StagePlan } from "../backend.ts";
import type { CpuBackend } from "../cpu/index.ts";
import { referenceStep } from "../cpu/reference.ts";
import { elementwiseKernels } from "./elementwise.ts";
import { mayCompile, type WasmFeatures, wasmFeatures } from "./features.ts";
import type { ProgramImage } from "./image.ts";
import { matmulKernels } from "./matmul.ts";
import type { WorkerPool } from "./pool.ts";
import { WasmSession } from "./session.ts";
import type { AnyStep, WasmStep, WasmTarget } from "./step.ts";

export interface WasmOptions {
  /** Overrides what the host was found to support: for tests of the plainer variants. */
  features?: Partial<WasmFeatures>;
  /** Default: the cores, 8 at most; 1 where memory can't be shared (a page that is not cross-origin isolated). */
  threads?: number;
  /** From which a run is divided among threads, in tenths of a nanosecond as they are estimated. Default: 0.65 ms. */
  parallelWork?: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const threadCap = 8;
/** More than any host has cores for: each takes a worker. */
const mostThreads = 256;

function threadCount(wanted: number | undefined, features: WasmFeatures): number {
  if (wanted !== undefined && (!Number.isInteger(wanted) || wanted < 1 || wanted > mostThreads))
    throw new InputError(`wasm: threads must be a whole number from 1 to ${mostThreads}, got ${wanted}`);
  const isolated = typeof window === "undefined" || globalThis.crossOriginIsolated === true;
  if (!features.threads || !isolated) return 1;
  return wanted ?? Math.min(globalThis.navigator?.hardwareConcurrency ?? cores(), threadCap);
}

/** Node before 21 has no navigator. */
function cores(): number {
  const os = globalThis.process?.getBuiltinModule?.("node:os");
  return os?.availableParallelism() ?? 1;
}

/** Kernels for all integers: loaded where the operators compute with some, and those for f32 beside it. */
const ofIntegers = (operators: string): string => operators.replace(/\w+/g, "$&:int");

/** In order of preference within each operator. Nearly every model has elementwise operators and products. */
export const familiesFor = (target: WasmTarget): readonly KernelFamily<WasmStep>[] => [
  ["f16 bf16", async () => (await import("./halves.ts")).halvesKernels(target)],
  ["matmul:stream", async () => (await import("./matmul-stream.ts")).streamKernels(target)],
  ["*", async () => [...matmulKernels(target), ...elementwiseKernels(target)]],
  ["prelu swiglu pow sin cos", async () => (await import("./elementwise-math.ts")).mathKernels(target)],
  [
    ofIntegers(
      "add sub mul div mod min max pow equal less lessOrEqual greater greaterOrEqual where abs neg sign clip " +
        "bitShift bitwiseAnd bitwiseOr bitwiseXor bitwiseNot",
    ),
    async () => (await import("./elementwise-integers.ts")).elementwiseIntegerKernels(target),
  ],
  [
    ofIntegers("reduceSum reduceMean reduceProd reduceMax reduceMin argMax argMin cumSum"),
    async () => (await import("./reduce-integers.ts")).reduceIntegerKernels(target),
  ],
  [
    "equal less lessOrEqual greater greaterOrEqual and or xor not where cast castLike",
    async () => (await import("./elementwise-logic.ts")).logicKernels(target),
  ],
  [
    "f64 i16 u16 u32 u64".replace(/\w+/g, "cast:$& castLike:$&"),
    async () => (await import("./cast-numbers.ts")).castNumberKernels(target),
  ],
  ["transpose slice expand concat split", async () => (await import("./movement.ts")).movementKernels(target)],
  [
    "tile depthToSpace spaceToDepth pad",
    async () => (await import("./movement-other.ts")).otherMovementKernels(target),
  ],
  ["kvAppend rotaryEmbedding cachedAttention", async () => (await import("./decoder.ts")).decoderKernels(target)],
  ["quantizedMatmul quantizedGather", async () => (await import("./quantized.ts")).quantizedKernels(target)],
  // Asked for by a dtype: casts are in nearly every transformer.
  ["f16 bf16", async () => (await import("./cast-half.ts")).castHalfKernels(target)],
  ["gather", async () => (await import("./gather.ts")).gatherKernels(target)],
  [
    "gatherElements gatherNd scatterElements scatterNd",
    async () => (await import("./indexed.ts")).indexedKernels(target),
  ],
  ["conv+f16", async () => (await import("./conv-halves.ts")).convHalvesKernels(target)],
  ["conv", async () => (await import("./conv.ts")).convKernels(target)],
  ["convInteger convIntegerToFloat qlinearConv", async () => (await import("./conv-int8.ts")).convInt8Kernels(target)],
  ["resize", async () => (await import("./resize.ts")).resizeKernels(target)],
  ["convTranspose", async () => (await import("./conv-transpose.ts")).convTransposeKernels(target)],
  [
    "maxPool averagePool globalMaxPool globalAveragePool",
    async () => (await import("./pooling.ts")).poolKernels(target),
  ],
  ["softmax logSoftmax", async () => (await import("./softmax.ts")).softmaxKernels(target)],
  ["layerNorm rmsNorm", async () => (await import("./norm.ts")).normKernels(target)],
  ["lpNorm", async () => (await import("./lp-norm.ts")).lpNormKernels(target)],
  [
    "batchNorm instanceNorm groupNorm localResponseNorm",
    async () => (await import("./channel-norm.ts")).channelNormKernels(target),
  ],
  [
    "reduceSum reduceMean reduceLogSum reduceL1 reduceSumSquare reduceL2 reduceProd reduceMax reduceMin",
    async () => (await import("./reduce.ts")).reduceKernels(target),
  ],
  ["argMax argMin", async () => (await import("./arg-reduce.ts")).argReduceKernels(target)],
  ["cumSum cumProd", async () => (await import("./cumulative.ts")).cumulativeKernels(target)],
  ["lstm gru rnn", async () => (await import("./recurrent.ts")).recurrentKernels(target)],
  ["col2im maxUnpool", async () => (await import("./scatter-windows.ts")).scatterWindowKernels(target)],
  ["gridSample roiAlign deformConv", async () => (await import("./sampling.ts")).samplingKernels(target)],
  ["attention", async () => (await import("./attention.ts")).attentionKernels(target)],
  [
    "quantizeLinear dequantizeLinear dynamicQuantizeLinear",
    async () => (await import("./quantize.ts")).quantizeKernels(target),
  ],
  [
    "matmulInteger matmulIntegerToFloat qlinearMatmul",
    async () => (await import("./matmul-int8.ts")).matmulInt8Kernels(target),
  ],
];

export interface WasmBackend extends Backend<AnyStep> {
  /** Every kernel of this backend, without those of the plain one: for tests. */
  ownKernels(): Promise<readonly Kernel<WasmStep>[]>;
  /** A plan of own kernels only, for one thread, apart from any session: see src/ahead.ts. */
  image(plan: StagePlan<AnyStep>): Promise<ProgramImage>;
}

/** The plain backend, for what has no kernel here. Many models need none of it, and then nobody loads it. */
let plain: CpuBackend | undefined;

/** Operators whose kernels here leave out forms that the plain backend's cover. */
const partial = /^(pow|pad|mod|cumSum|cumProd|resize|lstm|gru|rnn|gridSample|maxUnpool|(gather|scatter)(Elements|Nd))$/;

/** Done while planning, without a kernel. */
const planned = /^(shape|size|constantOfShape|range)$/;

const optionNames = "features threads parallelWork";

/**
 * The `wasm` backend. What its kernels don't cover runs plain kernels on the same memory.
 * @throws DeviceError where WebAssembly or its SIMD instructions are missing, or compiling is forbidden,
 *   InputError for options that are none, and threads that no host has
 */
export function wasm(options: WasmOptions = {}): WasmBackend {
  if (!areUsual(options, optionNames)) throw new InputError(`wasm: options are an object of ${optionNames}`);
  const features = wasmFeatures(options.features);
  const { parallelWork = 6_500_000 } = options;
  const target: Mutable<WasmTarget> = { features, threads: threadCount(options.threads, features), parallelWork };
  if (!target.features.simd) throw new DeviceError("wasm: this host has no WebAssembly SIMD; use the cpu device");
  if (!mayCompile()) throw new DeviceError("wasm: this host forbids to compile WebAssembly; use the cpu device");
  /** Loaded where there are threads. */
  let pool: WorkerPool | undefined;
  const own = new KernelFamilies<WasmStep>(familiesFor(target));
  /** Loaded for decoders. */
  let beside: typeof import("./beside.ts") | undefined;
  let openState: typeof import("./state.ts").openState | undefined;
  return {
    name: "wasm",
    widens: true,
    storesHalves: true,
    async ownKernels() {
      await own.load();
      return own.kernels;
    },
    get kernels() {
      return plain ? [...own.kernels, ...plain.kernels] : own.kernels;
    },
    kernelsFor: (op) => (plain ? [...own.for(op), ...plain.kernelsFor(op)] : own.for(op)),
    fallback: referenceStep as Backend<AnyStep>["fallback"],
    async load(ops, dtypes) {
      const wanted = new Set([...ops.map((op) => op.name), ...dtypes]);
      // With a softmax, products of two values are attention as a rule, which has a kernel of its own.
      if (wanted.has("matmul") && !wanted.has("softmax")) wanted.add("matmul:stream");
      await own.load(wanted);
      if (target.threads > 1) {
        const { WorkerPool } = await import("./pool.ts");
        pool ??= new WorkerPool(target.threads);
      }
      // Models of many equal layers have norms.
      if (ops.some((op) => /^(layer|rms)Norm$/.test(op.name)))
        target.layouts = (await import("./layouts.ts")).layoutsOf;
      if (ops.some((op) => op.states)) {
        beside = await import("./beside.ts");
        ({ openState } = await import("./state.ts"));
      }
      const rest = ops.filter(
        (op) => !op.view && !planned.test(op.name) && (partial.test(op.name) || own.for(op).length === 0),
      );
      if (dtypes.some((t) => /:(f64|[iu]16|u32|u64)/.test(t)))
        rest.push(...(await import("./rare-dtypes.ts")).leftOut(ops, dtypes, familiesFor(target)));
      const blocks = ops.find((op) => op.name === "quantizedMatmul");
      if (blocks && (await import("./quantized.ts")).leavesOut(dtypes)) rest.push(blocks);
      if (rest.length === 0) return;
      plain ??= (await import("../cpu/index.ts")).cpu();
      await plain.load!(rest, dtypes);
    },
    arrange: (steps) => beside?.sideBySide(steps) ?? steps,
    refine: (plan) => beside?.beginTogether(plan) ?? plan,
    open: () => new WasmSession(target, pool, openState),
    image: async (plan) => (await import("./image.ts")).imageOf(plan, target),
  };
}
