/**
 * Softmax and normalisations of f32: for each row a few sweeps, from the second on over data in the first-level cache.
 *
 *   softmax rows   maximum; exponentials and their sum; scaling
 *   layer norm     mean; mean square deviation from it; the result. Two passes for the statistics, because the difference
 *                  of mean square and squared mean has no digits left where the mean is large
 */
import {
  type Expr,
  type Func,
  type FunctionBuilder,
  f32x4,
  i32,
  type Local,
  type ModuleBuilder,
  v128,
} from "../assembler.ts";
import { constant, expNonPositive, log } from "./math.ts";
import { storeUpTo } from "./vector.ts";
import { acrossLanes, firstLanes, foldRow, maxFold, sumFold } from "./vector-rows.ts";

type V = Expr<"v128">;
type I32 = Local<"i32">;

/** Calls `body` for each vector of a row of `n`, with the bytes from its start and the elements that are left. */
function forVectors(f: FunctionBuilder, n: I32, body: (offset: I32, left: I32) => void): void {
  const offset = f.let(i32.const(0));
  const left = f.let(n);
  f.while(i32.gt_s(left, 0), () => {
    body(offset, left);
    f.increment(offset, 16);
    f.increment(left, -4);
  });
}

/** y[i] = value(x[i]) for `n` elements; y may be x. */
export function mapRow(f: FunctionBuilder, x: I32, y: I32, n: I32, value: (v: V, offset: I32, left: I32) => V): void {
  forVectors(f, n, (offset, left) => {
    storeUpTo(f, "f32", f.let(i32.add(y, offset)), value(v128.load(i32.add(x, offset)), offset, left), left);
  });
}

const rowParams = { x: "i32", y: "i32", n: "i32" } as const;
export type RowFunction = Func<typeof rowParams, undefined>;

export function emitSoftmaxRow(m: ModuleBuilder, name: string, logarithm: boolean): RowFunction {
  return m.func({ name, params: rowParams }, (f, { x, y, n }) => {
    // One instruction, where a maximum that sees NaN takes seven. NaN comes to the sum with the exponentials.
    const max = f.let(foldRow(f, { ...maxFold, combine: f32x4.pmax }, x, n));
    const sum = f.let(constant(f, 0));
    const addExp = (v: V, left: I32): V => {
      const e = f.let(expNonPositive(f, f32x4.sub(v, max)));
      f.set(sum, f32x4.add(sum, v128.and(e, firstLanes(f, left))));
      return e;
    };
    if (logarithm) {
      forVectors(f, n, (offset, left) => {
        addExp(v128.load(i32.add(x, offset)), left);
      });
      const shift = f.let(f32x4.add(max, log(f, acrossLanes(f, f32x4.add, sum))));
      mapRow(f, x, y, n, (v) => f32x4.sub(v, shift));
    } else {
      mapRow(f, x, y, n, (v, _, left) => addExp(v, left));
      const scale = f.let(f32x4.div(constant(f, 1), acrossLanes(f, f32x4.add, sum)));
      mapRow(f, y, y, n, (v) => f32x4.mul(v, scale));
    }
  });
}

const columnsParams = { x: "i32", y: "i32", columns: "i32", rows: "i32", stride: "i32" } as const;
export type ColumnsFunction = Func<typeof columnsParams, undefined>;

/** Four columns of a matrix: `down` calls its argument for each row, with `at` and `to` on what is read and written. */
interface FourColumns {
  readonly at: I32;
  readonly to: I32;
  /** That are left, these among them. */
  readonly columns: I32;
  down(row: () => void): void;
}

