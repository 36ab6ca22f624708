import { type FunctionBuilder, i32, type Local, v128 } from "../assembler.ts";
import type { Fma } from "./gemm-tile.ts";

/**
 * For engines that move loads to the start of a straight piece of code (see gemm.ts), ends of pieces: all `sums` have been
 * computed before anything that follows is loaded. They might still change there, as far as a compiler knows, though
 * `address` is never odd. Conditions differ, or all but the first would be left out.
 */
export function fences(f: FunctionBuilder, address: Local<"i32">, fma: Fma) {
  const zero = f.hoist(v128.const(new Uint8Array(16)));
  let count = 0;
  return (sums: Iterable<Local<"v128">>): void => {
    const all = [...sums];
    if (fma > 4 || all.length === 0) return;
    f.if(i32.eq(address, 2 * count++ + 1), () => {
      for (const sum of all) f.set(sum, zero);
    });
  };
}
