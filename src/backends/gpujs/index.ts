/** The gpujs backend: WebGL2 through the optional peer `gpu.js`, for browsers without WebGPU. */
import { InputError } from "../../tensor/errors.ts";
import type { Backend, Kernel } from "../backend.ts";
import type { GpuStep } from "./code.ts";
import { elementwiseKernels } from "./elementwise.ts";
import { type GpuConstructor, requireGpuJs, sharedContext } from "./gpu.ts";
import { matmulKernels } from "./matmul.ts";
import { rowKernels } from "./rows.ts";
import { GpujsSession } from "./session.ts";
import { windowKernels } from "./window.ts";

export type { GpuConstructor } from "./gpu.ts";

export interface GpujsOptions {
  /** Runs what has no kernel here: `wasm()` or `cpu()`. */
  host: Backend;
  /** The class of `gpu.js`. Default: the one that `import "gpu.js"` or a script element made global. */
  GPU?: GpuConstructor;
}

/** In order of preference within each operator. */
export const gpujsKernels: readonly Kernel<GpuStep>[] = [
  ...matmulKernels,
  ...windowKernels,
  ...rowKernels,
  ...elementwiseKernels,
];

/**
 * The `gpujs` backend: f32 tensors of less than 2^24 elements; the host backend runs everything else.
 * @throws InputError without a host, MissingPeerError without `gpu.js`, DeviceError where WebGL2 or its float textures are missing
 */
export function gpujs(options: GpujsOptions): Backend {
  if (typeof options?.host?.open !== "function")
    throw new InputError("gpujs: takes a host for what has no kernel here: gpujs({ host: wasm() })");
  const { host, GPU } = options;
  const found = requireGpuJs(GPU);
  // So that who can't have a context is told before anything is loaded.
  sharedContext(found);
  return {
    name: "gpujs",
    get kernels() {
      return [...gpujsKernels, ...host.kernels];
    },
    kernelsFor: (op) => [...gpujsKernels.filter((k) => k.op.name === op.name), ...host.kernelsFor(op)],
    fallback: host.fallback,
    load: host.load?.bind(host),
    open: () => new GpujsSession(sharedContext(found), host),
  };
}
