/**
 * The product of few rows with a B that lies row by row and is not known before the run: to pack it would take longer
 * than to multiply with it. B is read once, as it lies: four of its rows at a time are added to the rows of C.
 * GFLOP/s for a B of 1024 x 1024, one core of an AMD EPYC (Zen 4), Node 24: 38 to 39 from 5 to 24 rows; gemm-groups.ts
 * 33 at 5 rows, 38 at 8, 44 at 12. With a smaller B they meet at 5 or 6.
 */
import { type Func, i32, type ModuleBuilder, v128 } from "../assembler.ts";
import { multiplyAdd } from "./gemm-tile.ts";

/** Rows of A up to which this is faster than to pack B. */
export const STREAM_ROWS = 6;

/** Rows of B at a time: eight, at a power of two of bytes from each other, would share a set of the first-level cache. */
const together = 4;
/** Columns at a time: these rows, and C's, stay in the first-level cache from one row of A to the next. */
const blockColumns = 1024;

/** Addresses and strides in bytes, `m`, `n`, `k` in elements. */
export const streamParams = {
  a: "i32",
  lda: "i32",
  b: "i32",
  ldb: "i32",
  c: "i32",
  ldc: "i32",
  m: "i32",
  n: "i32",
  k: "i32",
} as const;
export type StreamFunction = Func<typeof streamParams, undefined>;

/** C[m,n] = A[m,k] B[k,n]. */
export function emitStream(
  m: ModuleBuilder,
  { name, fma, export: exported }: { name: string; fma: unknown; export?: boolean },
): StreamFunction {
  const [add, addOne] = [together, 1].map((rows) => emitAdd(m, `${name}/add${rows}`, rows, fma));
  return m.func({ name, params: streamParams, export: exported }, (f, p) => {
    const [columns, a, at, c, x, left, row] = f.locals("i32", 7);
    const forRows = (body: () => void) => {
      f.set(c, p.c);
      f.set(x, a);
      f.forRange(row, 0, p.m, 1, () => {
        body();
        f.increment(c, p.ldc);
        f.increment(x, p.lda);
      });
    };
    f.while(i32.gt_s(p.n, 0), () => {
      f.set(columns, p.n);
      f.if(i32.gt_s(columns, blockColumns), () => f.set(columns, blockColumns));
      f.set(a, p.a);
      f.set(at, p.b);
      forRows(() => f.memory.fill(c, 0, i32.shl(columns, 2)));
      f.set(left, p.k);
      for (const [step, rows] of [[add, together] as const, [addOne, 1] as const])
        f.while(i32.ge_s(left, rows), () => {
          forRows(() => f.call(step, { a: x, b: at, ldb: p.ldb, c, n: columns }));
          f.increment(a, 4 * rows);
          f.increment(at, i32.mul(p.ldb, rows));
          f.increment(left, -rows);
        });
      f.increment(p.b, 4 * blockColumns);
      f.increment(p.c, 4 * blockColumns);
      f.increment(p.n, -blockColumns);
    });
  });
}

const addParams = { a: "i32", b: "i32", ldb: "i32", c: "i32", n: "i32" } as const;

/** c[n] += a[rows] B[rows,n] */
function emitAdd(m: ModuleBuilder, name: string, rows: number, fma: unknown): Func<typeof addParams, undefined> {
  return m.func({ name, params: addParams }, (f, { a, b, ldb, c, n }) => {
    const factors = Array.from({ length: rows }, (_, i) => f.let(v128.load32_splat(a, 4 * i)));
    const from = [b];
    for (let i = 1; i < rows; i++) from.push(f.let(i32.add(from[i - 1], ldb)));
    const sums = f.locals("v128", 2);
    const advance = (elements: number) => {
      for (const at of [...from, c]) f.increment(at, 4 * elements);
      f.increment(n, -elements);
    };
    f.while(i32.ge_s(n, 8), () => {
      sums.forEach((sum, j) => {
        f.set(sum, v128.load(c, 16 * j));
      });
      from.forEach((at, i) => {
        sums.forEach((sum, j) => {
          f.set(sum, multiplyAdd(fma, factors[i], v128.load(at, 16 * j), sum));
        });
      });
      sums.forEach((sum, j) => {
        f.v128.store(c, sum, 16 * j);
      });
      advance(8);
    });
    const [sum] = sums;
    f.while(i32.gt_s(n, 0), () => {
      f.set(sum, v128.load32_zero(c));
      from.forEach((at, i) => {
        f.set(sum, multiplyAdd(fma, factors[i], v128.load32_zero(at), sum));
      });
      f.v128.store32_lane(c, sum, 0);
      advance(1);
    });
  });
}
