/**
 * Matrices of 16-bit floats, eight rows side by side as in quantized-formats.ts: for each k the numbers of eight rows.
 * They become f32 on the way to the multiplication, activations stay f32.
 *
 * An f16 takes two instructions: sign, exponent and fraction are put in place, which makes it 2^112 times too small, since
 * the exponent's bias is not corrected. Activations and sums make up for half of that each. Infinities and NaN would need
 * more, and are refused.
 */
import { InputError } from "../../../tensor/errors.ts";
import { type Expr, f32x4, i32, i32x4, type ModuleBuilder, v128 } from "../assembler.ts";
import { multiplyAdd } from "./gemm-tile.ts";
import { type DotFunction, dotParams } from "./quantized-dot.ts";
import { GROUP, tinyF16 } from "./quantized-format.ts";
import { type PanelFunction, panelParams } from "./quantized-panel.ts";

export type FloatType = "f16" | "bf16";
export const isFloatType = (type: string): type is FloatType => type === "f16" || type === "bf16";

export const packedFloatBytes = (n: number, k: number): number => Math.ceil(n / GROUP) * GROUP * k * 2;

export function packFloats(type: FloatType, k: number, src: Uint8Array, dst: Uint8Array): void {
  dst.fill(0);
  for (let row = 0; row < src.length / (2 * k); row++) {
    let to = ((row - (row % GROUP)) * k + (row % GROUP)) * 2;
    for (let at = row * k * 2; at < (row + 1) * k * 2; at += 2, to += 2 * GROUP) {
      dst[to] = src[at];
      dst[to + 1] = src[at + 1];
      if (type === "f16" && (src[at + 1] & 0x7c) === 0x7c)
        throw new InputError(
          `quantizedMatmul: f16 weights are not finite (row ${row}): only the cpu device takes these`,
        );
    }
  }
}

/** What `packFloats` laid out, as the file has it. */
export function unpackFloats(n: number, k: number, packed: Uint8Array): Uint8Array {
  const out = new Uint8Array(n * k * 2);
  for (let row = 0; row < n; row++) {
    let from = ((row - (row % GROUP)) * k + (row % GROUP)) * 2;
    for (let at = row * k * 2; at < (row + 1) * k * 2; at += 2, from += 2 * GROUP) {
      out[at] = packed[from];
      out[at + 1] = packed[from + 1];
    }
  }
  return out;
}

interface FloatOptions {
  readonly name: string;
  readonly type: FloatType;
  readonly k: number;
  readonly relaxed: boolean;
}

const splat = (x: number) => v128.const(new Uint8Array(new Float32Array(4).fill(x).buffer));

/** As `emitDot`, on activations as they are. */
export function emitFloatDot(
  m: ModuleBuilder,
  { name, type, k, relaxed, rows }: FloatOptions & { rows: number },
): DotFunction {
  // Independent sums, so that additions don't wait for each other: eight or more.
  const phases = rows === 1 ? 4 : rows === 2 ? 2 : 1;
  return m.func({ name, params: dotParams }, (f, { w, x, out, ldo }) => {
    const sums = Array.from({ length: phases }, () => f.locals("v128", 2 * rows));
    const half = f.hoist(splat(2 ** 56));
    const value = f.local("v128");
    const weights = f.locals("v128", 2);
    const step = (phase: number) => {
      weights.forEach((v, h) => {
        const at = 2 * GROUP * phase;
        const wide = i32x4.shl(v128.load16x4_u(w, at + 8 * h), 16);
        f.set(v, type === "bf16" ? wide : tinyF16({ f, at: w, half: h }, at));
      });
      for (let r = 0; r < rows; r++) {
        const one = v128.load32_splat(x, 4 * (phase + r * k));
        f.set(value, type === "f16" ? f32x4.mul(one, half) : one);
        weights.forEach((v, h) => {
          const sum = sums[phase][h * rows + r];
          f.set(sum, multiplyAdd(relaxed, v, value, sum));
        });
      }
    };
    const loop = (count: number, end: Expr<"i32">) =>
      f.while(i32.lt_u(x, end), () => {
        for (let phase = 0; phase < count; phase++) step(phase);
        f.increment(w, 2 * GROUP * count);
        f.increment(x, 4 * count);
      });
    const end = f.let(i32.add(x, 4 * k));
    if (phases > 1) loop(phases, f.let(i32.add(x, 4 * (k - (k % phases)))));
    loop(1, end);
    for (let r = 0; r < rows; r++) {
      for (const h of [0, 1]) {
        const sum = sums.map((s): Expr<"v128"> => s[h * rows + r]).reduce((a, b) => f32x4.add(a, b));
        f.v128.store(out, type === "f16" ? f32x4.mul(sum, half) : sum, 16 * h);
      }
      f.increment(out, ldo);
    }
  });
}

/** As `emitPanel`. */
export function emitFloatPanel(m: ModuleBuilder, { name, type, k }: FloatOptions): PanelFunction {
  return m.func({ name, params: panelParams }, (f, { w, out }) => {
    const end = f.let(i32.add(w, 2 * GROUP * k));
    const tiny = f.hoist(splat(2 ** 112));
    f.while(i32.lt_u(w, end), () => {
      for (const half of [0, 1]) {
        const wide = i32x4.shl(v128.load16x4_u(w, 8 * half), 16);
        f.v128.store(out, type === "bf16" ? wide : f32x4.mul(tinyF16({ f, at: w, half }, 0), tiny), 16 * half);
      }
      f.increment(w, 2 * GROUP);
      f.increment(out, 4 * GROUP);
    });
  });
}
