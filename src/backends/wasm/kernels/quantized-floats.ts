/**
 * Matrices of 16-bit floats in panels of kernels/gemm.ts: for each k the numbers of eight columns. They become f32 on the
 * way to the multiplication, activations stay f32.
 *
 * An f16 takes two instructions more than a bf16's one: sign, exponent and fraction are put in place, which makes it 2^112
 * times too small, since the exponent's bias is not corrected. In dot products activations and sums make up for half of
 * that each. Infinities and NaN would need more: a word behind the panels tells whether there are any.
 */
import { type Expr, f32x4, type Global, i32, i32x4, type ModuleBuilder, v128 } from "../assembler.ts";
import { PANEL_COLUMNS, packB, packedLength } from "./gemm-pack.ts";
import { multiplyAdd } from "./gemm-tile.ts";
import { fromHalf, tinyHalves } from "./half.ts";
import { splat } from "./math.ts";
import { type DotFunction, dotParams, type PanelFunction, panelParams } from "./stored-panels.ts";

export type FloatType = "f16" | "bf16";
export const isFloatType = (type: string): type is FloatType => type === "f16" || type === "bf16";

/** How a matrix lies before it is packed: as n rows of k, or (`transposed` false) as k rows of n. */
export interface FloatMatrix {
  readonly type: FloatType;
  readonly n: number;
  readonly k: number;
  readonly transposed: boolean;
}

/** Halves of the panels, and of the word behind them. */
export const packedHalves = ({ n, k }: FloatMatrix): number => packedLength(k, n) + 2;

export function packFloats(matrix: FloatMatrix, source: Uint16Array, packed: Uint16Array): void {
  packB(source, packed, matrix);
  const special = matrix.type === "f16" && source.some((bits) => (bits & 0x7c00) === 0x7c00);
  packed[packed.length - 2] = special ? 1 : 0;
}

/** What `packFloats` took. */
export function unpackFloats({ n, k, transposed }: FloatMatrix, packed: Uint16Array): Uint16Array {
  const source = new Uint16Array(n * k);
  const [rowStep, columnStep] = transposed ? [1, k] : [n, 1];
  for (let column = 0; column < n; column++) {
    const panel = (column - (column % PANEL_COLUMNS)) * k + (column % PANEL_COLUMNS);
    for (let row = 0; row < k; row++) source[row * rowStep + column * columnStep] = packed[panel + row * PANEL_COLUMNS];
  }
  return source;
}

interface FloatOptions {
  readonly name: string;
  readonly type: FloatType;
  readonly relaxed: boolean;
}

/**
 * The dot products of a panel with a few rows of activations, as they are.
 * @param exact f16 that may be infinite or NaN
 */
export function emitFloatDot(
  m: ModuleBuilder,
  { name, type, k, relaxed, rows, exact }: FloatOptions & { k: number; rows: number; exact: boolean },
): DotFunction {
  // Independent sums, so that additions don't wait for each other: eight or more.
  const phases = rows === 1 ? 4 : rows === 2 ? 2 : 1;
  const isTiny = type === "f16" && !exact;
  return m.func({ name, params: dotParams }, (f, { w, x, out, ldo }) => {
    const sums = Array.from({ length: phases }, () => f.locals("v128", 2 * rows));
    const half = f.hoist(splat(2 ** 56));
    const value = f.local("v128");
    const weights = f.locals("v128", 2);
    const step = (phase: number) => {
      weights.forEach((v, h) => {
        const four = v128.load16x4_s(w, 2 * PANEL_COLUMNS * phase + 8 * h);
        f.set(v, type === "bf16" ? i32x4.shl(four, 16) : isTiny ? tinyHalves(f, four) : fromHalf(f, four));
      });
      for (let r = 0; r < rows; r++) {
        const one = v128.load32_splat(x, 4 * (phase + r * k));
        f.set(value, isTiny ? f32x4.mul(one, half) : one);
        weights.forEach((v, h) => {
          const sum = sums[phase][h * rows + r];
          f.set(sum, multiplyAdd(relaxed, v, value, sum));
        });
      }
    };
    const loop = (count: number, end: Expr<"i32">) =>
      f.while(i32.lt_u(x, end), () => {
        for (let phase = 0; phase < count; phase++) step(phase);
        f.increment(w, 2 * PANEL_COLUMNS * count);
        f.increment(x, 4 * count);
      });
    const end = f.let(i32.add(x, 4 * k));
    if (phases > 1) loop(phases, f.let(i32.add(x, 4 * (k - (k % phases)))));
    loop(1, end);
    for (let r = 0; r < rows; r++) {
      for (const h of [0, 1]) {
        const sum = sums.map((s): Expr<"v128"> => s[h * rows + r]).reduce((a, b) => f32x4.add(a, b));
        f.v128.store(out, isTiny ? f32x4.mul(sum, half) : sum, 16 * h);
      }
      f.increment(out, ldo);
    }
  });
}

/** The f32 of a panel. @param special f16: whether any may be infinite or NaN, which takes twice as long */
export function emitFloatPanel(
  m: ModuleBuilder,
  { name, type }: Pick<FloatOptions, "name" | "type">,
  special: Global<"i32">,
): PanelFunction {
  return m.func({ name, params: panelParams }, (f, { w, end, out }) => {
    const tiny = f.hoist(splat(2 ** 112));
    const loop = (wide: (four: Expr<"v128">) => Expr<"v128">) =>
      f.while(i32.lt_u(w, end), () => {
        for (const half of [0, 1]) f.v128.store(out, wide(v128.load16x4_s(w, 8 * half)), 16 * half);
        f.increment(w, 2 * PANEL_COLUMNS);
        f.increment(out, 4 * PANEL_COLUMNS);
      });
    if (type === "bf16") loop((four) => i32x4.shl(four, 16));
    else
      f.if(
        special,
        () => loop((four) => fromHalf(f, four)),
        () => loop((four) => f32x4.mul(tinyHalves(f, four), tiny)),
      );
  });
}
