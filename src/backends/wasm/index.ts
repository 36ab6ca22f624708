/** The wasm backend: SIMD kernels emitted from TypeScript, linked into one module for each plan. */
import { DeviceError, InputError } from "../../tensor/errors.ts";
import type { Backend, HostStep, Kernel } from "../backend.ts";
import { kernelTable } from "../backend.ts";
import { referenceStep } from "../cpu/program.ts";
import { attentionKernels } from "./attention.ts";
import { convKernels } from "./conv.ts";
import { convTransposeKernels } from "./conv-transpose.ts";
import { decoderKernels } from "./decoder.ts";
import { elementwiseKernels } from "./elementwise.ts";
import { type WasmFeatures, wasmFeatures } from "./features.ts";
import { int8Kernels } from "./int8.ts";
import { matmulKernels } from "./matmul.ts";
import { movementKernels } from "./movement.ts";
import { normKernels } from "./norm.ts";
import { WorkerPool } from "./pool.ts";
import { poolKernels } from "./pooling.ts";
import { quantizedKernels } from "./quantized.ts";
import { reduceKernels } from "./reduce.ts";
import { WasmSession } from "./session.ts";
import { softmaxKernels } from "./softmax.ts";
import type { AnyStep, WasmKernels, WasmStep, WasmTarget } from "./step.ts";

export interface WasmOptions {
  /** Overrides what the host was found to support: for tests of the plainer variants. */
  features?: Partial<WasmFeatures>;
  /** Default: the cores, 8 at most; 1 where memory can't be shared (a page that is not cross-origin isolated). */
  threads?: number;
}

const threadCap = 8;

function threadCount(wanted: number | undefined, features: WasmFeatures): number {
  if (wanted !== undefined && (!Number.isInteger(wanted) || wanted < 1))
    throw new InputError(`wasm: threads must be a whole number from 1, got ${wanted}`);
  const isolated = typeof window === "undefined" || globalThis.crossOriginIsolated === true;
  if (!features.threads || !isolated) return 1;
  return wanted ?? Math.min(globalThis.navigator?.hardwareConcurrency ?? cores(), threadCap);
}

/** Node before 21 has no navigator. */
function cores(): number {
  const os = typeof process !== "undefined" ? process.getBuiltinModule?.("node:os") : undefined;
  return os?.availableParallelism() ?? 1;
}

/** Families of kernels, in order of preference within each operator. */
const families: readonly WasmKernels[] = [
  decoderKernels,
  matmulKernels,
  quantizedKernels,
  convKernels,
  convTransposeKernels,
  poolKernels,
  elementwiseKernels,
  softmaxKernels,
  normKernels,
  reduceKernels,
  attentionKernels,
  movementKernels,
  int8Kernels,
];

export interface WasmBackend extends Backend<AnyStep> {
  readonly ownKernels: readonly Kernel<WasmStep>[];
}

/** The plain backend's kernels, for what has none here. Many models need none of them, and then nobody loads them. */
let plain: Backend<HostStep> | undefined;

/** Operators whose kernels here leave out forms that the plain backend's cover. */
const partial: ReadonlySet<string> = new Set(["attention", "quantizedMatmul", "pow", "pad"]);

/**
 * The `wasm` backend. What its kernels don't cover runs plain kernels on the same memory.
 * @throws DeviceError where WebAssembly or its SIMD instructions are missing, or compiling is forbidden
 */
export function wasm(options: WasmOptions = {}): WasmBackend {
  const features = wasmFeatures(options.features);
  const target: WasmTarget = { features, threads: threadCount(options.threads, features) };
  if (!target.features.simd) throw new DeviceError("wasm: this host has no WebAssembly SIMD; use the cpu device");
  const pool = target.threads > 1 ? new WorkerPool(target.threads) : undefined;
  const ownKernels = families.flatMap((family) => family(target));
  const own = kernelTable(ownKernels);
  return {
    name: "wasm",
    ownKernels,
    get kernels() {
      return plain ? [...ownKernels, ...plain.kernels] : ownKernels;
    },
    kernelsFor: (op) => (plain ? [...own(op), ...plain.kernelsFor(op)] : own(op)),
    fallback: referenceStep as Backend<AnyStep>["fallback"],
    async load(ops, dtypes) {
      const covered = ops.every((op) => own(op).length > 0 && !partial.has(op.name));
      if (covered && dtypes.every((t) => t === "f32")) return;
      plain ??= (await import("../cpu/index.ts")).cpu();
    },
    open: () => new WasmSession(target, pool),
  };
}
