/**
 * One row of a product with B in the panels of gemm-pack.ts, c[0 .. n) = a[0 .. k) B + bias, for recurrent layers, where it is
 * most of the work: row tiles of four panels and of one. Whole panels are written: up to seven floats behind the last column.
 */
import { type Func, i32, type ModuleBuilder } from "../assembler.ts";
import { PANEL_COLUMNS } from "./gemm-pack.ts";
import { emitRowTile, finishRow, ROW_PANELS } from "./gemm-row.ts";
import type { Fma } from "./gemm-tile.ts";

/** Floats behind the last column that are written too. */
export const gemvSlack = PANEL_COLUMNS - 1;

/** Addresses, and numbers of elements. */
const params = { a: "i32", b: "i32", c: "i32", k: "i32", n: "i32", bias: "i32" } as const;
export type GemvFunction = Func<typeof params, undefined>;

const panelBytes = 4 * PANEL_COLUMNS;

export function emitGemv(m: ModuleBuilder, name: string, fma: Fma, bias: boolean): GemvFunction {
  const options = { name, fma, bias: bias ? "column" : "none" } as const;
  const tiles = [ROW_PANELS, 1].map((panels) => ({ panels, tile: emitRowTile(m, options, panels) }));
  return m.func({ name, params }, (f, p) => {
    const stride = f.let(i32.mul(p.k, panelBytes));
    for (const { panels, tile } of tiles)
      f.while(i32.gt_s(p.n, (panels - 1) * PANEL_COLUMNS), () => {
        f.call(tile, p);
        finishRow(f, options, { ...p, residual: p.c }, panels);
        f.increment(p.b, i32.mul(stride, panels));
        f.increment(p.n, -panels * PANEL_COLUMNS);
      });
  });
}
