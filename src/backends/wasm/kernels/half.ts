/** f16 and f32, four at a time. */
import { type Expr, type Func, type FunctionBuilder, f32x4, i16x8, i32, i32x4, v128 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";

type V = Expr<"v128">;
const params = { x: "i32", y: "i32", count: "i32" } as const;
const words = (w: number) => v128.const(new Uint8Array(Int32Array.of(w, w, w, w).buffer));

/** Four f16, each sign-extended to a lane, as floats that are 2^112 times too small: the exponent's bias is not corrected. */
export const tinyHalves = (f: FunctionBuilder, four: V): V =>
  v128.and(i32x4.shl(four, 13), f.hoist(words(0x8fffffff | 0)));

/** The same as they are. Infinities and NaNs get the exponent back that the product has lost. */
export function fromHalf(f: FunctionBuilder, four: V): V {
  const tiny = f.let(tinyHalves(f, four));
  const special = v128.and(i32x4.ge_s(f32x4.abs(tiny), f.hoist(words(0x0f800000))), f.hoist(words(0x7f800000)));
  return v128.or(f32x4.mul(tiny, f.hoist(words((127 + 112) << 23))), special);
}

/**
 * f32 to f16: rounded to nearest, ties to even; beyond 65504 infinity. The rounding of normal numbers is an addition to
 * the bits, that of denormal ones an addition of floats, whose unit in the last place is f16's smallest.
 * `count` is a multiple of 4.
 */
export function emitToHalf(e: StepEmitter): Func<typeof params, undefined> {
  return e.shared("toHalf", (m) =>
    m.func({ name: "toHalf", params }, (f, { x, y, count }) => {
      const word = (w: number) => f.hoist(words(w));
      const end = f.let(i32.add(y, i32.shl(count, 1)));
      const [sign, magnitude, bits] = f.locals("v128", 3);
      const denormal = word((127 - 15 + (23 - 10) + 1) << 23);
      f.while(i32.lt_u(y, end), () => {
        f.set(bits, v128.load(x));
        f.set(sign, v128.and(bits, word(-0x80000000)));
        f.set(magnitude, v128.xor(bits, sign));
        const odd = v128.and(i32x4.shr_u(magnitude, 13), word(1));
        const normal = i32x4.shr_u(i32x4.add(i32x4.add(magnitude, word(((15 - 127) << 23) + 0xfff)), odd), 13);
        const small = i32x4.sub(f32x4.add(magnitude, denormal), denormal);
        const finite = v128.bitselect(small, normal, i32x4.lt_s(magnitude, word((127 - 14) << 23)));
        const invalid = i32x4.gt_s(magnitude, word(0x7f800000));
        const special = v128.or(word(0x7c00), v128.and(invalid, word(0x200)));
        const half = v128.bitselect(finite, special, i32x4.lt_s(magnitude, word((127 + 16) << 23)));
        f.set(bits, v128.or(half, i32x4.shr_u(sign, 16)));
        f.v128.store64_lane(y, i16x8.narrow_i32x4_u(bits, bits), 0);
        f.increment(x, 16);
        f.increment(y, 8);
      });
    }),
  );
}
