/**
 * One row of a product, c[0 .. n) = a[0 .. k) B + bias, with B in the panels of gemm-pack.ts: for recurrent layers, where it
 * is most of the work. Four panels at once, of which each value of a is loaded once for eight vectors, and eight sums need
 * no splitting of k to overlap their additions. GFLOP/s of the row tile of gemm.ts, and of this, from the second-level cache
 * of one core of an AMD EPYC (Zen 4):
 *
 *                Node 24 relaxed  baseline   Node 20 baseline
 *   128 x 512           35 | 47   34 | 39            28 | 37
 *   256 x 1024          33 | 43   31 | 37            28 | 36
 *
 * Two or three panels are in between, and turns of several k no faster; on Node 20 they spill.
 *
 * Whole panels are written: up to seven floats behind the last column.
 */
import { type Func, i32, type ModuleBuilder, v128 } from "../assembler.ts";
import { PANEL_COLUMNS } from "./gemm-pack.ts";
import { multiplyAdd } from "./gemm-tile.ts";

/** Floats behind the last column that are written too. */
export const gemvSlack = PANEL_COLUMNS - 1;

/** Addresses, and numbers of elements. */
const params = { a: "i32", b: "i32", c: "i32", k: "i32", n: "i32", bias: "i32" } as const;
export type GemvFunction = Func<typeof params, undefined>;

const panelBytes = 4 * PANEL_COLUMNS;

export function emitGemv(m: ModuleBuilder, name: string, fma: boolean, bias: boolean): GemvFunction {
  const tiles = [4, 1].map((panels) => ({ panels, tile: emitPanels(m, name, { panels, fma, bias }) }));
  return m.func({ name, params }, (f, p) => {
    const stride = f.let(i32.mul(p.k, panelBytes));
    for (const { panels, tile } of tiles)
      f.while(i32.gt_s(p.n, (panels - 1) * PANEL_COLUMNS), () => {
        f.call(tile, { ...p, stride });
        f.increment(p.b, i32.mul(stride, panels));
        for (const row of bias ? [p.c, p.bias] : [p.c]) f.increment(row, panels * panelBytes);
        f.increment(p.n, -panels * PANEL_COLUMNS);
      });
  });
}

/** `stride`: bytes from one panel to the next. */
const tileParams = { a: "i32", b: "i32", stride: "i32", c: "i32", bias: "i32" } as const;

/** A function of its own: between its loop and another one Node 20 spills registers, and takes twice the time. */
function emitPanels(
  m: ModuleBuilder,
  name: string,
  { panels, fma, bias }: { panels: number; fma: boolean; bias: boolean },
): Func<typeof tileParams, undefined> {
  return m.func({ name: `${name}/${panels}`, params: tileParams }, (f, { a, b, stride, c, bias: biasAt }) => {
    const starts = [b];
    while (starts.length < panels) starts.push(f.let(i32.add(starts[starts.length - 1], stride)));
    const places = starts.flatMap((start) => [0, 16].map((offset) => ({ start, offset })));
    const sums = f.locals("v128", places.length);
    if (bias)
      sums.forEach((sum, i) => {
        f.set(sum, v128.load(biasAt, 16 * i));
      });
    const value = f.local("v128");
    const end = f.let(i32.add(b, stride));
    f.while(i32.lt_u(b, end), () => {
      f.set(value, v128.load32_splat(a));
      places.forEach(({ start, offset }, i) => {
        f.set(sums[i], multiplyAdd(fma, value, v128.load(start, offset), sums[i]));
      });
      f.increment(a, 4);
      for (const start of starts) f.increment(start, panelBytes);
    });
    sums.forEach((sum, i) => {
      f.v128.store(c, sum, 16 * i);
    });
  });
}
