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
 * behind the loop of four, and takes 20 where the caller does these.
 *
 * Four are also read faster from memory: processors fetch ahead within a page, and at the ends of pages wait for four
 * instead of one. GB/s of panels of 18 kB, read one, two, three, four and eight at once by one core of a Zen 3: 10.3, 11.8,
 * 13.1, 14.6, 15.4. Lines that are loaded from the next page ahead of time cost more than they give: 10.3 become 8.
 */
import { type Func, type FunctionBuilder, i32, type ModuleBuilder, type Params, v128 } from "../assembler.ts";
import { PANEL_COLUMNS } from "./gemm-pack.ts";
import { type Epilogue, epilogue, type Fma, multiplyAdd, type tileParams } from "./gemm-tile.ts";

/** Panels of B that a row is multiplied with at once. */
export const ROW_PANELS = 4;
/** Steps of k up to which they are: a sum of so many in turn is as exact as those of `kSplits` in gemm-tile.ts for twice as many. */
export const LONGEST_ROW = 8192;

const panelBytes = 4 * PANEL_COLUMNS;

const rowParams = { a: "i32", b: "i32", c: "i32", k: "i32" } as const;

/**
 * One row times so many panels, all of their columns. A function of its own, with nothing but stores behind its loop: otherwise
 * Node 20 spills registers in it, and takes up to twice the time.
 */
export function emitRowTile(
  m: ModuleBuilder,
  { name, fma }: { readonly name: string; readonly fma: Fma },
  panels: number,
): Func<typeof rowParams, undefined> {
  return m.func({ name: `${name}/row${panels}`, params: rowParams }, (f, { a, b, c, k }) => {
    const stride = f.let(i32.mul(k, panelBytes));
    const starts = [b];
    while (starts.length < panels) starts.push(f.let(i32.add(starts[starts.length - 1], stride)));
    const sums = f.locals("v128", 2 * panels);
    const value = f.local("v128");
    const end = f.let(i32.add(b, stride));
    f.while(i32.lt_u(b, end), () => {
      f.set(value, v128.load32_splat(a));
      sums.forEach((sum, i) => {
        f.set(sum, multiplyAdd(fma, value, v128.load(starts[i >> 1], 16 * (i & 1)), sum));
      });
      f.increment(a, 4);
      for (const start of starts) f.increment(start, panelBytes);
    });
    sums.forEach((sum, i) => {
      f.v128.store(c, sum, 16 * i);
    });
  });
}

/** What else happens to the columns that a row tile has written to `p.c`, and on to the next ones. */
export function finishRow(
  f: FunctionBuilder,
  options: Epilogue,
  p: Pick<Params<typeof tileParams>, "c" | "bias" | "residual">,
  panels: number,
): void {
  const [panel, step] = f.locals("i32", 2);
  f.set(step, panelBytes);
  f.forRange(panel, 0, panels, 1, () => {
    const finish = epilogue(f, options, { ...p, ldc: step, ldr: step });
    finish([f.let(v128.load(p.c)), f.let(v128.load(p.c, 16))], 0);
    if (options.bias === "column") f.increment(p.bias, panelBytes);
  });
}
