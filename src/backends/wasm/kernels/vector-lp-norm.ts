/**
 * Vectors divided by their L1 or L2 norm, f32, in three sweeps: the largest magnitude; the norm of the elements times a
 * power of two that brings it near 1, so that squares neither overflow nor vanish; the quotients.
 */
import { type Expr, type FunctionBuilder, f32x4, i32x4, type ModuleBuilder, v128 } from "../assembler.ts";
import { constant, type VectorFunction } from "./math.ts";
import { storeUpTo } from "./vector.ts";
import { type ColumnsFunction, emitFourColumns, mapRow, type RowFunction } from "./vector-norm.ts";
import { type Fold, foldRow, maxFold, sumFold } from "./vector-rows.ts";

type V = Expr<"v128">;

export type Order = 1 | 2;

const ints = (f: FunctionBuilder, value: number): V =>
  f.hoist(v128.const(new Uint8Array(Int32Array.of(value, value, value, value).buffer)));

/** A power of two for each lane, with which `largest`, no less than 0, comes to [1, 4) unless it is subnormal, infinite or NaN. */
function nearOne(f: FunctionBuilder, largest: V): V {
  const exponent = v128.and(largest, ints(f, 0x7f800000));
  return i32x4.max_s(i32x4.sub(ints(f, 254 << 23), exponent), ints(f, 1 << 23));
}

/** What an element scaled by `scale` adds to the sum. */
const term =
  (p: Order, scale: V): VectorFunction =>
  (f, x) => {
    const v = f.let(f32x4.mul(x, scale));
    return p === 2 ? f32x4.mul(v, v) : f32x4.abs(v);
  };

/** 1 / the norm whose sum of terms `sum` is; 0 where that is 0. */
function inverse(f: FunctionBuilder, p: Order, sum: V): V {
  const norm = f.let(p === 2 ? f32x4.sqrt(sum) : sum);
  return v128.and(f32x4.div(constant(f, 1), norm), f32x4.ne(norm, constant(f, 0)));
}

const magnitude: Fold = { ...maxFold, start: 0, map: (_, x) => f32x4.abs(x) };

export function emitLpNormRow(m: ModuleBuilder, name: string, p: Order): RowFunction {
  return m.func({ name, params: { x: "i32", y: "i32", n: "i32" } }, (f, { x, y, n }) => {
    const scale = f.let(nearOne(f, f.let(foldRow(f, magnitude, x, n))));
    const norm = f.let(inverse(f, p, f.let(foldRow(f, { ...sumFold, map: term(p, scale) }, x, n))));
    mapRow(f, x, y, n, (v) => f32x4.mul(f32x4.mul(v, scale), norm));
  });
}

export function emitLpNormColumns(m: ModuleBuilder, name: string, p: Order): ColumnsFunction {
  return emitFourColumns(m, name, (f, { at, to, columns, down }) => {
    const [total, scale] = f.locals("v128", 2);
    const fold = ({ start, combine, map }: Fold): void => {
      f.set(total, constant(f, start));
      down(() => {
        const v = v128.load(at);
        f.set(total, combine(total, map ? map(f, v) : v));
      });
    };
    fold(magnitude);
    f.set(scale, nearOne(f, total));
    fold({ ...sumFold, map: term(p, scale) });
    f.set(total, inverse(f, p, total));
    down(() => storeUpTo(f, "f32", to, f32x4.mul(f32x4.mul(v128.load(at), scale), total), columns));
  });
}
