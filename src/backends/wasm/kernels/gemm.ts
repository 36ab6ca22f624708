/**
 * Matrix product C[m,n] = act(A[m,k] B[k,n] + bias + residual) in f32, the kernel that everything else waits for.
 *
 * B is packed in panels of 8 columns: panel j holds, for each k, the 8 values B[k, 8j .. 8j+7], zero padded. A is packed
 * by blocks of rows into a workspace in panels of up to `tileRows` rows, values of one k side by side. The micro-kernel
 * multiplies one panel of A with one panel of B and keeps its tile of C in registers from the first k to the last; then
 * comes the epilogue (bias, residual, activation), so that C is written once and never read.
 *
 * Variants at 480^3 with A packed in the call, GFLOP/s of processor time, best of 25 runs in turn on one core of an AMD
 * EPYC (Zen 3) shared with other work, Node 24 | Node 20:
 *
 *   4x8 tile, mul + add                       38 | 31   8 sums, 2 of B, 4 of A, 1 product: V8's 15 vector registers
 *   5x8, mul + add                            39 | 20
 *   6x8, mul + add                            24 | 22   16 values at once even in the best order
 *   4x8, mul + add, k unrolled by 4           40 | 16
 *   5x8, mul + add, k unrolled by 4           42 | 19
 *   4x8, mul + add, A in place                36 | 29   a pointer for each row to advance
 *   4x8, mul + add, A as vectors + shuffles   31 | 22
 *   4x12, relaxed_madd                        23 |  -   16 values
 *   4x8, 5x8, 6x8, relaxed_madd               47 |  -   16 flop a cycle, what 128-bit registers can do; unrolled or not
 *   6x8, relaxed_madd, unrolled, A in place   48 |  -
 *
 * V8 up to that of Node 22 behaves as if the loads of a loop body all came before its arithmetic: whatever has more sums
 * and loads in one turn than registers is slow. A panel of B at a time, Zen 4, Node 24 | Node 22, and 20 with its flag for
 * relaxed SIMD:
 *
 *   4x8, mul + add                            50 | 47
 *   4x8, relaxed_madd                         55 | 55
 *   4x8, relaxed_madd, unrolled by 4          55 | 32
 *   5x8, relaxed_madd                         56 | 23
 *   6x8, relaxed_madd                         59 | 27
 *   6x8, relaxed_madd, unrolled by 4          59 | 36   33 with a branch after each step
 *
 * Hence 4x8, not unrolled, there, with relaxed SIMD and without, and 6x8, which loads least for each product, elsewhere:
 * `Fma`. A is packed for both: one code path, and other producers (im2col) can write panels directly. k is not blocked:
 * products with k = 128 run no faster than with k = 8192.
 *
 * Rows that don't fill a tile are dealt out evenly (32 rows are 6+6+5+5+5+5): any height of 4 to 6 keeps both
 * multipliers busy. Heights 1 to 3 have too few sums for that, and interleave several steps of k in separate sums, as
 * far as registers go: two steps of 2 rows spill where loads come first (12 instead of 18 GFLOP/s on Node 20).
 *
 * The whole product, m x k x n, GFLOP/s of processor time, medians of 11 runs in turn on the same loaded machine:
 *
 *                       Node 24  relaxed  baseline  onnxruntime-web   Node 20  baseline  onnxruntime-web
 *   128 x 128 x 128                   35        24               13                  31               13
 *   512 x 512 x 512                   35        24               19                  22               14
 *   1024 x 1024 x 1024                38        26               19                  30               17
 *   2048 x 2048 x 2048                38        30               19                  26               17
 *   32 x 1024 x 1024                  34        24               18                  15               10
 *   1 x 1024 x 1024                   19        16               11                  15               11
 *   1 x 4096 x 4096                    6         6                6                   5                6   (memory)
 */
