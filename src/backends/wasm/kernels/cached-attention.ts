/**
 * Queries over the keys and values of a cache: y = softmax(scale q k^T) v. Up to four rows of queries go over the cache
 * together: heads that share keys, of one token or of neighbouring ones, of which each sees one key more.
 *
 * Keys are taken in blocks of 64. The scores of a block go to a small buffer, of four keys and two rows at a time, so that
 * loads serve several products and the four sums of a row are transposed and added at once; then exponentials relative to
 * the largest score so far, with what was summed before scaled down where that has grown (online softmax, Milakov and
 * Gimelshein, https://arxiv.org/abs/1805.02867); then the weighted values, as many columns of all rows at a time as
 * registers hold.
 *
 * Caches of f16 become f32 in registers by a shift and a mask, 2^112 times too small: half of that is made up for in the
 * queries and in the weights, half in the sums, and nothing overflows. Infinities count as 65536.
 */
import { type Expr, type Func, type FunctionBuilder, f32, f32x4, i8x16, i32, type Local, v128 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import { multiplyAdd } from "./gemm-tile.ts";
import { tinyHalves } from "./half.ts";
import { constant, exp, expNonPositive, tanh } from "./math.ts";

export interface CachedAttentionShape {
  /** Query heads of one token that go together, and tokens. */
  readonly heads: number;
  readonly tokens: number;
  /** Elements of q and of y from one token to the next. */
  readonly qRow: number;
  readonly yRow: number;
  readonly dim: number;
  readonly valueDim: number;
  readonly dtype: "f32" | "f16";
  /** Elements from one position to the next. */
  readonly kRow: number;
  readonly vRow: number;
  readonly scale: number;
  /** 0: none. */
  readonly softcap: number;
}

/** Rows of queries that go together. */
export const MOST_QUERIES = 4;
const blockKeys = 64;
/** Vectors of sums in registers, beside a weight for each row. */
const columnsOf = [0, 8, 5, 3, 2];
/** Half of what f16 lack. */
const half = 2 ** 56;

/** Bytes of one thread's buffer: scaled queries, then scores. */
export const attentionScratch = (dim: number): number => 4 * MOST_QUERIES * (dim + blockKeys);

const params = { q: "i32", k: "i32", v: "i32", y: "i32", n: "i32", scratch: "i32" } as const;
export type CachedAttentionFunction = Func<typeof params, undefined>;

/** `k` and `v` point to the first of the `n` positions (at least one) that the first token sees, of the right head. */
export function emitCachedAttention(e: StepEmitter, shape: CachedAttentionShape): CachedAttentionFunction {
  const { heads, tokens, dim, valueDim, dtype, scale, softcap } = shape;
  const fma = e.target.features.relaxedSimd;
  const name = `cachedAttention/${Object.values(shape).join("/")}`;
  const isHalf = dtype === "f16";
  const [kRow, vRow] = [shape.kRow, shape.vRow].map((n) => n * (isHalf ? 2 : 4));
  const rows = Array.from({ length: heads * tokens }, (_, r) => ({
    token: Math.floor(r / heads),
    q: 4 * (Math.floor(r / heads) * shape.qRow + (r % heads) * dim),
    y: 4 * (Math.floor(r / heads) * shape.yRow + (r % heads) * valueDim),
    scaled: 4 * r * dim,
    scores: 4 * (MOST_QUERIES * dim + r * blockKeys),
  }));
  return e.shared(name, (module) =>
    module.func({ name, params }, (f, { q, k, v, y, n, scratch }) => {
      const [block, keys, some, i, at, last, from] = f.locals("i32", 7);
      const [r1, r2, r3] = f.locals("i32", 3);
      const [max, sum] = [f.locals("f32", rows.length), f.locals("f32", rows.length)];
      const largest = f.local("f32");
      const [key, sum4] = f.locals("v128", 2);
      const largest4 = f.locals("v128", rows.length);
      const queries = f.locals("v128", 2);
      const dots = queries.map(() => f.locals("v128", 4));
      /** Four elements of a cache. */
      const load = (address: Local<"i32">, element: number): Expr<"v128"> =>
        isHalf ? tinyHalves(f, v128.load16x4_s(address, 2 * element)) : v128.load(address, 4 * element);

      for (const m of max) f.set(m, -Infinity);
      f.forRange(i, 0, 4 * dim, 16, () => {
        f.set(at, i32.add(scratch, i));
        for (const r of rows) {
          const x = v128.load(i32.add(q, i), r.q);
          f.v128.store(at, f32x4.mul(x, constant(f, isHalf ? scale * half : scale)), r.scaled);
        }
      });
      f.forRange(i, 0, 4 * valueDim, 16, () => {
        for (const r of rows) f.v128.store(i32.add(y, i), constant(f, 0), r.y);
      });
      f.set(keys, i32.add(n, tokens - 1));
      f.set(last, i32.add(k, i32.mul(i32.sub(keys, 1), kRow)));

      /** Scores of some of the rows for four keys from `from`; those past the last key are computed from it, and masked. */
      const fourScores = (some: typeof rows): Expr<"v128">[] => {
        for (const d of dots.flat()) f.set(d, constant(f, 0));
        for (let d = 0; d < dim; d += 4) {
          some.forEach((r, s) => {
            f.set(queries[s], v128.load(scratch, r.scaled + 4 * d));
          });
          [from, r1, r2, r3].forEach((address, j) => {
            f.set(key, load(address, d));
            some.forEach((_, s) => {
              f.set(dots[s][j], multiplyAdd(fma, queries[s], key, dots[s][j]));
            });
          });
        }
        return some.map((_, s) => {
          const total = transposedSum(f, dots[s]);
          const score = isHalf ? f32x4.mul(total, constant(f, half)) : total;
          if (softcap <= 0) return score;
          return f32x4.mul(tanh(f, f32x4.mul(score, constant(f, 1 / softcap))), constant(f, softcap));
        });
      };

      f.set(block, 0);
      f.while(i32.lt_s(block, i32.add(n, tokens - 1)), () => {
        f.set(keys, i32.sub(n, block));
        // Of the last token; with one token, of all.
        f.set(some, i32.add(keys, tokens - 1));
        f.if(i32.gt_s(some, blockKeys), () => f.set(some, blockKeys));
        for (const l of largest4) f.set(l, constant(f, -Infinity));
        f.set(from, k);
        f.forRange(i, 0, some, 4, () => {
          const next = (target: Local<"i32">, before: Local<"i32">) => {
            f.set(target, i32.add(before, kRow));
            f.if(i32.gt_u(target, last), () => f.set(target, last));
          };
          next(r1, from);
          next(r2, r1);
          next(r3, r2);
          const numbers = f.let(
            f32x4.add(f32x4.splat(f32.convert_i32_s(i)), f.hoist(v128.const(new Uint8Array(lanes.buffer)))),
          );
          const visible = Array.from({ length: tokens }, (_, t) =>
            f.let(f32x4.lt(numbers, f32x4.splat(f32.convert_i32_s(i32.add(keys, t))))),
          );
          f.set(at, i32.add(scratch, i32.shl(i, 2)));
          for (let first = 0; first < rows.length; first += 2) {
            const pair = rows.slice(first, first + 2);
            fourScores(pair).forEach((score, s) => {
              const masked = f.let(v128.bitselect(score, constant(f, -Infinity), visible[pair[s].token]));
              f.v128.store(at, masked, pair[s].scores);
              f.set(largest4[first + s], f32x4.max(largest4[first + s], masked));
            });
          }
          f.increment(from, 4 * kRow);
        });
        rows.forEach((r, j) => {
          const upper = i8x16.shuffle(largest4[j], largest4[j], upperHalf);
          f.set(largest, horizontal(f.let(f32x4.max(largest4[j], upper)), f32.max));
          f.if(f32.gt(largest, max[j]), () => {
            // exp(-inf) = 0 in the first block, where the sums are zero anyway.
            const shrink = f.let(exp(f, f32x4.splat(f32.sub(max[j], largest))));
            f.set(sum[j], f32.mul(sum[j], f32x4.extract_lane(shrink, 0)));
            f.forRange(i, 0, 4 * valueDim, 16, () => {
              f.set(at, i32.add(y, i));
              f.v128.store(at, f32x4.mul(v128.load(at, r.y), shrink), r.y);
            });
            f.set(max[j], largest);
          });
          f.set(sum4, constant(f, 0));
          const top = f.let(f32x4.splat(max[j]));
          f.forRange(i, 0, some, 4, () => {
            f.set(at, i32.add(scratch, i32.shl(i, 2)));
            const weight = f.let(expNonPositive(f, f32x4.sub(v128.load(at, r.scores), top)));
            f.v128.store(at, isHalf ? f32x4.mul(weight, constant(f, half)) : weight, r.scores);
            f.set(sum4, f32x4.add(sum4, weight));
          });
          const halves = f.let(f32x4.add(sum4, i8x16.shuffle(sum4, sum4, upperHalf)));
          f.set(sum[j], f32.add(sum[j], horizontal(halves, f32.add)));
        });

        for (const [column, vectors] of dealt(valueDim / 4, columnsOf[rows.length])) {
          const acc = rows.map((r) =>
            Array.from({ length: vectors }, (_, c) => f.let(v128.load(y, r.y + 16 * (column + c)))),
          );
          const weights = rows.map(() => f.local("v128"));
          f.set(from, v);
          f.set(at, scratch);
          f.forRange(i, 0, some, 1, () => {
            rows.forEach((r, j) => {
              f.set(weights[j], v128.load32_splat(at, r.scores));
            });
            for (let c = 0; c < vectors; c++) {
              f.set(key, load(from, 4 * (column + c)));
              acc.forEach((a, j) => {
                f.set(a[c], multiplyAdd(fma, weights[j], key, a[c]));
              });
            }
            f.increment(from, vRow);
            f.increment(at, 4);
          });
          acc.forEach((a, j) => {
            a.forEach((value, c) => {
              f.v128.store(y, value, rows[j].y + 16 * (column + c));
            });
          });
        }
        f.increment(k, blockKeys * kRow);
        f.increment(v, blockKeys * vRow);
        f.increment(block, blockKeys);
      });
      rows.forEach((r, j) => {
        const share = f.let(f32x4.splat(f32.div(isHalf ? half : 1, sum[j])));
        f.forRange(i, 0, 4 * valueDim, 16, () => {
          f.set(at, i32.add(y, i));
          f.v128.store(at, f32x4.mul(v128.load(at, r.y), share), r.y);
        });
      });
    }),
  );
}

/** `count` in runs of about equal length, `most` at most: [first, length]. */
function dealt(count: number, most: number): [number, number][] {
  const runs = Math.ceil(count / most);
  const start = (i: number) => Math.floor((i * count) / runs);
  return Array.from({ length: runs }, (_, i) => [start(i), start(i + 1) - start(i)]);
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
