/**
 * Pooling of one row of outputs: first down the columns, over all rows under the window, into a row of its own; then
 * along that row. kernel rows + kernel columns operations for each output instead of their product.
 */
import { type Expr, type Func, type FunctionBuilder, f32, f32x4, i32, type ModuleBuilder, v128 } from "../assembler.ts";
import { forFours, storeFour } from "./blocks.ts";
import type { Source } from "./conv-stage.ts";
import { constant } from "./math.ts";

/** `sums`: a row of workspace. `counts` [width] and `count`: elements under a window are their product (averages only). */
const poolParams = { x: "i32", sums: "i32", y: "i32", counts: "i32", count: "v128" } as const;
export type PoolFunction = Func<typeof poolParams, undefined>;

export interface PoolRowOptions {
  readonly name: string;
  readonly kind: "max" | "average";
  readonly source: Source;
  /** Depths under a window. */
  readonly slices: number;
  /** Floats of a row of x, all phases. */
  readonly floats: number;
  readonly width: number;
  /** Every window has this many elements: no counts. */
  readonly count?: number;
}

export function emitPoolRow(m: ModuleBuilder, o: PoolRowOptions): PoolFunction {
  const { source, width } = o;
  const combine = o.kind === "max" ? maximum : sum;
  return m.func({ name: o.name, params: poolParams }, (f, p) => {
    const at = f.local("i32");
    const rows = Array.from({ length: o.slices }, (_, s) => source.taps.map(([row]) => row + s * source.sliceBytes));
    f.forRange(at, 0, 4 * o.floats, 16, () => {
      const from = f.let(i32.add(p.x, at));
      const values = rows.flat().map((offset) => v128.load(from, offset));
      f.v128.store(i32.add(p.sums, at), combine(f, values));
    });
    const finish = (total: Expr<"v128">, counts: Expr<"i32">) => {
      if (o.kind === "max") return total;
      return f32x4.div(total, o.count ? constant(f, o.count) : f32x4.mul(v128.load(counts), p.count));
    };
    forFours(f, width, (at) => {
      const from = f.let(i32.add(p.sums, at));
      const total = combine(
        f,
        source.taps[0].map((offset) => v128.load(from, offset)),
      );
      storeFour(f, width, f.let(i32.add(p.y, at)), finish(total, i32.add(p.counts, at)));
    });
  });
}

function sum(f: FunctionBuilder, values: readonly Expr<"v128">[]): Expr<"v128"> {
  const total = f.let(values[0]);
  for (const v of values.slice(1)) f.set(total, f32x4.add(total, v));
  return total;
}

/** The largest, NaN if there is one: three instructions for each, where f32x4.max takes seven on x86. */
function maximum(f: FunctionBuilder, values: readonly Expr<"v128">[]): Expr<"v128"> {
  const best = f.let(values[0]);
  const unordered = f.let(f32x4.ne(best, best));
  for (const v of values.slice(1)) {
    const value = f.let(v);
    f.set(best, f32x4.pmax(best, value));
    f.set(unordered, v128.or(unordered, f32x4.ne(value, value)));
  }
  return v128.or(best, unordered);
}

const reduceParams = { x: "i32", y: "i32" } as const;

/** The mean or maximum of `size` neighbouring floats, in sixteen parts. */
export function emitReducePlane(
  m: ModuleBuilder,
  { name, kind, size }: { name: string; kind: "max" | "average"; size: number },
): Func<typeof reduceParams, undefined> {
  const start = kind === "max" ? Number.NEGATIVE_INFINITY : 0;
  const parts = 4;
  const block = 4 * parts;
  const [vectors, scalars] = kind === "max" ? [f32x4.max, f32.max] : [f32x4.add, f32.add];
  return m.func({ name, params: reduceParams }, (f, { x, y }) => {
    const totals = f.locals("v128", parts);
    for (const t of totals) f.set(t, constant(f, start));
    const whole = f.let(i32.add(x, 4 * block * Math.floor(size / block)));
    const end = f.let(i32.add(x, 4 * size));
    f.while(i32.lt_u(x, whole), () => {
      totals.forEach((t, i) => {
        f.set(t, vectors(t, v128.load(x, 16 * i)));
      });
      f.increment(x, 4 * block);
    });
    const four = f.let(totals.slice(1).reduce<Expr<"v128">>(vectors, totals[0]));
    const lanes = [0, 1, 2, 3].map((i) => f32x4.extract_lane(four, i));
    const total = f.let(lanes.slice(1).reduce(scalars, lanes[0]));
    f.while(i32.lt_u(x, end), () => {
      f.set(total, scalars(total, f32.load(x)));
      f.increment(x, 4);
    });
    f.f32.store(y, kind === "max" ? total : f32.div(total, size));
  });
}
