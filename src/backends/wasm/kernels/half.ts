/** f16 and f32, four at a time; bf16 on their way to f32. */
import type { Half } from "../../../tensor/dtype.ts";
import { Weight } from "../../../tensor/weight.ts";
import type { KernelInput } from "../../backend.ts";
import {
  type Expr,
  type Func,
  type FunctionBuilder,
  f32x4,
  i16x8,
  i32,
  i32x4,
  type Local,
  type ModuleBuilder,
  v128,
} from "../assembler.ts";
import type { StepEmitter } from "../step.ts";

type V = Expr<"v128">;
/** What the elements of a constant are in memory, if they are 16-bit floats there and f32 to the graph. */
export const storedAs = ({ constant }: KernelInput): Half | undefined =>
  constant instanceof Weight ? constant.stored : undefined;

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
 * Writes the f32 of the numbers at [w, end) to `out`, eight at a time: those behind the last eight are read and written too.
 * @param special whether infinities and NaNs may be among f16: without, it takes half of the time
 */
export function widenHalves(
  f: FunctionBuilder,
  type: Half,
  { w, end, out }: Record<"w" | "end" | "out", Local<"i32">>,
  special: Expr<"i32">,
): void {
  const loop = (wide: (four: V) => V) =>
    f.while(i32.lt_u(w, end), () => {
      for (const half of [0, 1]) f.v128.store(out, wide(v128.load16x4_s(w, 8 * half)), 16 * half);
      f.increment(w, 16);
      f.increment(out, 32);
    });
  if (type === "bf16") {
    loop((four) => i32x4.shl(four, 16));
    return;
  }
  const scale = f.hoist(words((127 + 112) << 23));
  f.if(
    special,
    () => loop((four) => fromHalf(f, four)),
    () => loop((four) => f32x4.mul(tinyHalves(f, four), scale)),
  );
}

/** Tells whether a number of these bits is infinite or NaN, in f16. */
export const isSpecial = (bits: number): boolean => (bits & 0x7c00) === 0x7c00;

const runParams = { w: "i32", end: "i32", out: "i32", special: "i32" } as const;
export type WidenFunction = Func<typeof runParams, undefined>;

/** `widenHalves` as a function. */
export const emitWiden = (m: ModuleBuilder, name: string, type: Half): WidenFunction =>
  m.func({ name, params: runParams }, (f, p) => widenHalves(f, type, p, p.special));

/**
 * f32 to f16: rounded to nearest, ties to even; beyond 65504 infinity. The rounding of normal numbers is an addition to
 * the bits, that of denormal ones an addition of floats, whose unit in the last place is f16's smallest.
 * `count` is a multiple of 4.
 * @param refuses traps where a number is infinite then, or NaN
 */
export function emitToHalf(e: StepEmitter, refuses = false): Func<typeof params, undefined> {
  const name = refuses ? "toFiniteHalf" : "toHalf";
  return e.shared(name, (m) =>
    m.func({ name, params }, (f, { x, y, count }) => {
      const word = (w: number) => f.hoist(words(w));
      const end = f.let(i32.add(y, i32.shl(count, 1)));
      const [sign, magnitude, bits, unfit] = f.locals("v128", 4);
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
        // From 65520 on.
        if (refuses) f.set(unfit, v128.or(unfit, i32x4.gt_s(magnitude, word(0x477fefff))));
        f.v128.store64_lane(y, i16x8.narrow_i32x4_u(bits, bits), 0);
        f.increment(x, 16);
        f.increment(y, 8);
      });
      if (refuses) f.if(v128.any_true(unfit), () => f.unreachable());
    }),
  );
}
