/**
 * One row of a product with B in the panels of gemm-pack.ts: where a model goes on token by token, for a table's single row,
 * and in recurrent layers it is most of the work. Four panels at once, of which each value of a is loaded once for eight
 * vectors, and eight sums need no splitting of k to overlap their additions. GFLOP/s of the row tile of gemm.ts, and of this,
 * from the second-level cache of one core of an AMD EPYC (Zen 4):
 *
 *                Node 24 relaxed  baseline   Node 20 baseline
 *   128 x 512           35 | 47   34 | 39            28 | 37
 *   256 x 1024          33 | 43   31 | 37            28 | 36
 *
 * Two or three panels are in between, and turns of several k no faster; on Node 20 they spill.
 *
 * Four are also read faster from memory: processors fetch ahead within a page, and at the ends of pages wait for four
 * instead of one. GB/s of panels of 18 kB, read one, two, three, four and eight at once by one core of a Zen 3: 10.3, 11.8,
 * 13.1, 14.6, 15.4. Lines that are loaded from the next page ahead of time cost more than they give: 10.3 become 8.
 */
import { type Func, i32, type ModuleBuilder, v128 } from "../assembler.ts";
import { PANEL_COLUMNS } from "./gemm-pack.ts";
import { type Epilogue, epilogue, type Fma, multiplyAdd, type TileFunction, tileParams } from "./gemm-tile.ts";

/** Floats behind the last column that are written too. */
export const gemvSlack = PANEL_COLUMNS - 1;

/** Addresses, and numbers of elements. */
const params = { a: "i32", b: "i32", c: "i32", k: "i32", n: "i32", bias: "i32" } as const;
export type GemvFunction = Func<typeof params, undefined>;

/** Panels of B that a row is multiplied with at once. */
export const ROW_PANELS = 4;

const panelBytes = 4 * PANEL_COLUMNS;

/** c[0 .. n) = a[0 .. k) B + bias. Whole panels are written: up to seven floats behind the last column. */
export function emitGemv(m: ModuleBuilder, name: string, fma: Fma, bias: boolean): GemvFunction {
  const options = { name, fma, bias: bias ? "column" : "none" } as const;
  const tiles = [ROW_PANELS, 1].map((panels) => ({ panels, tile: emitRowTile(m, panels, options) }));
  return m.func({ name, params }, (f, p) => {
    const stride = f.let(i32.mul(p.k, panelBytes));
    for (const { panels, tile } of tiles)
      f.while(i32.gt_s(p.n, (panels - 1) * PANEL_COLUMNS), () => {
        f.call(tile, { ...p, ldc: 0, columns: 0, residual: 0, ldr: 0, scratch: 0 });
        f.increment(p.b, i32.mul(stride, panels));
        for (const row of bias ? [p.c, p.bias] : [p.c]) f.increment(row, panels * panelBytes);
        f.increment(p.n, -panels * PANEL_COLUMNS);
      });
  });
}

/**
 * One row times so many panels, all of their columns. A function of its own: between its loop and another one Node 20
 * spills registers, and takes twice the time.
 */
export function emitRowTile(
  m: ModuleBuilder,
  panels: number,
  options: Epilogue & { readonly name: string; readonly fma: Fma },
): TileFunction {
  return m.func({ name: `${options.name}/row${panels}`, params: tileParams }, (f, p) => {
    const { a, b, k } = p;
    const stride = f.let(i32.mul(k, panelBytes));
    const starts = [b];
    while (starts.length < panels) starts.push(f.let(i32.add(starts[starts.length - 1], stride)));
    const places = starts.flatMap((start) => [0, 16].map((offset) => ({ start, offset })));
    const sums = f.locals("v128", places.length);
    const value = f.local("v128");
    const end = f.let(i32.add(b, stride));
    f.while(i32.lt_u(b, end), () => {
      f.set(value, v128.load32_splat(a));
      places.forEach(({ start, offset }, i) => {
        f.set(sums[i], multiplyAdd(options.fma, value, v128.load(start, offset), sums[i]));
      });
      f.increment(a, 4);
      for (const start of starts) f.increment(start, panelBytes);
    });
    epilogue(f, options, p, true)(sums, 0);
  });
}
