/** The wasm backend: SIMD kernels emitted from TypeScript, linked into one module for each plan. */
import { DeviceError } from "../../tensor/errors.ts";
import type { Backend, Kernel } from "../backend.ts";
import { kernelTable } from "../backend.ts";
import { cpu } from "../cpu/index.ts";
import { type WasmFeatures, wasmFeatures } from "./features.ts";
import { WasmSession } from "./session.ts";
import type { AnyStep, WasmKernels, WasmStep, WasmTarget } from "./step.ts";

export interface WasmOptions {
  /** Overrides what the host was found to support: for tests of the plainer variants. */
  features?: Partial<WasmFeatures>;
}

/** Families of kernels, in order of preference within each operator. */
const families: readonly WasmKernels[] = [];

/**
 * The `wasm` backend.
 * @throws DeviceError where WebAssembly or its SIMD instructions are missing, or compiling is forbidden
 */
export function wasm(
  options: WasmOptions = {},
): Backend<AnyStep> & { readonly ownKernels: readonly Kernel<WasmStep>[] } {
  const target: WasmTarget = { features: wasmFeatures(options.features), threads: 1 };
  if (!target.features.simd) throw new DeviceError("wasm: this host has no WebAssembly SIMD; use the cpu device");
  const own = families.flatMap((family) => family(target));
  const plain = cpu();
  const kernels: readonly Kernel<AnyStep>[] = [...own, ...plain.kernels];
  return {
    name: "wasm",
    kernels,
    ownKernels: own,
    kernelsFor: kernelTable(kernels),
    fallback: plain.fallback as Backend<AnyStep>["fallback"],
    open: () => new WasmSession(target),
  };
}
