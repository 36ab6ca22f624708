/** Means of integers, truncated. Sums are in lanes of 64 bits, which hold those of 2^31 elements of 32. */
import {
  type Expr,
  type Func,
  type FunctionBuilder,
  i32,
  i32x4,
  i64,
  i64x2,
  type Local,
  type ModuleBuilder,
  v128,
} from "../assembler.ts";
import type { Integer } from "./integers.ts";

/** Two elements, as 64-bit lanes. */
function loadPair({ bytes, signed }: Integer, at: Local<"i32">, offset: number): Expr<"v128"> {
  if (bytes === 8) return v128.load(at, offset);
  if (bytes === 4) return signed ? v128.load32x2_s(at, offset) : v128.load32x2_u(at, offset);
  if (bytes === 2)
    return signed
      ? i64x2.extend_low_i32x4_s(v128.load16x4_s(at, offset))
      : i64x2.extend_low_i32x4_u(v128.load16x4_u(at, offset));
  return signed
    ? i64x2.extend_low_i32x4_s(i32x4.extend_low_i16x8_s(v128.load8x8_s(at, offset)))
    : i64x2.extend_low_i32x4_u(i32x4.extend_low_i16x8_u(v128.load8x8_u(at, offset)));
}

/** Adds the pair of that number after `at` to its sum. */
const adder =
  (f: FunctionBuilder, t: Integer, sums: readonly Local<"v128">[], at: Local<"i32">) =>
  (pair: number): void =>
    f.set(sums[pair], i64x2.add(sums[pair], loadPair(t, at, 2 * t.bytes * pair)));

/** y[index] = sum / count */
function storeMean(
  f: FunctionBuilder,
  { bytes, signed }: Integer,
  y: Local<"i32">,
  index: number,
  sum: Expr<"i64">,
  count: Local<"i64">,
): void {
  const store = ({ 1: "store8", 2: "store16", 4: "store32", 8: "store" } as const)[bytes];
  f.i64[store](y, (signed ? i64.div_s : i64.div_u)(sum, count), index * bytes);
}

const rowsParams = { x: "i32", y: "i32", n: "i32", rows: "i32", stride: "i32", count: "i64" } as const;

/** y = the mean of `rows` rows of `n` elements, `stride` bytes apart. */
export function emitMeanRows(m: ModuleBuilder, t: Integer): Func<typeof rowsParams, undefined> {
  return m.func({ name: `mean ${t.dtype}/rows`, params: rowsParams }, (f, { x, y, n, rows, stride, count }) => {
    const sums = f.locals("v128", 4);
    const [at, left] = f.locals("i32", 2);
    const add = adder(f, t, sums, at);
    f.while(rows, () => {
      f.set(at, x);
      f.set(left, n);
      for (const pairs of [sums.length, 1])
        f.while(i32.ge_s(left, 2 * pairs), () => {
          for (let pair = 0; pair < pairs; pair++) add(pair);
          f.increment(at, 2 * t.bytes * pairs);
          f.increment(left, -2 * pairs);
        });
      f.if(left, () => f.set(sums[1], i64x2.add(sums[1], i64x2.replace_lane(loadPair(t, at, 0), 1, 0n))));
      f.increment(x, stride);
      f.increment(rows, -1);
    });
    const total = f.let(sums.slice(1).reduce<Expr<"v128">>((a, b) => i64x2.add(a, b), sums[0]));
    storeMean(f, t, y, 0, i64.add(i64x2.extract_lane(total, 0), i64x2.extract_lane(total, 1)), count);
  });
}

const columnsParams = { x: "i32", y: "i32", columns: "i32", rows: "i32", stride: "i32", count: "i64" } as const;

/** y[i] = the mean of `rows` elements, `stride` bytes apart, for each of some columns. */
export function emitMeanColumns(m: ModuleBuilder, t: Integer): Func<typeof columnsParams, undefined> {
  return m.func({ name: `mean ${t.dtype}/columns`, params: columnsParams }, (f, p) => {
    const { x, y, columns, rows, stride, count } = p;
    const [at, left] = f.locals("i32", 2);
    const sums = f.locals("v128", 8);
    const add = adder(f, t, sums, at);
    const tile = (pairs: number, width: number): void => {
      for (const sum of sums.slice(0, pairs)) f.set(sum, i64x2.splat(0n));
      f.set(at, x);
      f.set(left, rows);
      f.while(left, () => {
        for (let pair = 0; pair < pairs; pair++) add(pair);
        f.increment(at, stride);
        f.increment(left, -1);
      });
      for (let i = 0; i < width; i++) storeMean(f, t, y, i, i64x2.extract_lane(sums[i >> 1], i & 1), count);
      f.increment(x, t.bytes * width);
      f.increment(y, t.bytes * width);
      f.increment(columns, -width);
    };
    f.while(i32.ge_s(columns, 16), () => tile(8, 16));
    f.while(i32.ge_s(columns, 2), () => tile(1, 2));
    f.if(columns, () => tile(1, 1));
  });
}
