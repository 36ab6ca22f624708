/** The keys of a block of a cache become scores, and scores the weights of values. See cached-attention.ts. */
import { type Expr, type Func, f32, f32x4, i8x16, i32, type Local, v128 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import { type CachedAttentionShape, cacheWalk, half, mostRows, partialLayout, scratchLayout } from "./cache-walk.ts";
import { type Fence, fenced } from "./fence.ts";
import { multiplyAdd } from "./gemm-tile.ts";
import { constant, exp, expNonPositive, tanh } from "./math.ts";
import { acrossLanes } from "./vector-rows.ts";

const scoreParams = { k: "i32", some: "i32", scratch: "i32" } as const;

/** Scores of `some` keys, one of each run side by side, then of those that are left, and -Infinity up to a number of fours. */
export function emitScores(e: StepEmitter, shape: CachedAttentionShape): Func<typeof scoreParams, undefined> {
  const { heads, kvHeads, dim, dtype, softcap } = shape;
  const { fma } = e.target.features;
  const at = scratchLayout(shape);
  const name = `cachedAttention/scores/${heads}/${kvHeads}/${dim}/${dtype}/${softcap}`;
  return e.shared(name, (module) =>
    module.func({ name, params: scoreParams }, (f, { k, some, scratch }) => {
      const walk = cacheWalk(f, shape, dim);
      const [i, query, scores] = f.locals("i32", 3);
      const key = f.local("v128");
      const keys = f.locals("i32", 4);
      const visible = f.local("v128");
      const last = f.let(i32.add(k, i32.mul(i32.sub(some, 1), walk.rowBytes)));
      const queries = f.locals("v128", mostRows);
      const dots = queries.map(() => f.locals("v128", 4));
      const halves = queries.map(() => f.locals("v128", 2));
      let fence: Fence;
      const fourScores = (rows: number) => {
        const together = rows > 2 ? 2 : 4;
        for (let first = 0; first < 4; first += together) {
          const some = [0, 1, 2, 3].slice(first, first + together);
          for (const dot of dots.slice(0, rows)) for (const x of some) f.set(dot[x], constant(f, 0));
          for (let d = 0; d < dim; d += 4) {
            for (let r = 0; r < rows; r++) f.set(queries[r], v128.load(query, 4 * (r * dim + d)));
            for (const x of some) {
              f.set(key, walk.load(keys[x], d));
              for (let r = 0; r < rows; r++) f.set(dots[r][x], multiplyAdd(fma, queries[r], key, dots[r][x]));
            }
            // Two steps of one row fit the registers.
            if (rows > 1 || d & 4) fence(dots.slice(0, rows).flatMap((dot) => some.map((x) => dot[x])));
          }
          for (let r = 0; r < rows; r++)
            for (const x of some) if (x % 2) f.set(halves[r][x >> 1], pairSums(dots[r][x - 1], dots[r][x]));
        }
        for (let r = 0; r < rows; r++) {
          let score = walk.grown(fourSums(halves[r][0], halves[r][1]));
          if (softcap > 0) score = f32x4.mul(tanh(f, f32x4.mul(score, constant(f, 1 / softcap))), constant(f, softcap));
          f.v128.store(scores, v128.bitselect(score, constant(f, Number.NEGATIVE_INFINITY), visible), r * at.row);
        }
        f.increment(query, 4 * rows * dim);
        f.increment(scores, rows * at.row);
      };
      const left = walk.startRuns(keys, k, some);
      f.forRange(i, 0, some, 4, () => {
        f.if(i32.eq(i, left), () =>
          keys.forEach((address, x) => {
            f.set(address, i32.add(k, i32.mul(i32.add(left, x), walk.rowBytes)));
            f.if(i32.gt_u(address, last), () => f.set(address, last));
          }),
        );
        const numbers = f32x4.add(f32x4.splat(f32.convert_i32_s(i)), f.hoist(v128.const(new Uint8Array(lanes.buffer))));
        f.set(visible, f32x4.lt(numbers, f32x4.splat(f32.convert_i32_s(some))));
        f.set(query, scratch);
        f.set(scores, i32.add(i32.add(scratch, i32.shl(i, 2)), at.scores));
        fenced(f, query, { fma }, (ends) => {
          fence = ends;
          walk.forHeads(fourScores, () => {
            for (const address of keys) f.increment(address, walk.headBytes);
          });
        });
      });
    }),
  );
}

const pairSums = (a: Local<"v128">, b: Local<"v128">): Expr<"v128"> =>
  f32x4.add(i8x16.shuffle(a, b, words(0, 4, 1, 5)), i8x16.shuffle(a, b, words(2, 6, 3, 7)));

const fourSums = (ab: Local<"v128">, cd: Local<"v128">): Expr<"v128"> =>
  f32x4.add(i8x16.shuffle(ab, cd, words(0, 1, 4, 5)), i8x16.shuffle(ab, cd, words(2, 3, 6, 7)));

const lanes = Float32Array.of(0, 1, 2, 3);
const words = (...order: number[]): number[] => order.flatMap((w) => [4 * w, 4 * w + 1, 4 * w + 2, 4 * w + 3]);

const weightParams = { some: "i32", partial: "i32", scratch: "i32" } as const;

/** The scores of each head become weights, relative to the largest so far; where that has grown, its sums shrink. */
export function emitWeights(e: StepEmitter, shape: CachedAttentionShape): Func<typeof weightParams, undefined> {
  const { heads, dim, valueDim, dtype } = shape;
  const at = scratchLayout(shape);
  const name = `cachedAttention/weights/${heads}/${dim}/${valueDim}/${dtype}`;
  return e.shared(name, (module) =>
    module.func({ name, params: weightParams }, (f, { some, partial, scratch }) => {
      const [i, h, from, end] = f.locals("i32", 4);
      const [largest4, sum4] = f.locals("v128", 2);
      const scores = f.let(i32.add(scratch, at.scores));
      const sums = f.let(partial);
      const state = f.let(i32.add(partial, partialLayout(shape).largest));
      const forScores = (body: () => void) => {
        f.set(from, scores);
        f.while(i32.lt_u(from, end), () => {
          body();
          f.increment(from, 16);
        });
      };
      f.forRange(h, 0, heads, 1, () => {
        f.set(end, i32.add(scores, i32.shl(some, 2)));
        f.set(largest4, constant(f, Number.NEGATIVE_INFINITY));
        forScores(() => f.set(largest4, f32x4.max(largest4, v128.load(from))));
        const largest = f.let(acrossLanes(f, f32x4.max, largest4));
        const before = f.let(f32x4.splat(f32.load(state)));
        f.if(f32.gt(f32x4.extract_lane(largest, 0), f32x4.extract_lane(before, 0)), () => {
          // exp(-inf) = 0 in the first block, where the sums are zero anyway.
          const shrink = f.let(exp(f, f32x4.sub(before, largest)));
          f.f32.store(state, f32x4.extract_lane(largest, 0));
          f.f32.store(state, f32.mul(f32.load(state, 4 * heads), f32x4.extract_lane(shrink, 0)), 4 * heads);
          f.forRange(i, 0, 4 * valueDim, 16, () => {
            const to = f.let(i32.add(sums, i));
            f.v128.store(to, f32x4.mul(v128.load(to), shrink));
          });
          f.set(before, largest);
        });
        f.set(sum4, constant(f, 0));
        forScores(() => {
          const weight = f.let(expNonPositive(f, f32x4.sub(v128.load(from), before)));
          f.v128.store(from, dtype === "f16" ? f32x4.mul(weight, constant(f, half)) : weight);
          f.set(sum4, f32x4.add(sum4, weight));
        });
        const sum = f32x4.extract_lane(f.let(acrossLanes(f, f32x4.add, sum4)), 0);
        f.f32.store(state, f32.add(f32.load(state, 4 * heads), sum), 4 * heads);
        f.increment(scores, at.row);
        f.increment(sums, 4 * valueDim);
        f.increment(state, 4);
      });
    }),
  );
}
