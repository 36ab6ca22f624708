import { i32x4, ModuleBuilder } from "./assembler.ts";
import type { WasmFeatures } from "./features.ts";
import type { DotAdd } from "./kernels/quantized-unit.ts";

/** What running a module told, which takes half a millisecond. */
let known: { readonly dotAdd: DotAdd } | undefined;

/** Which instruction for four products of bytes and their sum there is. */
export function dotAddOf(features: WasmFeatures): DotAdd {
  if (!features.relaxedSimd) return undefined;
  return "dotAdd" in features ? features.dotAdd : (known ??= { dotAdd: dotAddHere() }).dotAdd;
}

/** Engines whose code stops at 16 bits on the way have several instructions for it; all eight bits show which one others have. */
function dotAddHere(): DotAdd {
  const m = new ModuleBuilder();
  m.memory({ min: 1, max: 1, export: "memory" });
  m.func({ name: "f", params: {}, export: true }, (f) => {
    const dots = i32x4.relaxed_dot_i8x16_i7x16_add_s(i32x4.splat(0x7f7f7f7f), i32x4.splat(-1), i32x4.splat(0));
    f.v128.store(0, dots);
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.toBytes()));
  (exports["f"] as () => void)();
  const [sum] = new Int32Array((exports["memory"] as WebAssembly.Memory).buffer);
  return sum === 4 * 127 * 255 ? "unsigned" : sum === 4 * 127 * -1 ? "signed" : undefined;
}
