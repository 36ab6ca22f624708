import { f32x4, i32, type MemoryLimits, ModuleBuilder, v128 } from "./assembler.ts";

/** What the host's WebAssembly can do beyond the first version of the standard. */
export interface WasmFeatures {
  readonly simd: boolean;
  /** Fused multiply-add and the other instructions whose rounding the host may choose. */
  readonly relaxedSimd: boolean;
  /** Shared memory and atomics. Says nothing about whether workers can be started. */
  readonly threads: boolean;
}

function validates(build: (m: ModuleBuilder) => void): boolean {
  if (typeof WebAssembly === "undefined") return false;
  const m = new ModuleBuilder();
  build(m);
  return WebAssembly.validate(m.toBytes());
}

/** Whether this host lets programs compile WebAssembly: content-security policies and isolates at the edge may not. */
export function mayCompile(): boolean {
  try {
    return new WebAssembly.Module(new ModuleBuilder().toBytes()) !== undefined;
  } catch {
    return false;
  }
}

const onePage: MemoryLimits = { min: 1, max: 1, shared: true };

let probed: WasmFeatures | undefined;

/** The host's features, probed once by validating tiny modules. `override` wins, e.g. to test a plainer variant. */
export function wasmFeatures(override: Partial<WasmFeatures> = {}): WasmFeatures {
  probed ??= {
    simd: validates((m) => m.func({ name: "f", params: { x: "v128" } }, (f, { x }) => f.drop(v128.not(x)))),
    relaxedSimd: validates((m) =>
      m.func({ name: "f", params: { x: "v128" } }, (f, { x }) => f.drop(f32x4.relaxed_madd(x, x, x))),
    ),
    threads:
      typeof SharedArrayBuffer !== "undefined" &&
      validates((m) => {
        m.memory(onePage);
        m.func({ name: "f", params: {} }, (f) => f.drop(i32["atomic.rmw.add"](0, 1)));
      }),
  };
  return { ...probed, ...override };
}
