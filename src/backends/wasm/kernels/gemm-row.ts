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
 * Two or three panels are in between, and turns of several k no faster; on Node 20 they spill. It also does where anything
 * but stores comes behind the loop: an MLP of 784, 128, 64 and 10 took 27 us a panel at a time, 35 with bias and activation
 * behind the loop of four, and takes 20 with a function for these.
 *
 * Four are also read faster from memory: processors fetch ahead within a page, and at the ends of pages wait for four
 * instead of one. GB/s of panels of 18 kB, read one, two, three, four and eight at once by one core of a Zen 3: 10.3, 11.8,
 * 13.1, 14.6, 15.4. Lines that are loaded from the next page ahead of time cost more than they give: 10.3 become 8.
 */
import { type Expr, type Func, f32x4, i32, type ModuleBuilder, v128 } from "../assembler.ts";
import { PANEL_COLUMNS } from "./gemm-pack.ts";
import { type Epilogue, type Fma, multiplyAdd } from "./gemm-tile.ts";

/** Panels of B that a row is multiplied with at once. */
export const ROW_PANELS = 4;
/** Steps of k up to which they are: a sum of so many in turn is as exact as those of `kSplits` in gemm-tile.ts for twice as many. */
export const LONGEST_ROW = 8192;

const panelBytes = 4 * PANEL_COLUMNS;

const rowParams = { a: "i32", b: "i32", c: "i32", k: "i32", bias: "i32", residual: "i32" } as const;

/**
 * One row times so many panels, all of their columns. Two functions, as nothing but stores may come behind the loop: otherwise
 * Node 20 spills registers in it, and takes up to twice the time.
 */
export function emitRowTile(
  m: ModuleBuilder,
  { name, fma, bias, residual, activation }: Epilogue & { readonly name: string; readonly fma: Fma },
  panels: number,
): Func<typeof rowParams, undefined> {
  const product = m.func({ name: `${name}/row${panels}`, params: rowParams }, (f, { a, b, c, k }) => {
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
        f.set(sums[i], multiplyAdd(fma, value, v128.load(start, offset), sums[i]));
      });
      f.increment(a, 4);
      for (const start of starts) f.increment(start, panelBytes);
    });
    sums.forEach((sum, i) => {
      f.v128.store(c, sum, 16 * i);
    });
  });
  if (bias !== "row" && bias !== "column" && !residual && !activation) return product;
  return m.func({ name: `${name}/finish${panels}`, params: rowParams }, (f, p) => {
    f.call(product, p);
    const i = f.local("i32");
    f.forRange(i, 0, panels * panelBytes, 16, () => {
      const at = f.let(i32.add(p.c, i));
      let y: Expr<"v128"> = v128.load(at);
      if (bias === "row") y = f32x4.add(y, v128.load32_splat(p.bias));
      if (bias === "column") y = f32x4.add(y, v128.load(i32.add(p.bias, i)));
      if (residual) y = f32x4.add(y, v128.load(i32.add(p.residual, i)));
      f.v128.store(at, activation ? activation(f, y) : y);
    });
  });
}
