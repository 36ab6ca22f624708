/**
 * One query over the keys and values of a cache, f32: y = softmax(scale q k^T) v.
 *
 * Keys are taken in blocks of 64. The scores of a block go to a small buffer, four keys at a time, so that each load of
 * the query serves four products and the four sums are transposed and added at once; then exponentials relative to the
 * largest score so far, with what was summed before scaled down where that has grown (online softmax, Milakov and
 * Gimelshein, https://arxiv.org/abs/1805.02867); then the weighted values, 32 columns at a time in registers.
 */
import { type Expr, type Func, type FunctionBuilder, f32, f32x4, i8x16, i32, type Local, v128 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import { multiplyAdd } from "./gemm-tile.ts";
import { constant, exp, tanh } from "./math.ts";

export interface CachedAttentionShape {
  readonly dim: number;
  readonly valueDim: number;
  /** Elements from one position to the next. */
  readonly kRow: number;
  readonly vRow: number;
  readonly scale: number;
  /** 0: none. */
  readonly softcap: number;
}

const blockKeys = 64;
/** Bytes of one thread's buffer. */
export const scoreBytes = 4 * blockKeys;
/** Vectors of sums in registers. */
const columnVectors = 8;

const params = { q: "i32", k: "i32", v: "i32", y: "i32", n: "i32", scores: "i32" } as const;
export type CachedAttentionFunction = Func<typeof params, undefined>;

/** `k` and `v` point to the first of `n` positions (at least one), of the right head. */
export function emitCachedAttention(e: StepEmitter, shape: CachedAttentionShape): CachedAttentionFunction {
  const { dim, valueDim, kRow, vRow, scale, softcap } = shape;
  const fma = e.target.features.relaxedSimd;
  const name = `cachedAttention/${[dim, valueDim, kRow, vRow, scale, softcap].join("/")}`;
  return e.shared(name, (module) =>
    module.func({ name, params }, (f, { q, k, v, y, n, scores }) => {
      const [block, keys, i, at, last, rows] = f.locals("i32", 6);
      const [r1, r2, r3] = f.locals("i32", 3);
      const [max, sum, largest] = f.locals("f32", 3);
      const [largest4, sum4, query] = f.locals("v128", 3);
      const dots = f.locals("v128", 4);
      f.set(max, -Infinity);
      f.forRange(i, 0, 4 * valueDim, 16, () => f.v128.store(i32.add(y, i), constant(f, 0)));
      f.set(last, i32.add(k, i32.mul(i32.sub(n, 1), 4 * kRow)));

      /** Scores of four keys from `rows`; those past the last key are computed from it, and masked. */
      const fourScores = (): Expr<"v128"> => {
        const next = (target: Local<"i32">, from: Local<"i32">) => {
          f.set(target, i32.add(from, 4 * kRow));
          f.if(i32.gt_u(target, last), () => f.set(target, last));
        };
        next(r1, rows);
        next(r2, r1);
        next(r3, r2);
        for (const d of dots) f.set(d, constant(f, 0));
        for (let d = 0; d < dim; d += 4) {
          f.set(query, v128.load(q, 4 * d));
          [rows, r1, r2, r3].forEach((r, j) => {
            f.set(dots[j], multiplyAdd(fma, query, v128.load(r, 4 * d), dots[j]));
          });
        }
        const total = transposedSum(f, dots);
        const scaled = f32x4.mul(total, constant(f, scale));
        if (softcap <= 0) return scaled;
        return f32x4.mul(tanh(f, f32x4.mul(scaled, constant(f, 1 / softcap))), constant(f, softcap));
      };

      f.set(block, 0);
      f.while(i32.lt_s(block, n), () => {
        f.set(keys, i32.sub(n, block));
        f.if(i32.gt_s(keys, blockKeys), () => f.set(keys, blockKeys));
        f.set(largest4, constant(f, -Infinity));
        f.set(rows, k);
        f.forRange(i, 0, keys, 4, () => {
          const visible = f32x4.lt(
            f32x4.add(f32x4.splat(f32.convert_i32_s(i)), f.hoist(v128.const(new Uint8Array(lanes.buffer)))),
            f32x4.splat(f32.convert_i32_s(keys)),
          );
          const score = f.let(v128.bitselect(fourScores(), constant(f, -Infinity), visible));
          f.v128.store(i32.add(scores, i32.shl(i, 2)), score);
          f.set(largest4, f32x4.max(largest4, score));
          f.increment(rows, 16 * kRow);
        });
        f.set(largest, horizontal(f.let(f32x4.max(largest4, i8x16.shuffle(largest4, largest4, upperHalf))), f32.max));
        f.if(f32.gt(largest, max), () => {
          // exp(-inf) = 0 in the first block, where the sums are zero anyway.
          const shrink = f.let(exp(f, f32x4.splat(f32.sub(max, largest))));
          f.set(sum, f32.mul(sum, f32x4.extract_lane(shrink, 0)));
          f.forRange(i, 0, 4 * valueDim, 16, () => {
            f.v128.store(i32.add(y, i), f32x4.mul(v128.load(i32.add(y, i)), shrink));
          });
          f.set(max, largest);
        });
        f.set(sum4, constant(f, 0));
        f.forRange(i, 0, keys, 4, () => {
          f.set(at, i32.add(scores, i32.shl(i, 2)));
          const weight = f.let(exp(f, f32x4.sub(v128.load(at), f32x4.splat(max))));
          f.v128.store(at, weight);
          f.set(sum4, f32x4.add(sum4, weight));
        });
        const halves = f.let(f32x4.add(sum4, i8x16.shuffle(sum4, sum4, upperHalf)));
        f.set(sum, f32.add(sum, horizontal(halves, f32.add)));

        for (let column = 0; column < valueDim; column += 4 * columnVectors) {
          const vectors = Math.min(columnVectors, (valueDim - column) / 4);
          const acc = Array.from({ length: vectors }, (_, j) => f.let(v128.load(y, 4 * column + 16 * j)));
          const weight = f.local("v128");
          f.set(rows, v);
          f.set(at, scores);
          f.forRange(i, 0, keys, 1, () => {
            f.set(weight, v128.load32_splat(at));
            acc.forEach((a, j) => {
              f.set(a, multiplyAdd(fma, weight, v128.load(rows, 4 * column + 16 * j), a));
            });
            f.increment(rows, 4 * vRow);
            f.increment(at, 4);
          });
          acc.forEach((a, j) => {
            f.v128.store(y, a, 4 * column + 16 * j);
          });
        }
        f.increment(k, 4 * kRow * blockKeys);
        f.increment(v, 4 * vRow * blockKeys);
        f.increment(block, blockKeys);
      });
      const share = f.let(f32x4.splat(f32.div(1, sum)));
      f.forRange(i, 0, 4 * valueDim, 16, () => {
        f.v128.store(i32.add(y, i), f32x4.mul(v128.load(i32.add(y, i)), share));
      });
    }),
  );
}

const lanes = Float32Array.of(0, 1, 2, 3);
const bytes = (...words: number[]): number[] => words.flatMap((w) => [4 * w, 4 * w + 1, 4 * w + 2, 4 * w + 3]);
const upperHalf = bytes(2, 3, 0, 1);

/** The two lowest lanes combined. */
const horizontal = (x: Local<"v128">, combine: typeof f32.add): Expr<"f32"> =>
  combine(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 1));

/** (sum of a, sum of b, sum of c, sum of d). */
function transposedSum(f: FunctionBuilder, [a, b, c, d]: readonly Local<"v128">[]): Expr<"v128"> {
  const pairs = (x: Local<"v128">, y: Local<"v128">) =>
    f.let(f32x4.add(i8x16.shuffle(x, y, bytes(0, 4, 1, 5)), i8x16.shuffle(x, y, bytes(2, 6, 3, 7))));
  // (a0 + a2, b0 + b2, a1 + a3, b1 + b3), and the same of c and d.
  const [ab, cd] = [pairs(a, b), pairs(c, d)];
  return f32x4.add(i8x16.shuffle(ab, cd, bytes(0, 1, 4, 5)), i8x16.shuffle(ab, cd, bytes(2, 3, 6, 7)));
}
