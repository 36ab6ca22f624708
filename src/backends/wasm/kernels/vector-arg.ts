/** Where the extreme element of rows of f32, and of columns, is. */
import { type Func, f32x4, i32, i32x4, type ModuleBuilder, v128 } from "../assembler.ts";
import { storeUpTo } from "./vector.ts";
import { type Fold, firstLanes, foldRow, maxFold } from "./vector-rows.ts";

export interface ArgReduction {
  readonly name: string;
  readonly largest: boolean;
  readonly last: boolean;
}

const argParams = { x: "i32", y: "i32", columns: "i32", rows: "i32", stride: "i32" } as const;
export type ArgColumnsFunction = Func<typeof argParams, undefined>;

/** y[0 .. columns) = the row (i64) of the extreme element of each column. NaN is beyond every number. */
export function emitArgColumns(m: ModuleBuilder, { name, largest, last }: ArgReduction): ArgColumnsFunction {
  return m.func({ name: `${name}/columns`, params: argParams }, (f, { x, y, columns, rows, stride }) => {
    const [top, best, v, better, number] = f.locals("v128", 5);
    const [at, row] = f.locals("i32", 2);
    const compare = largest ? (last ? f32x4.ge : f32x4.gt) : last ? f32x4.le : f32x4.lt;
    f.while(i32.gt_s(columns, 0), () => {
      f.set(at, x);
      f.set(top, v128.load(x));
      f.set(best, i32x4.splat(0));
      f.forRange(row, 1, rows, 1, () => {
        f.increment(at, stride);
        f.set(v, v128.load(at));
        // A NaN wins from a number; comparisons with a NaN that is already there fail.
        f.set(number, f32x4.eq(top, top));
        f.set(better, v128.or(compare(v, top), last ? f32x4.ne(v, v) : v128.and(f32x4.ne(v, v), number)));
        f.set(top, v128.bitselect(v, top, better));
        f.set(best, v128.bitselect(i32x4.splat(row), best, better));
      });
      storeUpTo(f, "i64", y, best, columns);
      f.increment(x, 16);
      f.increment(y, 32);
      f.increment(columns, -4);
    });
  });
}

const argRowParams = { x: "i32", y: "i32", n: "i32" } as const;
export type ArgRowFunction = Func<typeof argRowParams, undefined>;

/** y = the place (i64) of the extreme element of a row: found by its value, then searched from the end that counts. */
export function emitArgRow(m: ModuleBuilder, { name, largest, last }: ArgReduction): ArgRowFunction {
  const exact: Fold = largest ? maxFold : { start: Number.POSITIVE_INFINITY, combine: f32x4.min };
  return m.func({ name: `${name}/row`, params: argRowParams }, (f, { x, y, n }) => {
    const odd = f.local("v128");
    // One instruction each, of which the first loses NaN: where the second saw one, in the row or behind it, all is done again.
    const quick: Fold = {
      start: exact.start,
      combine: largest ? f32x4.pmax : f32x4.pmin,
      map(_, element) {
        const v = f.let(element);
        f.set(odd, v128.or(odd, f32x4.ne(v, v)));
        return v;
      },
    };
    const top = f.let(foldRow(f, quick, x, n));
    f.if(v128.any_true(odd), () => f.set(top, foldRow(f, exact, x, n)));
    const unordered = f.let(f32x4.ne(top, top));
    const [found, left] = f.locals("i32", 2);
    const i = f.let(last ? i32.and(i32.sub(n, 1), -4) : i32.const(0));
    const vector = (offset: number) => v128.load(i32.add(x, i32.shl(i, 2)), offset);
    if (!last)
      f.if(i32.eqz(v128.any_true(unordered)), () => {
        // Sixteen that it is not among.
        const rest = f.let(i32.sub(n, 16));
        f.loop((again) => {
          f.if(i32.le_s(i, rest), () => {
            const [a, b, c, d] = [0, 16, 32, 48].map((at) => f32x4.eq(vector(at), top));
            f.if(i32.eqz(v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))), () => {
              f.increment(i, 16);
              f.br(again);
            });
          });
        });
      });
    f.loop((again) => {
      f.set(left, i32.sub(n, i));
      const v = f.let(vector(0));
      const same = v128.or(f32x4.eq(v, top), v128.and(unordered, f32x4.ne(v, v)));
      f.set(found, i32x4.bitmask(v128.and(same, firstLanes(f, left))));
      f.if(found, () => {
        const lane = last ? i32.sub(31, i32.clz(found)) : i32.ctz(found);
        f.v128.store64_lane(y, i32x4.replace_lane(i32x4.splat(0), 0, i32.add(i, lane)), 0);
        f.return();
      });
      f.increment(i, last ? -4 : 4);
      f.br(again);
    });
  });
}
