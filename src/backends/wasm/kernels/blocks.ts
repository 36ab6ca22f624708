/** Loops over outputs, by blocks and by fours. */
import { type Expr, type FunctionBuilder, i32, type Local, type Operand } from "../assembler.ts";

/** x = min(x, most) */
export const atMost = (f: FunctionBuilder, x: Local<"i32">, most: Operand<"i32">): void =>
  f.if(i32.gt_s(x, most), () => f.set(x, most));

/** Calls `body` with the first of every `size` from `from` on, and how many there are: fewer in the last block. */
export function forBlocks(
  f: FunctionBuilder,
  from: Operand<"i32">,
  to: Operand<"i32">,
  size: number,
  body: (first: Local<"i32">, count: Local<"i32">) => void,
): void {
  const [first, count] = f.locals("i32", 2);
  f.forRange(first, from, to, size, () => {
    f.set(count, i32.sub(to, first));
    atMost(f, count, size);
    body(first, count);
  });
}

/** Calls `body` for each four of `width` floats, the last of which may overlap those before; `at`: their first byte. */
export function forFours(f: FunctionBuilder, width: number, body: (at: Local<"i32">) => void): void {
  const at = f.let(i32.const(0));
  f.loop((again) => {
    body(at);
    f.increment(at, 16);
    if (width <= 4) return;
    f.if(i32.and(i32.gt_s(at, 4 * width - 16), i32.lt_s(at, 4 * width)), () => f.set(at, i32.const(4 * width - 16)));
    f.brIf(again, i32.lt_s(at, 4 * width));
  });
}

/** Stores four floats, or as many as a row of `width` has. */
export function storeFour(f: FunctionBuilder, width: number, to: Expr<"i32">, four: Expr<"v128">, offset = 0): void {
  if (width >= 4) {
    f.v128.store(to, four, offset);
    return;
  }
  const lanes = f.let(four);
  for (let i = 0; i < width; i++) f.v128.store32_lane(to, lanes, i, offset + 4 * i);
}