import {
  type CallArgs,
  type Func,
  type FunctionBuilder,
  i32,
  type Local,
  type ModuleBuilder,
  type Operand,
  type Params,
} from "../assembler.ts";
import { emitPackColumns, emitPackRows, PANEL_COLUMNS } from "./gemm-pack.ts";
import { emitRowTile, finishRow, LONGEST_ROW, ROW_PANELS } from "./gemm-row.ts";
import { type Epilogue, emitTile, type Fma, type Integers, type TileFunction, tileParams } from "./gemm-tile.ts";
import type { Deal } from "./row-deal.ts";
import type { StoredPanels } from "./stored-panels.ts";
import { type RunFunction, runArgs } from "./vector.ts";

export interface GemmOptions extends Epilogue {
  /** Function names start with it; also the profiler's row. */
  readonly name: string;
  /** Use `f32x4.relaxed_madd`, in tiles of so many rows: the `fma` feature. */
  readonly fma: Fma;
  /** As in TileOptions: `lda` and `k` count words. No epilogue then. */
  readonly integers?: Integers;
  /** `m` is always 1: a fifth of the code, which a small model waits for. */
  readonly oneRow?: boolean;
  /** A lies as [k, m]: `lda` is from one k to the next, rows are 4 bytes apart. */
  readonly transposedA?: boolean;
  /** B is in fewer bits: each block of rows widens a panel before it multiplies with it, in the workspace. */
  readonly stored?: StoredPanels;
  /** What else happens to the rows of C: see activations.ts. */
  readonly pass?: RunFunction;
  readonly export?: boolean;
}

/**
 * All i32. Addresses and strides are in bytes (`lda`: from one row to the next), `m`, `n`, `k` in elements; `b` is
 * packed, and faster at a multiple of 32 bytes. What the options leave out (`bias`, `residual`, `ldr`) is ignored: pass 0.
 */
const gemmParams = {
  a: "i32",
  lda: "i32",
  b: "i32",
  c: "i32",
  ldc: "i32",
  m: "i32",
  n: "i32",
  k: "i32",
  bias: "i32",
  residual: "i32",
  ldr: "i32",
  workspace: "i32",
} as const;
export type GemmFunction = Func<typeof gemmParams, undefined>;

/**
 * `a` is a packed block whose rows are dealt out to `tiles` tiles (see `dealRows`), `b` one packed panel of which
 * `columns` (if fewer than 8) are in C.
 */
const panelParams = { ...tileParams, tiles: "i32", height: "i32", taller: "i32" } as const;
export type PanelFunction = Func<typeof panelParams, undefined>;

/** Rows of A packed at a time: many enough to use a panel of B again and again, few enough for a small workspace. */
export const BLOCK_ROWS = 128;
/** A tile of floats in front of the packed block, for the last, partly filled panel of B. */
export const SCRATCH_BYTES = 256;

/** Rows of a tile: see the header. */
export const tileRowsOf = (fma: Fma): number => fma || 4;

/** Size of the workspace for a product with these dimensions. @param stored whether B is in fewer bits */
export function gemmWorkspaceBytes(m: number, k: number, stored = false): number {
  const panel = stored ? 4 * PANEL_COLUMNS * k : 0;
  return SCRATCH_BYTES + panel + (m === 1 ? 0 : Math.min(m, BLOCK_ROWS) * k * 4);
}

/**
 * Adds a specialised product to the module, callable with run-time sizes. Threads split it by rows (offset `a`, `c`,
 * `residual` and a row bias; to each its own workspace) or by columns in multiples of 8 (offset `b` by 32 k bytes for
 * each panel, `c`, `residual` and a column bias).
 */
