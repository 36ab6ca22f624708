/**
 * Reductions of f32: of rows into one number each, of columns into a row. Both keep sixteen partial sums, four vectors:
 * one vector would wait for its own last addition most of the time.
 */
import {
  type Expr,
  type Func,
  type FunctionBuilder,
  f32x4,
  i8x16,
  i32,
  i32x4,
  type Local,
  type ModuleBuilder,
  v128,
} from "../assembler.ts";
import { constant, type VectorFunction } from "./math.ts";
import { storeUpTo } from "./vector.ts";

type V = Expr<"v128">;
type I32 = Local<"i32">;

export interface Fold {
  /** The value of no elements. */
  readonly start: number;
  readonly combine: (a: V, b: V) => V;
  /** What is combined, instead of the elements themselves. */
  readonly map?: VectorFunction;
}

export const sumFold: Fold = { start: 0, combine: f32x4.add };
export const maxFold: Fold = { start: Number.NEGATIVE_INFINITY, combine: f32x4.max };

const partial = 4;
const laneNumbers = new Uint8Array(Int32Array.of(0, 1, 2, 3).buffer);
/** A mask of the first `n` lanes. */
export const firstLanes = (f: FunctionBuilder, n: I32): V =>
  i32x4.gt_s(i32x4.splat(n), f.hoist(v128.const(laneNumbers)));

/** Folds `n` elements from `x`, which stays as it is, into one vector, in addition to what `total` holds. */
export function emitFold(
  f: FunctionBuilder,
  { start, combine, map }: Fold,
  x: I32,
  n: I32,
  total: Local<"v128">,
): void {
  const sums = f.locals("v128", partial - 1);
  const at = f.let(x);
  const left = f.let(n);
  const element = (offset: number): V => {
    const v = v128.load(at, offset);
    return map ? map(f, v) : v;
  };
  f.if(i32.ge_s(left, 4 * partial), () => {
    for (const s of sums) f.set(s, constant(f, start));
    f.loop((again) => {
      [total, ...sums].forEach((s, i) => {
        f.set(s, combine(s, element(16 * i)));
      });
      f.increment(at, 16 * partial);
      f.increment(left, -4 * partial);
      f.brIf(again, i32.ge_s(left, 4 * partial));
    });
    for (const s of sums) f.set(total, combine(total, s));
  });
  f.while(i32.gt_s(left, 0), () => {
    f.set(total, combine(total, v128.bitselect(element(0), constant(f, start), firstLanes(f, left))));
    f.increment(at, 16);
    f.increment(left, -4);
  });
}

/** All lanes combined, in every lane. */
export function acrossLanes(f: FunctionBuilder, combine: Fold["combine"], x: V): V {
  const words = (...order: number[]) => order.flatMap((w) => [4 * w, 4 * w + 1, 4 * w + 2, 4 * w + 3]);
  const four = f.let(x);
  const two = f.let(combine(four, i8x16.shuffle(four, four, words(2, 3, 0, 1))));
  return combine(two, i8x16.shuffle(two, two, words(1, 0, 3, 2)));
}

/** The fold of one row, in every lane. */
export function foldRow(f: FunctionBuilder, fold: Fold, x: I32, n: I32): V {
  const total = f.let(constant(f, fold.start));
  emitFold(f, fold, x, n, total);
  return acrossLanes(f, fold.combine, total);
}

export interface Reduction extends Fold {
  readonly name: string;
  /** Applied to the result; `count` is the number of elements that went into it. */
  readonly finish?: (f: FunctionBuilder, total: V, count: V) => V;
}

const rowsParams = { x: "i32", y: "i32", n: "i32", rows: "i32", stride: "i32", count: "v128" } as const;
export type ReduceRowsFunction = Func<typeof rowsParams, undefined>;

/** y = the fold of `rows` rows of `n` elements, `stride` bytes apart. */
export function emitReduceRows(m: ModuleBuilder, o: Reduction): ReduceRowsFunction {
  return m.func({ name: `${o.name}/rows`, params: rowsParams }, (f, { x, y, n, rows, stride, count }) => {
    const total = f.let(constant(f, o.start));
    f.while(rows, () => {
      emitFold(f, o, x, n, total);
      f.increment(x, stride);
      f.increment(rows, -1);
    });
    const all = f.let(acrossLanes(f, o.combine, total));
    f.v128.store32_lane(y, o.finish ? f.let(o.finish(f, all, count)) : all, 0);
  });
}

const columnsParams = { x: "i32", y: "i32", columns: "i32", rows: "i32", stride: "i32", count: "v128" } as const;
export type ReduceColumnsFunction = Func<typeof columnsParams, undefined>;

/** y[0 .. columns) = the folds of the columns of a matrix whose rows are `stride` bytes apart. */
export function emitReduceColumns(m: ModuleBuilder, o: Reduction): ReduceColumnsFunction {
  return m.func({ name: `${o.name}/columns`, params: columnsParams }, (f, { x, y, columns, rows, stride, count }) => {
    const totals = f.locals("v128", partial);
    const [at, row] = f.locals("i32", 2);
    const down = (vectors: number): void => {
      for (const t of totals.slice(0, vectors)) f.set(t, constant(f, o.start));
      f.set(at, x);
      f.forRange(row, 0, rows, 1, () => {
        totals.slice(0, vectors).forEach((t, i) => {
          const v = v128.load(at, 16 * i);
          f.set(t, o.combine(t, o.map ? o.map(f, v) : v));
        });
        f.increment(at, stride);
      });
      if (o.finish) for (const t of totals.slice(0, vectors)) f.set(t, o.finish(f, t, count));
    };
    const advance = (elements: number): void => {
      f.increment(x, 4 * elements);
      f.increment(y, 4 * elements);
      f.increment(columns, -elements);
    };
    f.while(i32.ge_s(columns, 4 * partial), () => {
      down(partial);
      totals.forEach((t, i) => {
        f.v128.store(y, t, 16 * i);
      });
      advance(4 * partial);
    });
    f.while(i32.gt_s(columns, 0), () => {
      down(1);
      storeUpTo(f, "f32", y, totals[0], columns);
      advance(4);
    });
  });
}
