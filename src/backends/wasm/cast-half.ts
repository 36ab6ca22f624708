/** Casts between f32 and the 16-bit floats, four elements at a time; rounded to nearest, ties to even. */
import { cast } from "../../ops/cast.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { type Func, f32x4, i8x16, i32, i32x4, v128 } from "./assembler.ts";
import { emitToHalf, fromHalf } from "./kernels/half.ts";
import { addressOf, type StepEmitter, type WasmKernels, wasmKernel } from "./step.ts";

const params = { x: "i32", y: "i32", count: "i32" } as const;
type Convert = Func<typeof params, undefined>;

const word = (w: number) => i32x4.splat(w);

function emitWiden(e: StepEmitter, dtype: string): Convert {
  const name = `widen/${dtype}`;
  return e.shared(name, (m) =>
    m.func({ name, params }, (f, { x, y, count }) => {
      const end = f.let(i32.add(y, i32.shl(count, 2)));
      f.while(i32.lt_u(y, end), () => {
        const lanes = v128.load16x4_s(x);
        f.v128.store(y, dtype === "f16" ? fromHalf(f, lanes) : i32x4.shl(lanes, 16));
        f.increment(x, 8);
        f.increment(y, 16);
      });
    }),
  );
}

/** The low halves of the lanes, in the first eight bytes. */
const lowHalves = Array.from({ length: 16 }, (_, i) => 4 * ((i >> 1) % 4) + (i % 2));

function emitToBfloat(e: StepEmitter): Convert {
  return e.shared("toBfloat", (m) =>
    m.func({ name: "toBfloat", params }, (f, { x, y, count }) => {
      const end = f.let(i32.add(y, i32.shl(count, 1)));
      f.while(i32.lt_u(y, end), () => {
        const bits = f.let(v128.load(x));
        const odd = v128.and(i32x4.shr_u(bits, 16), word(1));
        const rounded = i32x4.add(i32x4.add(bits, word(0x7fff)), odd);
        // Rounding could carry the mantissa of a NaN away.
        const high = v128.bitselect(rounded, v128.or(bits, word(0x400000)), f32x4.eq(bits, bits));
        const halves = f.let(i32x4.shr_u(high, 16));
        f.v128.store64_lane(y, i8x16.shuffle(halves, halves, lowHalves), 0);
        f.increment(x, 16);
        f.increment(y, 8);
      });
    }),
  );
}

export const castHalfKernels: WasmKernels = () => [
  wasmKernel(cast, "wasm/cast/half", ([x], [y]) => {
    const narrow = x.dtype === "f32" ? y.dtype : x.dtype;
    const isPair = x.dtype === "f32" || y.dtype === "f32";
    if (!isPair || (narrow !== "f16" && narrow !== "bf16")) return undefined;
    const widens = y.dtype === "f32";
    const [xBytes, yBytes] = widens ? [2, 4] : [4, 2];
    const n = sizeOf(x.shape);
    const whole = n & -4;
    return {
      workspaceBytes: 16,
      emit(e) {
        const { f } = e;
        const [from] = e.inputs;
        const [to] = e.outputs;
        const convert = widens ? emitWiden(e, narrow) : narrow === "f16" ? emitToHalf(e) : emitToBfloat(e);
        const { from: first, to: last } = e.share(whole, 4);
        const at = f.let(i32.add(first, 0));
        const count = i32.sub(last, at);
        f.call(convert, { x: addressOf(from, at, xBytes), y: addressOf(to, at, yBytes), count });
        if (n === whole) return;
        // The rest goes by way of the workspace: nothing may be written behind it.
        f.if(i32.eq(last, whole), () => {
          f.call(convert, { x: from + whole * xBytes, y: e.workspace, count: 4 });
          f.memory.copy(to + whole * yBytes, e.workspace, (n - whole) * yBytes);
        });
      },
    };
  }),
];