export function emitGemm(m: ModuleBuilder, options: GemmOptions): GemmFunction {
  if (options.oneRow) return emitRow(m, options);
  const tileRows = tileRowsOf(options.fma);
  const { transposedA } = options;
  const packA = (transposedA ? emitPackColumns : emitPackRows)(m, `${options.name}/packA`);
  const panel = emitPanel(m, options);

  return m.func({ name: options.name, params: gemmParams, export: options.export }, (f, p) => {
    const [rows, block, from, at] = f.locals("i32", 4);
    const [tiles, height, taller] = f.locals("i32", 3);
    const wide = options.stored && f.let(p.workspace);
    const round = options.stored?.round;
    if (wide) f.increment(p.workspace, i32.mul(p.k, 4 * PANEL_COLUMNS));
    /** Bytes of A from one row to the next. */
    const rowBytes = transposedA ? 4 : p.lda;
    f.while(i32.gt_s(p.m, 0), () => {
      // Blocks of equal height, not full ones and a rest.
      f.set(rows, ceilDiv(p.m, ceilDiv(p.m, BLOCK_ROWS)));
      f.set(tiles, ceilDiv(rows, tileRows));
      f.set(height, i32.div_u(rows, tiles));
      f.set(taller, i32.rem_u(rows, tiles));
      f.if(
        transposedA || round ? i32.const(0) : i32.eq(rows, 1),
        () => f.set(block, p.a), // a single row is its own panel
        () => {
          f.set(block, i32.add(p.workspace, SCRATCH_BYTES));
          f.set(at, block);
          f.set(from, p.a);
          forTiles(f, { tiles: f.let(tiles), height, taller: f.let(taller) }, (h) => {
            // The panel of B, which comes later, has room for eight rows.
            if (round) f.call(round, { x: from, to: wide!, count: i32.mul(h, p.k) });
            f.call(packA, { from: round ? wide! : from, stride: p.lda, rows: h, k: p.k, out: at, step: i32.shl(h, 2) });
            f.increment(from, i32.mul(h, rowBytes));
            f.increment(at, i32.shl(i32.mul(h, p.k), 2));
          });
        },
      );
      forPanels(f, p, options, wide, (at) => f.call(panel, { ...at, a: block, tiles, height, taller }));
      if (options.pass) passRows(f, options.pass, { c: p.c, ldc: p.ldc, rows, columns: p.n });
      f.increment(p.a, i32.mul(rows, rowBytes));
      f.increment(p.c, i32.mul(rows, p.ldc));
      if (options.bias === "row") f.increment(p.bias, i32.shl(rows, 2));
      if (options.residual) f.increment(p.residual, i32.mul(rows, p.ldr));
      f.set(p.m, i32.sub(p.m, rows));
    });
  });
}

/** The same for one row, which is its own panel of A. */
function emitRow(m: ModuleBuilder, options: GemmOptions): GemmFunction {
  const four = emitRowTile(m, options, ROW_PANELS);
  const one = emitTile(m, 1, options);
  // Columns of the same weights are to be the same to the last bit: what is left of fours is added up in the same order.
  const left = emitTile(m, 1, { ...options, name: `${options.name}/left`, oneSum: true });
  return m.func({ name: options.name, params: gemmParams, export: options.export }, (f, p) => {
    const own = { ...p, c: f.let(p.c), columns: f.let(p.n), scratch: p.workspace };
    const fours = ROW_PANELS * PANEL_COLUMNS;
    const wide = f.let(i32.and(i32.ge_s(p.n, fours), i32.le_u(p.k, LONGEST_ROW)));
    f.while(i32.and(wide, i32.ge_s(own.columns, fours)), () => {
      f.call(four, own);
      finishRow(f, options, own, ROW_PANELS);
      f.increment(own.b, i32.mul(p.k, 4 * fours));
      f.increment(own.columns, -fours);
    });
    const multiply = (tile: TileFunction) =>
      forPanels(f, { ...own, n: own.columns }, options, undefined, (at) => f.call(tile, { ...at, a: p.a }));
    f.if(
      wide,
      () => multiply(left),
      () => multiply(one),
    );
    if (options.pass) f.call(options.pass, runArgs([p.c], p.c, p.n));
  });
}

