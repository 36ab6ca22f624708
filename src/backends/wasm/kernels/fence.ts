import { type FunctionBuilder, i32, type Local, v128 } from "../assembler.ts";
import type { Fma } from "./gemm-tile.ts";

/** Ends a piece. @param sums what must have been computed */
export type Fence = (sums: Iterable<Local<"v128">>) => void;

/**
 * For engines that move loads to the start of a straight piece of code (see gemm.ts), ends of pieces: all `sums` have been
 * computed before anything that follows is loaded, because code might leave there with them, as far as a compiler knows,
 * though `address` is never odd. Conditions differ, or all but the first would be left out.
 *
 * What code might leave with is kept until the last fence. Where that is more than registers hold, `joins`: sums might
 * change there instead, which costs a jump around it.
 */
export function fenced(
  f: FunctionBuilder,
  address: Local<"i32">,
  { fma, joins }: { readonly fma: Fma; readonly joins?: boolean },
  body: (fence: Fence) => void,
): void {
  const zero = f.hoist(v128.const(new Uint8Array(16)));
  const kept = new Set<Local<"v128">>();
  let count = 0;
  f.block((leave) => {
    body((sums) => {
      const all = [...sums];
      if (fma > 4 || all.length === 0) return;
      const never = i32.eq(address, 2 * count++ + 1);
      if (joins)
        f.if(never, () => {
          for (const sum of all) f.set(sum, zero);
        });
      else {
        for (const sum of all) kept.add(sum);
        f.brIf(leave, never);
      }
    });
  });
  if (kept.size)
    f.if(i32.and(address, 1), () => {
      for (const sum of kept) f.v128.store(address, sum);
    });
}
