/**
 * Bilinear samples of planes at computed positions. A point is worked out once, for all channels: the offset of the first
 * of its four neighbours, and their weights as one vector. Two loads of 8 bytes bring the neighbours into one vector too.
 *
 * Neighbours that lie outside have weight 0: a point at the edge moves inside by one, its weights with it. What has weight
 * 0 counts as 0, so that an infinity that a point does not touch does not make it NaN. Planes are 2 x 2 at least.
 */
import {
  type Expr,
  type Func,
  type FunctionBuilder,
  f32,
  f32x4,
  f64,
  i8x16,
  i32,
  type Local,
  type ModuleBuilder,
  select,
  v128,
} from "../assembler.ts";
import { constant } from "./math.ts";

/** Points: offsets of 4 bytes and weights of 16, each in an array of its own. */
export const POINT_BYTES = 4 + 16;

const pointParams = {
  /** Position, in elements. Where it is NaN or lies outside by an element or more, all weights are 0. */
  y: "f64",
  x: "f64",
  height: "i32",
  width: "i32",
  /** What weights are multiplied with. */
  scale: "f32",
  offset: "i32",
  weights: "i32",
} as const;

/** Stores one point. */
export function emitPoint(m: ModuleBuilder, name: string): Func<typeof pointParams, undefined> {
  return m.func({ name, params: pointParams }, (f, { y, x, height, width, scale, offset, weights }) => {
    /** The first of two neighbours inside, and the weights of both. */
    const along = (v: Local<"f64">, n: Local<"i32">) => {
      f.set(v, select(v, f64.const(-9), f64.eq(v, v)));
      const low = f.let(f64.min(f64.max(f64.floor(v), 0), f64.convert_i32_s(i32.sub(n, 2))));
      const tent = (at: Expr<"f64">) => f.let(f32.demote_f64(f64.max(f64.sub(1, f64.abs(f64.sub(v, at))), 0)));
      return { first: i32.trunc_sat_f64_s(low), weights: [tent(low), tent(f64.add(low, 1))] };
    };
    const rows = along(y, height);
    const columns = along(x, width);
    f.i32.store(offset, i32.shl(i32.add(i32.mul(rows.first, width), columns.first), 2));
    rows.weights.forEach((row, r) => {
      columns.weights.forEach((column, c) => {
        f.f32.store(weights, f32.mul(f32.mul(row, column), scale), 4 * (2 * r + c));
      });
    });
  });
}

/** Four elements by their weights; 0 where the weight is. */
export function weigh(f: FunctionBuilder, four: Expr<"v128">, weights: Expr<"v128">): Expr<"v128"> {
  const w = f.let(weights);
  return v128.and(f32x4.mul(four, w), f32x4.ne(w, constant(f, 0)));
}

/** The weighted neighbours, summed to four lanes, of the point at `offset` from `x`; its weights are vectors, by number. */
export type Neighbours = (
  f: FunctionBuilder,
  plane: { readonly x: Expr<"i32">; readonly row: Expr<"i32"> },
  offset: Expr<"i32">,
  weights: (vector: number) => Expr<"v128">,
) => Local<"v128">;

const bilinear: Neighbours = (f, { x, row }, offset, weights) => {
  const at = f.let(i32.add(x, offset));
  return f.let(weigh(f, v128.load64_lane(i32.add(at, row), v128.load64_zero(at), 1), weights(0)));
};

/** Lanes of two vectors, by number. */
export const lanesOf = (a: Expr<"v128">, b: Expr<"v128">, lanes: readonly number[]): Expr<"v128"> =>
  i8x16.shuffle(
    a,
    b,
    lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte)),
  );

type Combine = (a: Expr<"v128">, b: Expr<"v128">) => Expr<"v128">;

/** All four lanes combined, in lane 0. */
function acrossLanes(f: FunctionBuilder, v: Local<"v128">, combine: Combine): Expr<"v128"> {
  const two = f.let(combine(v, lanesOf(v, v, [2, 3, 2, 3])));
  return combine(two, lanesOf(two, two, [1, 1, 1, 1]));
}

const sampleParams = {
  /** A plane, and the bytes of one of its rows. */
  x: "i32",
  row: "i32",
  offsets: "i32",
  weights: "i32",
  n: "i32",
  out: "i32",
} as const;

/** A sample at each of n points, which have `vectors` of weights. */
export function emitSamples(
  m: ModuleBuilder,
  name: string,
  neighbours = bilinear,
  vectors = 1,
): Func<typeof sampleParams, undefined> {
  return m.func({ name, params: sampleParams }, (f, { x, row, offsets, weights, n, out }) => {
    const weighted = (i: number) =>
      neighbours(f, { x, row }, i32.load(offsets, 4 * i), (v) => v128.load(weights, 16 * (vectors * i + v)));
    f.while(i32.ge_s(n, 4), () => {
      const [a, b, c, d] = [0, 1, 2, 3].map(weighted);
      const pairs = (p: Expr<"v128">, q: Expr<"v128">) =>
        f.let(f32x4.add(lanesOf(p, q, [0, 2, 4, 6]), lanesOf(p, q, [1, 3, 5, 7])));
      const [low, high] = [pairs(a, b), pairs(c, d)];
      f.v128.store(out, pairs(low, high));
      f.increment(offsets, 16);
      f.increment(weights, 64 * vectors);
      f.increment(out, 16);
      f.increment(n, -4);
    });
    f.while(i32.gt_s(n, 0), () => {
      f.v128.store32_lane(out, acrossLanes(f, weighted(0), f32x4.add), 0);
      f.increment(offsets, 4);
      f.increment(weights, 16 * vectors);
      f.increment(out, 4);
      f.increment(n, -1);
    });
  });
}

const binParams = { ...sampleParams, samples: "i32", factor: "f32", goesOn: "i32" } as const;

/**
 * For each of n bins: the sum of `samples` samples, times `factor`; or, of all their weighted neighbours, the largest.
 * `goesOn`: combined with what is there.
 */
export function emitBins(m: ModuleBuilder, name: string, largest: boolean): Func<typeof binParams, undefined> {
  const combine = largest ? f32x4.max : f32x4.add;
  return m.func({ name, params: binParams }, (f, { x, row, offsets, weights, n, out, samples, factor, goesOn }) => {
    const all = f.local("v128");
    const left = f.local("i32");
    f.while(i32.gt_s(n, 0), () => {
      f.set(all, constant(f, largest ? Number.NEGATIVE_INFINITY : 0));
      f.set(left, samples);
      f.while(left, () => {
        f.set(
          all,
          combine(
            all,
            bilinear(f, { x, row }, i32.load(offsets), () => v128.load(weights)),
          ),
        );
        f.increment(offsets, 4);
        f.increment(weights, 16);
        f.increment(left, -1);
      });
      const result = acrossLanes(f, all, combine);
      f.set(all, largest ? result : f32x4.mul(result, f32x4.splat(factor)));
      f.if(goesOn, () => f.set(all, combine(all, v128.load32_zero(out))));
      f.v128.store32_lane(out, all, 0);
      f.increment(out, 4);
      f.increment(n, -1);
    });
  });
}
