/**
 * Matrices of 16-bit floats in panels of kernels/gemm.ts: for each k the numbers of eight columns. They become f32 on the
 * way to the multiplication, activations stay f32.
 *
 * An f16 takes two instructions more than a bf16's one: sign, exponent and fraction are put in place, which makes it 2^112
 * times too small, since the exponent's bias is not corrected. In dot products activations and sums make up for half of
 * that each. Infinities and NaN take more: a word behind each panel tells whether it has any.
 */
import type { Half } from "../../../tensor/dtype.ts";
import {
  type Expr,
  type FunctionBuilder,
  f32x4,
  i32,
  i32x4,
  type Local,
  type ModuleBuilder,
  v128,
} from "../assembler.ts";
import { PANEL_COLUMNS } from "./gemm-pack.ts";
import { type Fma, multiplyAdd } from "./gemm-tile.ts";
import { fromHalf, isSpecial, tinyHalves, widenHalves } from "./half.ts";
import { splat } from "./math.ts";
import { walkRow } from "./row-walk.ts";
import {
  type DotFunction,
  dotParams,
  type PanelFunction,
  panelParams,
  type RowFunction,
  rowParams,
} from "./stored-panels.ts";

type V = Expr<"v128">;

/** How a matrix lies before it is packed: as n rows of k, or (`transposed` false) as k rows of n. */
export interface FloatMatrix {
  readonly type: Half;
  readonly n: number;
  readonly k: number;
  readonly transposed: boolean;
}

/** Halves behind the numbers of a panel; the first tells whether f16 are all finite. They keep panels aligned. */
const tailHalves = 8;
export const TAIL_BYTES = 2 * tailHalves;
/** Halves of a panel. */
export const panelHalves = (k: number): number => PANEL_COLUMNS * k + tailHalves;

/** Packs as many columns as `source` has. */
export function packFloats({ type, k, transposed }: FloatMatrix, source: Uint16Array, packed: Uint16Array): void {
  const n = source.length / k;
  for (let column = 0; column < n; column += PANEL_COLUMNS) {
    const at = (column / PANEL_COLUMNS) * panelHalves(k);
    const used = Math.min(PANEL_COLUMNS, n - column);
    const panel = packed.subarray(at, at + panelHalves(k)).fill(0);
    const [from, rowStep, columnStep] = transposed ? [column * k, 1, k] : [column, n, 1];
    let special = 0;
    for (let row = 0; row < k; row++)
      for (let j = 0; j < used; j++) {
        const bits = source[from + row * rowStep + j * columnStep];
        panel[row * PANEL_COLUMNS + j] = bits;
        if (isSpecial(bits)) special = 1;
      }
    if (type === "f16") panel[PANEL_COLUMNS * k] = special;
  }
}

/** What `packFloats` took. */
export function unpackFloats({ n, k, transposed }: FloatMatrix, packed: Uint16Array): Uint16Array {
  const source = new Uint16Array(n * k);
  const [rowStep, columnStep] = transposed ? [1, k] : [n, 1];
  for (let column = 0; column < n; column++) {
    const j = column % PANEL_COLUMNS;
    const panel = ((column - j) / PANEL_COLUMNS) * panelHalves(k) + j;
    for (let row = 0; row < k; row++) source[row * rowStep + column * columnStep] = packed[panel + row * PANEL_COLUMNS];
  }
  return source;
}

interface FloatOptions {
  readonly name: string;
  readonly type: Half;
  readonly fma: Fma;
}

interface ProductOptions extends FloatOptions {
  readonly k: number;
}

