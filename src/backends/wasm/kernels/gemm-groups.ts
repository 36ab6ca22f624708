/**
 * The product of kernels/gemm.ts with a B that lies row by row and is not known before the run, for one block of rows of
 * A: panels of B are packed right before they are multiplied with, as many at a time as stay in the second-level cache.
 *
 * To pack all of B first took a third of the time at 32 rows: packed panels went to the third-level cache and back, and
 * columns of eight were read from rows that lie 4096 bytes apart, in one set of the first-level cache. A row is
 * read for a whole group of panels, and from one panel to the next there are some bytes, so that what is written for one
 * row is in different sets too. Microseconds to pack 1024 x 1024, one core of an AMD EPYC (Zen 4), Node 24:
 *
 *   panel by panel              545      panels as they follow each other | 64 bytes between
 *   groups of 4 panels                   235 | 217
 *   groups of 8                          206 | 158
 *   groups of 16                         287 | 150
 *   groups of 32                         569 | 149
 *   groups of 32, rows in twos           201 | 103
 *
 * With rows that are no power of two apart: 100 each, where there are bytes between.
 *
 * Products with a B of 1024 x 1024, GFLOP/s, B packed before and not counted | all of it packed in the call | groups:
 *
 *     5 rows   50 | 19 | 33
 *     8        49 | 25 | 38
 *    16        50 | 35 | 46
 *    32        51 | 41 | 48
 *   128        53 | 49 | 51     512 and more: no faster, as each block of rows packs again
 */
import { type Func, i32, type ModuleBuilder, select, v128 } from "../assembler.ts";
import { BLOCK_ROWS, ceilDiv, emitPanel, forTiles, SCRATCH_BYTES, tileRowsOf } from "./gemm.ts";
import { emitPackColumns, emitPackRows, PANEL_COLUMNS } from "./gemm-pack.ts";
import { streamParams } from "./gemm-stream.ts";
import type { Fma } from "./gemm-tile.ts";

/** Rows of A, at most. */
export const GROUP_ROWS = BLOCK_ROWS;

const panelBytes = 4 * PANEL_COLUMNS;
const between = 64;
const groupBytes = 512 * 1024;

/** Panels of depth k that make a group of at most `n` columns. */
export const groupPanels = (k: number, n: number): number =>
  Math.min(Math.max(2, Math.floor(groupBytes / (panelBytes * k))), Math.ceil(n / PANEL_COLUMNS));

export const groupWorkspaceBytes = (m: number, k: number, n: number): number =>
  SCRATCH_BYTES + groupPanels(k, n) * (panelBytes * k + between) + 4 * m * k;

/** `group` in panels. */
const groupsParams = { ...streamParams, group: "i32", workspace: "i32" } as const;
export type GroupsFunction = Func<typeof groupsParams, undefined>;

/** C[m,n] = A[m,k] B[k,n] for m up to `GROUP_ROWS`. */
export function emitGroups(
  m: ModuleBuilder,
  { name, fma, export: exported }: { name: string; fma: Fma; export?: boolean },
): GroupsFunction {
  const packA = emitPackRows(m, `${name}/packA`);
  const packGroup = emitPackGroup(m, `${name}/packB`);
  const packLast = emitPackColumns(m, `${name}/packLast`);
  const panel = emitPanel(m, { name, fma });
  return m.func({ name, params: groupsParams, export: exported }, (f, p) => {
    const { a: from, b, c, k, n, workspace: scratch } = p;
    const [count, at] = f.locals("i32", 2);
    const step = f.let(i32.add(i32.mul(k, panelBytes), between));
    const panels = f.let(i32.add(scratch, SCRATCH_BYTES));
    const block = f.let(i32.add(panels, i32.mul(step, p.group)));
    const tiles = f.let(ceilDiv(p.m, tileRowsOf(fma)));
    const height = f.let(i32.div_u(p.m, tiles));
    const taller = f.let(i32.rem_u(p.m, tiles));
    f.set(at, block);
    forTiles(f, { tiles: f.let(tiles), height, taller: f.let(taller) }, (h) => {
      f.call(packA, { from, stride: p.lda, rows: h, k, out: at, step: i32.shl(h, 2) });
      f.increment(from, i32.mul(h, p.lda));
      f.increment(at, i32.shl(i32.mul(h, k), 2));
    });
    f.while(i32.gt_s(n, 0), () => {
      f.set(count, i32.div_u(n, PANEL_COLUMNS));
      f.set(count, select(count, p.group, i32.lt_u(count, p.group)));
      f.if(
        count,
        () => f.call(packGroup, { from: b, stride: p.ldb, panels: count, k, out: panels, step }),
        () => {
          f.call(packLast, { from: b, stride: p.ldb, rows: n, k, out: panels, step: panelBytes });
          f.set(count, i32.const(1));
        },
      );
      f.increment(b, i32.mul(count, panelBytes));
      f.set(at, panels);
      f.while(count, () => {
        f.call(panel, {
          ...{ a: block, b: at, c, ldc: p.ldc, columns: n, k, scratch, tiles, height, taller },
          ...{ bias: 0, residual: 0, ldr: 0 },
        });
        f.increment(at, step);
        f.increment(c, panelBytes);
        f.increment(n, -PANEL_COLUMNS);
        f.increment(count, -1);
      });
    });
  });
}

/** `step`: bytes from one panel to the next. */
const packGroupParams = { from: "i32", stride: "i32", panels: "i32", k: "i32", out: "i32", step: "i32" } as const;

function emitPackGroup(m: ModuleBuilder, name: string): Func<typeof packGroupParams, undefined> {
  return m.func({ name, params: packGroupParams }, (f, { from, stride, panels, k, out, step }) => {
    const [to, left] = f.locals("i32", 2);
    const rest = f.let(i32.sub(stride, i32.mul(panels, panelBytes)));
    f.while(k, () => {
      f.set(to, out);
      f.set(left, panels);
      f.while(left, () => {
        f.v128.store(to, v128.load(from));
        f.v128.store(to, v128.load(from, 16), 16);
        f.increment(from, panelBytes);
        f.increment(to, step);
        f.increment(left, -1);
      });
      f.increment(from, rest);
      f.increment(out, panelBytes);
      f.increment(k, -1);
    });
  });
}