/** A function of the columns of a matrix whose rows are `stride` bytes apart, four at a time. */
export function emitFourColumns(
  m: ModuleBuilder,
  name: string,
  body: (f: FunctionBuilder, four: FourColumns) => void,
): ColumnsFunction {
  return m.func({ name, params: columnsParams }, (f, { x, y, columns, rows, stride }) => {
    const [at, to, row] = f.locals("i32", 3);
    const down = (visit: () => void): void => {
      f.set(at, x);
      f.set(to, y);
      f.forRange(row, 0, rows, 1, () => {
        visit();
        f.increment(at, stride);
        f.increment(to, stride);
      });
    };
    f.while(i32.gt_s(columns, 0), () => {
      body(f, { at, to, columns, down });
      f.increment(x, 16);
      f.increment(y, 16);
      f.increment(columns, -4);
    });
  });
}

/** Softmax down the columns of a matrix. */
export function emitSoftmaxColumns(m: ModuleBuilder, name: string, logarithm: boolean): ColumnsFunction {
  return emitFourColumns(m, name, (f, { at, to, columns, down }) => {
    const [max, sum] = f.locals("v128", 2);
    f.set(max, constant(f, Number.NEGATIVE_INFINITY));
    f.set(sum, constant(f, 0));
    down(() => f.set(max, f32x4.pmax(max, v128.load(at))));
    down(() => {
      const e = f.let(expNonPositive(f, f32x4.sub(v128.load(at), max)));
      f.set(sum, f32x4.add(sum, e));
      if (!logarithm) storeUpTo(f, "f32", to, e, columns);
    });
    if (logarithm) {
      f.set(max, f32x4.add(max, log(f, sum)));
      down(() => storeUpTo(f, "f32", to, f32x4.sub(v128.load(at), max), columns));
    } else {
      f.set(sum, f32x4.div(constant(f, 1), sum));
      down(() => storeUpTo(f, "f32", to, f32x4.mul(v128.load(to), sum), columns));
    }
  });
}

/** The mean of a row, and 1 / sqrt(variance + epsilon), in every lane. */
export function statistics(f: FunctionBuilder, x: I32, n: I32, count: V, epsilon: number): { mean: V; inverse: V } {
  const mean = f.let(f32x4.div(foldRow(f, sumFold, x, n), count));
  const deviation = (g: FunctionBuilder, v: V): V => {
    const d = g.let(f32x4.sub(v, mean));
    return f32x4.mul(d, d);
  };
  return { mean, inverse: inverseRoot(f, foldRow(f, { ...sumFold, map: deviation }, x, n), count, epsilon) };
}

const inverseRoot = (f: FunctionBuilder, sum: V, count: V, epsilon: number): V =>
  f.let(f32x4.div(constant(f, 1), f32x4.sqrt(f32x4.add(f32x4.div(sum, count), constant(f, epsilon)))));

const normParams = { x: "i32", y: "i32", n: "i32", scale: "i32", bias: "i32", count: "v128" } as const;
export type NormRowFunction = Func<typeof normParams, undefined>;

export interface NormRowOptions {
  readonly name: string;
  readonly epsilon: number;
  /** Without: divided by the root of the mean square only. */
  readonly centered: boolean;
  readonly bias: boolean;
}

/** One row of layerNorm or rmsNorm; scale and bias are rows too. */
export function emitNormRow(m: ModuleBuilder, { name, epsilon, centered, bias }: NormRowOptions): NormRowFunction {
  return m.func({ name, params: normParams }, (f, p) => {
    const { x, y, n, count } = p;
    const square = (g: FunctionBuilder, v: V): V => {
      const d = g.let(v);
      return f32x4.mul(d, d);
    };
    const { mean, inverse } = centered
      ? statistics(f, x, n, count, epsilon)
      : { mean: undefined, inverse: inverseRoot(f, foldRow(f, { ...sumFold, map: square }, x, n), count, epsilon) };
    mapRow(f, x, y, n, (v, offset) => {
      const normal = f32x4.mul(mean ? f32x4.sub(v, mean) : v, inverse);
      const scaled = f32x4.mul(normal, v128.load(i32.add(p.scale, offset)));
      return bias ? f32x4.add(scaled, v128.load(i32.add(p.bias, offset))) : scaled;
    });
  });
}