/** Calls `multiply` with the operands of a tile for each panel of B. @param wide where stored panels become floats */
function forPanels(
  f: FunctionBuilder,
  p: Params<typeof gemmParams>,
  options: GemmOptions,
  wide: Local<"i32"> | undefined,
  multiply: (at: Omit<CallArgs<typeof tileParams>, "a">) => void,
): void {
  const [b, c, bias, residual, columns] = [p.b, p.c, p.bias, p.residual, p.n].map((x) => f.let(x));
  const { k, ldc, ldr, workspace: scratch } = p;
  const { unit, bytes, tail = 0, widen } = options.stored ?? { unit: 1, bytes: 4 * PANEL_COLUMNS };
  const panelBytes = f.let(i32.mul(unit === 1 ? k : i32.div_u(k, unit), bytes));
  f.while(i32.gt_s(columns, 0), () => {
    if (widen && wide) f.call(widen, { w: b, end: i32.add(b, panelBytes), out: wide });
    multiply({ b: wide ?? b, c, ldc, columns, k, bias, residual, ldr, scratch });
    f.increment(b, tail ? i32.add(panelBytes, tail) : panelBytes);
    f.increment(c, 4 * PANEL_COLUMNS);
    if (options.bias === "column") f.increment(bias, 4 * PANEL_COLUMNS);
    if (options.residual) f.increment(residual, 4 * PANEL_COLUMNS);
    f.increment(columns, -PANEL_COLUMNS);
  });
}

/** Calls `pass` for each row of a block of C. */
export function passRows(
  f: FunctionBuilder,
  pass: RunFunction,
  { c, ldc, rows, columns }: Record<"c" | "ldc" | "rows" | "columns", Local<"i32">>,
): void {
  const at = f.let(c);
  const left = f.let(rows);
  f.while(left, () => {
    f.call(pass, runArgs([at], at, columns));
    f.increment(at, ldc);
    f.increment(left, -1);
  });
}

/**
 * One panel of B times all panels of a block of A. A function of its own because V8 replaces a function by its optimised
 * code at the next call, not inside a running loop.
 */
export function emitPanel(m: ModuleBuilder, options: GemmOptions): PanelFunction {
  const tileRows = tileRowsOf(options.fma);
  const tiles = Array.from({ length: tileRows }, (_, i) => emitTile(m, tileRows - i, options));
  return m.func({ name: `${options.name}/panel`, params: panelParams }, (f, p) => {
    forTiles(f, p, (height) => {
      callTile(f, tiles, height, p);
      f.increment(p.a, i32.shl(i32.mul(height, p.k), 2));
      f.increment(p.c, i32.mul(height, p.ldc));
      if (options.bias === "row") f.increment(p.bias, i32.shl(height, 2));
      if (options.residual) f.increment(p.residual, i32.mul(height, p.ldr));
    });
  });
}

/** Calls the micro-kernel of this height: a chain of comparisons. `tiles` are in order of falling height. */
function callTile(
  f: FunctionBuilder,
  tiles: readonly TileFunction[],
  height: Local<"i32">,
  args: Parameters<typeof f.call<typeof tileParams>>[1],
): void {
  const [tallest, ...others] = tiles;
  if (others.length === 0) {
    f.call(tallest, args);
    return;
  }
  f.if(
    i32.eq(height, tiles.length),
    () => f.call(tallest, args),
    () => callTile(f, others, height, args),
  );
}

/** Calls `body` with the height of each tile. Counts `tiles` and `taller` down. */
export function forTiles(
  f: FunctionBuilder,
  { tiles, height, taller }: Deal<Local<"i32">>,
  body: (height: Local<"i32">) => void,
): void {
  const h = f.local("i32");
  f.while(tiles, () => {
    f.set(h, i32.add(height, i32.gt_s(taller, 0)));
    body(h);
    f.increment(taller, -1);
    f.increment(tiles, -1);
  });
}

export const ceilDiv = (x: Operand<"i32">, y: Operand<"i32">) => i32.div_u(i32.add(x, i32.sub(y, 1)), y);
