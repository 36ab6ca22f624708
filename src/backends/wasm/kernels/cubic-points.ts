/**
 * Bicubic samples of planes at computed positions, on the table of sample-points.ts: a point has the offset of the first
 * of 4 x 4 neighbours and 16 weights, a vector for each row. Neighbours outside are no case of their own when sampling:
 * the square moves inside, and each tap's weight is added to that of the element it reads, or to none. What has weight 0
 * counts as 0. Planes are 4 x 4 at least.
 */
import type { GridSampleAttrs } from "../../../ops/grid-sample.ts";
import {
  type Expr,
  type Func,
  type FunctionBuilder,
  f32,
  f32x4,
  f64,
  i32,
  i32x4,
  type Local,
  type ModuleBuilder,
  select,
  v128,
} from "../assembler.ts";
import { lanesOf, type Neighbours, weigh } from "./sample-points.ts";

export const CUBIC_VECTORS = 4;

const vector = (f: FunctionBuilder, values: Float32Array | Int32Array) =>
  f.hoist(v128.const(new Uint8Array(values.buffer)));
const repeated = (v: Expr<"v128">, lane: number) => lanesOf(v, v, [lane, lane, lane, lane]);

/** Keys' kernel with a = -0.75 at 1 + t, t, 1 - t and 2 - t, factored so that nothing cancels. */
function keys(f: FunctionBuilder, t: Expr<"f32">): Expr<"v128"> {
  const [a, one] = [-0.75, vector(f, new Float32Array(4).fill(1))];
  const near = f.let(
    f32x4.add(
      f32x4.mul(f32x4.splat(t), vector(f, Float32Array.of(1, 1, -1, -1))),
      vector(f, Float32Array.of(0, 0, 1, 1)),
    ),
  );
  const far = f.let(f32x4.sub(one, near));
  const outer = f32x4.mul(f32x4.mul(f32x4.mul(near, far), far), f32x4.splat(a));
  const bend = f32x4.sub(f32x4.mul(near, f32x4.splat(a + 2)), f32x4.splat(a + 3));
  const inner = f32x4.add(f32x4.mul(f32x4.mul(near, near), bend), one);
  return lanesOf(outer, inner, [0, 5, 6, 3]);
}

const pointParams = { y: "f64", x: "f64", height: "i32", width: "i32", offset: "i32", weights: "i32" } as const;

/** Stores one point. Positions in elements; where one is not finite, all weights are 0. */
export function emitCubicPoint(
  m: ModuleBuilder,
  name: string,
  { paddingMode = "zeros", alignCorners }: GridSampleAttrs,
): Func<typeof pointParams, undefined> {
  return m.func({ name, params: pointParams }, (f, { y, x, height, width, offset, weights }) => {
    const along = (v: Local<"f64">, n: Local<"i32">) => {
      const floor = f.let(f64.floor(v));
      const rest = f.let(f64.sub(v, floor));
      const taps = f.let(f32x4.splat(0));
      f.if(f64.eq(rest, rest), () => f.set(taps, keys(f, f32.demote_f64(rest))));
      // Any place further out reads the same, and is no integer of 32 bits.
      const near = f64.min(f64.max(floor, -4), f64.convert_i32_s(i32.add(n, 4)));
      const first = f.let(i32.sub(i32.trunc_sat_f64_s(near), 1));
      const limit = f.let(i32.sub(n, 4));
      const start = f.let(select(i32.const(0), first, i32.lt_s(first, 0)));
      f.set(start, select(limit, start, i32.gt_s(start, limit)));
      const places = vector(f, Int32Array.of(0, 1, 2, 3));
      const read = f.let(i32x4.add(i32x4.splat(first), places));
      if (paddingMode === "border")
        f.set(read, i32x4.min_s(i32x4.max_s(read, i32x4.splat(0)), i32x4.splat(i32.sub(n, 1))));
      if (paddingMode === "reflection") {
        // An edge between elements repeats the last one.
        const twice = alignCorners ? 0 : 1;
        const last = i32.sub(i32.shl(n, 1), 2 - twice);
        f.set(read, i32x4.max_s(read, i32x4.sub(i32x4.splat(-twice), read)));
        f.set(read, i32x4.min_s(read, i32x4.sub(i32x4.splat(last), read)));
      }
      f.set(read, i32x4.sub(read, i32x4.splat(start)));
      const shares = [0, 1, 2, 3].map((t) => v128.and(i32x4.eq(repeated(read, t), places), repeated(taps, t)));
      return { start, weights: f.let(shares.reduce((p, q) => f32x4.add(p, q))) };
    };
    const [rows, columns] = [along(y, height), along(x, width)];
    f.i32.store(offset, i32.shl(i32.add(i32.mul(rows.start, width), columns.start), 2));
    for (let r = 0; r < CUBIC_VECTORS; r++)
      f.v128.store(weights, f32x4.mul(columns.weights, repeated(rows.weights, r)), 16 * r);
  });
}

export const bicubic: Neighbours = (f, { x, row }, offset, weights) => {
  const at = f.let(i32.add(x, offset));
  const sum = f.let(weigh(f, v128.load(at), weights(0)));
  for (let r = 1; r < CUBIC_VECTORS; r++) {
    f.increment(at, row);
    f.set(sum, f32x4.add(sum, weigh(f, v128.load(at), weights(r))));
  }
  return sum;
};