/** Products of panels with `rows` of activations, by panel, row and half. All addresses go past what they are read for. */
function addProducts(
  f: FunctionBuilder,
  { type, k, fma }: Omit<ProductOptions, "name">,
  { starts, x, rows }: { readonly starts: readonly Local<"i32">[]; readonly x: Local<"i32">; readonly rows: number },
  finish: (sums: readonly V[]) => void,
): void {
  const count = 2 * rows * starts.length;
  // Independent sums, so that additions don't wait for each other: eight, or as many as registers hold beside all loads.
  const phases = Math.floor((fma > 4 ? 8 : 4) / count) || 1;
  const sums = Array.from({ length: phases }, () => f.locals("v128", count));
  const half = f.hoist(splat(2 ** 56));
  const zero = f.hoist(splat(0));
  const value = f.local("v128");
  const weights = f.locals("v128", 2);
  /** @param factor of activations and of sums, each */
  const emit = (wide: (four: V) => V, factor?: V) => {
    const scaled = (v: V): V => (factor ? f32x4.mul(v, factor) : v);
    const step = (phase: number) => {
      const activation = (r: number): V => scaled(v128.load32_splat(x, 4 * (phase + r * k)));
      if (rows === 1) f.set(value, activation(0));
      starts.forEach((start, p) => {
        weights.forEach((v, h) => {
          f.set(v, wide(v128.load16x4_s(start, 2 * PANEL_COLUMNS * phase + 8 * h)));
        });
        for (let r = 0; r < rows; r++) {
          if (rows > 1) f.set(value, activation(r));
          weights.forEach((v, h) => {
            const sum = sums[phase][2 * (p * rows + r) + h];
            f.set(sum, multiplyAdd(fma, v, value, sum));
          });
        }
      });
    };
    const loop = (count: number, end: Expr<"i32">) =>
      f.while(i32.lt_u(x, end), () => {
        for (let phase = 0; phase < count; phase++) step(phase);
        for (const start of starts) f.increment(start, 2 * PANEL_COLUMNS * count);
        f.increment(x, 4 * count);
      });
    for (const sum of sums.flat()) f.set(sum, zero);
    const end = f.let(i32.add(x, 4 * k));
    if (phases > 1) loop(phases, f.let(i32.add(x, 4 * (k - (k % phases)))));
    loop(1, end);
    finish(sums[0].map((_, i) => scaled(sums.map((s): V => s[i]).reduce((a, b) => f32x4.add(a, b)))));
  };
  if (type === "bf16") {
    emit((four) => i32x4.shl(four, 16));
    return;
  }
  f.if(
    starts.map((start) => i32.load(start, 2 * PANEL_COLUMNS * k)).reduce((a, b) => i32.or(a, b)),
    () => emit((four) => fromHalf(f, four)),
    () => emit((four) => tinyHalves(f, four), half),
  );
}

/** The dot products of a panel with a few rows of activations, as they are. */
export const emitFloatDot = (m: ModuleBuilder, { name, rows, ...o }: ProductOptions & { rows: number }): DotFunction =>
  m.func({ name, params: dotParams }, (f, { w, x, out, ldo }) => {
    addProducts(f, o, { starts: [w], x, rows }, (sums) => {
      for (let r = 0; r < rows; r++) {
        for (const h of [0, 1]) f.v128.store(out, sums[2 * r + h], 16 * h);
        f.increment(out, ldo);
      }
    });
  });

/** The dot products of panels with one row, two panels at a time. */
export const emitFloatRow = (m: ModuleBuilder, { name, ...o }: ProductOptions): RowFunction =>
  m.func({ name, params: rowParams }, (f, params) => {
    const [xAt, second] = f.locals("i32", 2);
    const starts = f.locals("i32", 2);
    walkRow(f, params, 2 * panelHalves(o.k), ({ w, out, apart }) => {
      f.set(starts[0], w);
      f.set(starts[1], i32.add(w, apart.w));
      f.set(second, i32.add(out, apart.out));
      f.set(xAt, params.x);
      addProducts(f, o, { starts, x: xAt, rows: 1 }, (sums) => {
        sums.forEach((sum, i) => {
          f.v128.store(i < 2 ? out : second, sum, 16 * (i & 1));
        });
      });
    });
  });

/** The f32 of a panel. */
export const emitFloatPanel = (m: ModuleBuilder, { name, type }: Pick<FloatOptions, "name" | "type">): PanelFunction =>
  m.func({ name, params: panelParams }, (f, p) => widenHalves(f, type, p, i32.load(p.end)));
