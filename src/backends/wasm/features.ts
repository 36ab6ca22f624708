import { type Expr, f32x4, i16x8, i32, i32x4, type Local, ModuleBuilder, v128 } from "./assembler.ts";
import type { Fma } from "./kernels/gemm-tile.ts";
import type { DotAdd } from "./kernels/quantized-unit.ts";

/** What the host's WebAssembly can do beyond the first version of the standard. */
export interface WasmFeatures {
  readonly simd: boolean;
  /** Fused multiply-add and the other instructions whose rounding the host may choose. */
  readonly relaxedSimd: boolean;
  /** Whether products multiply and add in one instruction, by the rows of their tiles: see kernels/gemm.ts. */
  readonly fma: Fma;
  /** Missing: it is asked for when products need to know, see dot-add.ts. */
  readonly dotAdd?: DotAdd;
  /** Shared memory and atomics. Says nothing about whether workers can be started. */
  readonly threads: boolean;
}

function validates(build: (m: ModuleBuilder) => void): boolean {
  const m = new ModuleBuilder();
  build(m);
  return !!globalThis.WebAssembly?.validate(m.toBytes());
}

const has = (...instructions: ((x: Local<"v128">) => Expr<"v128">)[]): boolean =>
  validates((m) =>
    m.func({ name: "f", params: { x: "v128" } }, (f, { x }) => {
      for (const instruction of instructions) f.drop(instruction(x));
    }),
  );

/** Whether this host lets programs compile WebAssembly: content-security policies and isolates at the edge may not. */
export function mayCompile(): boolean {
  try {
    // Some refuse the module, others to run it.
    return new WebAssembly.Instance(new WebAssembly.Module(new ModuleBuilder().toBytes())) !== undefined;
  } catch {
    return false;
  }
}

/** The host's features, probed by validating tiny modules. `override` wins, e.g. to test a plainer variant. */
export function wasmFeatures(override?: Partial<WasmFeatures>): WasmFeatures {
  const relaxedSimd =
    override?.relaxedSimd ??
    has(
      (x) => f32x4.relaxed_madd(x, x, x),
      (x) => i16x8.relaxed_dot_i8x16_i7x16_s(x, x),
      (x) => i32x4.relaxed_dot_i8x16_i7x16_add_s(x, x, x),
    );
  return {
    simd: has(v128.not),
    relaxedSimd,
    // Not known to a V8 that moves loads, such as that of Node 22.
    fma: relaxedSimd ? ("Float16Array" in globalThis ? 6 : 4) : 0,
    threads:
      typeof SharedArrayBuffer !== "undefined" &&
      validates((m) => {
        m.memory({ min: 1, max: 1, shared: true });
        m.func({ name: "f", params: {} }, (f) => f.drop(i32["atomic.rmw.add"](0, 1)));
      }),
    ...override,
  };
}
