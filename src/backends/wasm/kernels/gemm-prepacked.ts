/**
 * The product of kernels/gemm.ts where both sides are packed already: A, constant, in panels of rows; B by whoever made
 * it (im2col, Winograd's transform). Convolutions have their weights as A, because tensors lie channels first.
 *
 * B is a block that stays in the second-level cache. A may be larger than that: it is taken in groups of tiles that stay
 * there too while the panels of B pass by.
 */
import { type CallArgs, type Func, i32, type ModuleBuilder, select } from "../assembler.ts";
import { emitPanel, type GemmOptions, passRows } from "./gemm.ts";
import { PANEL_COLUMNS } from "./gemm-pack.ts";
import { tileParams } from "./gemm-tile.ts";
import type { WidenFunction } from "./half.ts";
import { dealRows } from "./row-deal.ts";

/** As a tile's, with all `columns` of C and all `tiles` of A, dealt by `dealRows`; `group`: tiles of A taken at a time. */
const productParams = { ...tileParams, tiles: "i32", height: "i32", taller: "i32", group: "i32" } as const;
export type ProductFunction = Func<typeof productParams, undefined>;
export type ProductArgs = CallArgs<typeof productParams>;

/** The same with an A of 16-bit floats; `wide`: room for a group of its tiles as f32, `special`: see kernels/half.ts. */
const halvesParams = { ...productParams, wide: "i32", special: "i32" } as const;
export type HalvesProduct = Func<typeof halvesParams, undefined>;

/** Bytes of A that a group of tiles may take. */
const groupBytes = 128 * 1024;

/**
 * How many tiles of depth k make a group. Shallow products with many columns are taken tile by tile: most of their time
 * goes into writing C, and then a few of its rows are written from end to end (64 x 27 x 12321: 34 instead of 24
 * GFLOP/s).
 */
export const tileGroup = (k: number, tileRows: number, columns: number): number =>
  k <= 32 && columns >= 1024 ? 1 : Math.max(1, Math.floor(groupBytes / (4 * k * tileRows)));

export function emitProduct(m: ModuleBuilder, options: GemmOptions): ProductFunction;
export function emitProduct(m: ModuleBuilder, options: GemmOptions, widen: WidenFunction): HalvesProduct;
export function emitProduct(m: ModuleBuilder, options: GemmOptions, widen?: WidenFunction): HalvesProduct {
  const panel = emitPanel(m, options);
  const params = (widen ? halvesParams : productParams) as typeof halvesParams;
  return m.func({ name: options.name, params }, (f, p) => {
    const [b, c, residual, columns, tiles, rows] = f.locals("i32", 6);
    const { a, k, ldc, ldr, bias, scratch, height, taller } = p;
    f.while(p.tiles, () => {
      f.set(tiles, select(p.group, p.tiles, i32.lt_s(p.group, p.tiles)));
      f.set(rows, i32.add(i32.mul(tiles, height), select(tiles, taller, i32.lt_s(tiles, taller))));
      const next = f.let(i32.add(a, i32.shl(i32.mul(rows, k), widen ? 1 : 2)));
      if (widen) f.call(widen, { w: a, end: next, out: p.wide, special: p.special });
      f.set(b, p.b);
      f.set(c, p.c);
      f.set(residual, p.residual);
      f.set(columns, p.columns);
      f.while(i32.gt_s(columns, 0), () => {
        f.call(panel, {
          a: widen ? p.wide : a,
          b,
          c,
          ldc,
          columns,
          k,
          bias,
          residual,
          ldr,
          scratch,
          tiles,
          height,
          taller,
        });
        f.increment(b, i32.mul(k, 4 * PANEL_COLUMNS));
        f.increment(c, 4 * PANEL_COLUMNS);
        if (options.residual) f.increment(residual, 4 * PANEL_COLUMNS);
        f.increment(columns, -PANEL_COLUMNS);
      });
      f.set(taller, select(i32.sub(taller, tiles), i32.const(0), i32.gt_s(taller, tiles)));
      if (options.pass) passRows(f, options.pass, { c: p.c, ldc, rows, columns: p.columns });
      f.set(a, next);
      f.increment(p.c, i32.mul(rows, ldc));
      if (options.bias === "row") f.increment(bias, i32.shl(rows, 2));
      if (options.residual) f.increment(p.residual, i32.mul(rows, ldr));
      f.set(p.tiles, i32.sub(p.tiles, tiles));
    });
  });
}

/**
 * Constant matrices of `rows` rows lie one after the other in panels of rows as `dealRows` says: calls `pack` for each, in
 * their order, with its place, first row and height. Depth by depth, the rows of a panel are side by side.
 */
export function packRows(
  { groups, rows, k, tileRows }: { groups: number; rows: number; k: number; tileRows: number },
  pack: (at: number, first: number, height: number) => void,
): void {
  const { tiles, height, taller } = dealRows(rows, tileRows);
  let first = 0;
  for (let tile = 0; tile < groups * tiles; tile++) {
    const h = height + (tile % tiles < taller ? 1 : 0);
    pack(first * k, first, h);
    first += h;
  }
}
