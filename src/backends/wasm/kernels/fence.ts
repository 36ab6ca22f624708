import { type FunctionBuilder, i32, type Local } from "../assembler.ts";
import type { Fma } from "./gemm-tile.ts";

/** Ends a piece. @param sums what must have been computed */
export type Fence = (sums: Iterable<Local<"v128">>) => void;

/**
 * For engines that move loads to the start of a straight piece of code (see gemm.ts), ends of pieces: all `sums` have been
 * computed before anything that follows is loaded, because code might leave there with them, as far as a compiler knows,
 * though `address` is never odd. Conditions differ, or all but the first would be left out.
 */
export function fenced(f: FunctionBuilder, address: Local<"i32">, fma: Fma, body: (fence: Fence) => void): void {
  const all = new Set<Local<"v128">>();
  let count = 0;
  f.block((leave) => {
    body((sums) => {
      const some = [...sums];
      if (fma > 4 || some.length === 0) return;
      for (const sum of some) all.add(sum);
      f.brIf(leave, i32.eq(address, 2 * count++ + 1));
    });
  });
  if (all.size)
    f.if(i32.and(address, 1), () => {
      for (const sum of all) f.v128.store(address, sum);
    });
}
