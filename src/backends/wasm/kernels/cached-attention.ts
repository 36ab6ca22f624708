/**
 * The query heads of one token over a run of keys and values of a cache, softmax(scale q k^T) v up to what is left to divide:
 * runs are merged, so that threads take runs of the same length whatever the number of heads (flash-decoding,
 * https://pytorch.org/blog/flash-decoding/).
 *
 * Caches of long texts come from memory, in which the heads of a position lie side by side. So positions are walked before
 * heads: for four keys the scores of every head, up to four query heads at a time on keys that are loaded once; after 256 keys
 * their exponentials relative to the largest score so far, with what was summed before scaled down where that has grown
 * (online softmax, Milakov and Gimelshein, https://arxiv.org/abs/1805.02867); then their values, four keys at a time.
 *
 * What was tried on 9 query and 3 key heads of 64, 30 layers of 1024 positions in turn, one core of an AMD EPYC, Node 24, in
 * GB/s of f32 caches (reading them and nothing else: 14 to 16), over a few runs on a shared machine:
 *
 *   heads before keys, blocks of 64 keys                     6 to 8
 *   four keys before heads, values by columns in registers   4 to 6
 *   the same, all of a block read line by line before        9 to 10    blocks of 16 to 256 keys alike
 *   four keys ahead read line by line, blocks of 64          10
 *   four or eight ahead, blocks of 256                       10.5 to 12
 *   three rows on two keys at a time instead of 2 + 1 on 4   11 to 13   f16: 10 GMAC/s instead of 9
 *   sixteen ahead                                            6          beyond the first cache
 *
 * What V8 up to that of Node 22 makes of it, 9 and 3 heads of 64, 1000 positions in the caches of one core (Zen 4), GB/s of f32
 * without relaxed SIMD | with it: all of a head in one piece 11 | 15, in pieces that end in branches 18 | 22; Node 24 19 | 22.
 *
 * Reading ahead is what prefetching would be: a load that waits holds up those behind it, but not all of them.
 * Caches of f16 become f32 in registers by a shift and a mask, 2^112 times too small: half of that is made up for in the
 * queries and in the weights, half in the sums, and nothing overflows. Infinities count as 65536.
 */
import { type Expr, type Func, f32, f32x4, i8x16, i32, type Local, v128 } from "../assembler.ts";
import { alignUp } from "../memory.ts";
import type { StepEmitter } from "../step.ts";
import { fences } from "./fence.ts";
import { multiplyAdd } from "./gemm-tile.ts";
import { tinyHalves } from "./half.ts";
import { constant, exp, expNonPositive, tanh } from "./math.ts";
import { acrossLanes } from "./vector-rows.ts";

export interface CachedAttentionShape {
  readonly heads: number;
  /** Divides `heads`. */
  readonly kvHeads: number;
  readonly dim: number;
  readonly valueDim: number;
  readonly dtype: "f32" | "f16";
  readonly scale: number;
  /** 0: none. */
  readonly softcap: number;
}

/** Keys whose scores are known before their values are read. Longer runs of either stream better: see the header. */
const blockKeys = 256;
/** Half of what f16 lack. */
const half = 2 ** 56;
/** Query heads that share keys and go over them together. */
const mostRows = 4;

/** Bytes of a thread's buffer: scaled queries, then scores. */
export const attentionScratch = ({ heads, dim }: CachedAttentionShape): number =>
  alignUp(4 * heads * (dim + blockKeys));

/** Where what a run of keys leaves is: for each head the weighted values, the largest score and the sum of weights. */
export function partialLayout({ heads, valueDim }: CachedAttentionShape) {
  const largest = 4 * heads * valueDim;
  return { largest, sum: largest + 4 * heads, bytes: alignUp(largest + 8 * heads) };
}

const params = { q: "i32", k: "i32", v: "i32", n: "i32", partial: "i32", scratch: "i32" } as const;
export type CachedAttentionFunction = Func<typeof params, undefined>;

/** Over the first `n` keys from `k` and values from `v`; leaves its sums in `partial`. */
export function emitCachedAttention(e: StepEmitter, shape: CachedAttentionShape): CachedAttentionFunction {
  const { heads, kvHeads, dim, valueDim, dtype, scale, softcap } = shape;
  const { fma } = e.target.features;
  const name = `cachedAttention/${Object.values(shape).join("/")}`;
  const isHalf = dtype === "f16";
  const size = isHalf ? 2 : 4;
  const [kRow, vRow] = [kvHeads * dim * size, kvHeads * valueDim * size];
  const group = heads / kvHeads;
  const scoresAt = 4 * heads * dim;
  const row = 4 * blockKeys;
  const at = partialLayout(shape);
  return e.shared(name, (module) =>
    module.func({ name, params }, (f, { q, k, v, n, partial, scratch }) => {
      const [some, i, h, set, query, from, next] = f.locals("i32", 7);
      const [scores, sums, ahead, kEnd, vEnd] = f.locals("i32", 5);
      const key = f.local("v128");
      const touched = f.local("v128");
      /** Four elements of a cache. */
      const load = (address: Local<"i32">, element: number): Expr<"v128"> =>
        isHalf ? tinyHalves(f, v128.load16x4_s(address, 2 * element)) : v128.load(address, 4 * element);
      /** For each head of keys: code for its query heads, some at a time, and on to the next. */
      const forHeads = (body: (rows: number) => void, then: () => void) =>
        f.forRange(h, 0, kvHeads, 1, () => {
          if (group >= mostRows) f.forRange(set, mostRows, group + 1, mostRows, () => body(mostRows));
          if (group % mostRows) body(group % mostRows);
          then();
        });
      /**
       * The next four keys, if there are as many, are read in small pieces while these are worked on; if not, as much from the
       * beginning of memory, which is larger than that: the cache may lie at its end.
       */
      const startAhead = (rowBytes: number, end: Local<"i32">) => {
        f.set(ahead, next);
        f.if(i32.gt_u(i32.add(ahead, 4 * rowBytes), end), () => f.set(ahead, 0));
      };
      const touchAhead = (bytes: number) => {
        for (let b = 0; b < bytes; b += 64) f.set(touched, v128.or(touched, v128.load(ahead, b)));
        f.increment(ahead, bytes);
      };

      f.forRange(i, 0, 4 * heads * dim, 16, () => {
        const x = v128.load(i32.add(q, i));
        f.v128.store(i32.add(scratch, i), f32x4.mul(x, constant(f, isHalf ? scale * half : scale)));
      });
      f.memory.fill(partial, 0, at.bytes);
      f.forRange(i, 0, 4 * heads, 4, () => f.f32.store(i32.add(partial, i), Number.NEGATIVE_INFINITY, at.largest));
      f.set(kEnd, i32.add(k, i32.mul(n, kRow)));
      f.set(vEnd, i32.add(v, i32.mul(n, vRow)));

      const keyPhase = () => {
        const keys = [from, ...f.locals("i32", 3)];
        const visible = f.local("v128");
        const last = f.let(i32.add(k, i32.mul(i32.sub(some, 1), kRow)));
        const queries = f.locals("v128", mostRows);
        const dots = queries.map(() => f.locals("v128", 4));
        const halves = queries.map(() => f.locals("v128", 2));
        const fence = fences(f, query, fma);
        const fourScores = (rows: number) => {
          const together = rows > 2 ? 2 : 4;
          for (let first = 0; first < 4; first += together) {
            const some = [0, 1, 2, 3].slice(first, first + together);
            for (const dot of dots.slice(0, rows)) for (const x of some) f.set(dot[x], constant(f, 0));
            for (let d = 0; d < dim; d += 4) {
              for (let r = 0; r < rows; r++) f.set(queries[r], v128.load(query, 4 * (r * dim + d)));
              for (const x of some) {
                f.set(key, load(keys[x], d));
                for (let r = 0; r < rows; r++) f.set(dots[r][x], multiplyAdd(fma, queries[r], key, dots[r][x]));
              }
              // Two steps of one row fit the registers.
              if (rows > 1 || d & 4) fence(dots.slice(0, rows).flatMap((dot) => some.map((x) => dot[x])));
            }
            for (let r = 0; r < rows; r++)
              for (const x of some) if (x % 2) f.set(halves[r][x >> 1], pairSums(dots[r][x - 1], dots[r][x]));
          }
          for (let r = 0; r < rows; r++) {
            const total = fourSums(halves[r][0], halves[r][1]);
            let score: Expr<"v128"> = isHalf ? f32x4.mul(total, constant(f, half)) : total;
            if (softcap > 0)
              score = f32x4.mul(tanh(f, f32x4.mul(score, constant(f, 1 / softcap))), constant(f, softcap));
            f.v128.store(scores, v128.bitselect(score, constant(f, Number.NEGATIVE_INFINITY), visible), r * row);
          }
          f.increment(query, 4 * rows * dim);
          f.increment(scores, rows * row);
        };
        f.set(from, k);
        f.forRange(i, 0, some, 4, () => {
          f.set(next, i32.add(from, 4 * kRow));
          keys.slice(1).forEach((address, x) => {
            f.set(address, i32.add(keys[x], kRow));
            f.if(i32.gt_u(address, last), () => f.set(address, last));
          });
          const numbers = f32x4.add(
            f32x4.splat(f32.convert_i32_s(i)),
            f.hoist(v128.const(new Uint8Array(lanes.buffer))),
          );
          f.set(visible, f32x4.lt(numbers, f32x4.splat(f32.convert_i32_s(some))));
          f.set(query, scratch);
          f.set(scores, i32.add(i32.add(scratch, i32.shl(i, 2)), scoresAt));
          startAhead(kRow, kEnd);
          forHeads(fourScores, () => {
            touchAhead(4 * dim * size);
            for (const address of keys) f.increment(address, dim * size);
          });
          f.set(from, next);
        });
      };

      /** The scores of each head become weights. */
      const softmaxPhase = () => {
        const [state, end] = f.locals("i32", 2);
        const [largest4, sum4] = f.locals("v128", 2);
        const forScores = (body: () => void) => {
          f.set(from, scores);
          f.while(i32.lt_u(from, end), () => {
            body();
            f.increment(from, 16);
          });
        };
        f.set(scores, i32.add(scratch, scoresAt));
        f.set(sums, partial);
        f.set(state, i32.add(partial, at.largest));
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
            f.v128.store(from, isHalf ? f32x4.mul(weight, constant(f, half)) : weight);
            f.set(sum4, f32x4.add(sum4, weight));
          });
          const sum = f32x4.extract_lane(f.let(acrossLanes(f, f32x4.add, sum4)), 0);
          f.f32.store(state, f32.add(f32.load(state, 4 * heads), sum), 4 * heads);
          f.increment(scores, row);
          f.increment(sums, 4 * valueDim);
          f.increment(state, 4);
        });
      };

      /** Weighted values of four keys are added to the sums in memory. */
      const valuePhase = () => {
        const values = [from, ...f.locals("i32", 3)];
        const weights = f.locals("v128", 8);
        const fours = f.locals("v128", 4);
        const sum = f.local("v128");
        const add = (rows: number, keys: number) => {
          const together = Math.min(keys, rows > 2 ? 2 : 4);
          for (let first = 0; first < keys; first += together) {
            const weight = (r: number, x: number) => weights[r * together + x];
            for (let r = 0; r < rows; r++)
              for (let x = 0; x < together; x++)
                f.set(weight(r, x), v128.load32_splat(scores, r * row + 4 * (first + x)));
            for (let c = 0; c < valueDim; c += 4) {
              for (let x = 0; x < together; x++) f.set(fours[x], load(values[first + x], c));
              for (let r = 0; r < rows; r++) {
                f.set(sum, v128.load(sums, 4 * (r * valueDim + c)));
                for (let x = 0; x < together; x++) f.set(sum, multiplyAdd(fma, weight(r, x), fours[x], sum));
                f.v128.store(sums, sum, 4 * (r * valueDim + c));
              }
            }
          }
          f.increment(sums, 4 * rows * valueDim);
          f.increment(scores, rows * row);
        };
        const addKeys = (keys: number, touch?: () => void) => {
          f.set(next, i32.add(from, keys * vRow));
          for (let x = 1; x < keys; x++) f.set(values[x], i32.add(values[x - 1], vRow));
          f.set(sums, partial);
          f.set(scores, i32.add(i32.add(scratch, i32.shl(i, 2)), scoresAt));
          if (touch) startAhead(vRow, vEnd);
          forHeads(
            (rows) => add(rows, keys),
            () => {
              touch?.();
              for (const address of values.slice(0, keys)) f.increment(address, valueDim * size);
            },
          );
          f.set(from, next);
        };
        const fourTimes = f.let(i32.and(some, -4));
        f.set(from, v);
        f.forRange(i, 0, fourTimes, 4, () => addKeys(4, () => touchAhead(4 * valueDim * size)));
        f.forRange(i, fourTimes, some, 1, () => addKeys(1));
      };

      f.while(i32.gt_s(n, 0), () => {
        f.set(some, n);
        f.if(i32.gt_s(some, blockKeys), () => f.set(some, blockKeys));
        keyPhase();
        softmaxPhase();
        valuePhase();
        f.increment(k, i32.mul(some, kRow));
        f.increment(v, i32.mul(some, vRow));
        f.set(n, i32.sub(n, some));
      });
      // A use of what was touched, or it would not be read.
      f.if(i8x16.all_true(touched), () => f.v128.store(scratch, touched));

      function pairSums(a: Local<"v128">, b: Local<"v128">): Expr<"v128"> {
        return f32x4.add(i8x16.shuffle(a, b, words(0, 4, 1, 5)), i8x16.shuffle(a, b, words(2, 6, 3, 7)));
      }
      function fourSums(ab: Local<"v128">, cd: Local<"v128">): Expr<"v128"> {
        return f32x4.add(i8x16.shuffle(ab, cd, words(0, 1, 4, 5)), i8x16.shuffle(ab, cd, words(2, 3, 6, 7)));
      }
    }),
  );
}

const mergeParams = { y: "i32", partial: "i32", parts: "i32", step: "i32" } as const;

/** What `parts` runs of keys left, `step` bytes apart, makes the output of all heads. */
export function emitMerge(e: StepEmitter, shape: CachedAttentionShape): Func<typeof mergeParams, undefined> {
  const { heads, valueDim, dtype } = shape;
  const at = partialLayout(shape);
  const name = `cachedAttention/merge/${heads}/${valueDim}/${dtype}`;
  return e.shared(name, (module) =>
    module.func({ name, params: mergeParams }, (f, { y, partial, parts, step }) => {
      const [h, i, from, end] = f.locals("i32", 4);
      const [largest, sum] = f.locals("f32", 2);
      const weight = f.local("v128");
      const total = f.local("v128");
      f.set(end, i32.add(partial, i32.mul(parts, step)));
      const forParts = (body: () => void) => {
        f.set(from, partial);
        f.while(i32.lt_u(from, end), () => {
          body();
          f.increment(from, step);
        });
      };
      const state = (offset: number): Expr<"f32"> => f32.load(i32.add(from, i32.shl(h, 2)), offset);
      const weigh = () => f.set(weight, exp(f, f32x4.splat(f32.sub(state(at.largest), largest))));
      f.forRange(h, 0, heads, 1, () => {
        f.set(largest, Number.NEGATIVE_INFINITY);
        forParts(() => f.set(largest, f32.max(largest, state(at.largest))));
        f.set(sum, 0);
        forParts(() => {
          weigh();
          f.set(sum, f32.add(sum, f32.mul(f32x4.extract_lane(weight, 0), state(at.sum))));
        });
        const share = f.let(f32x4.splat(f32.div(dtype === "f16" ? half : 1, sum)));
        const head = f.let(i32.mul(h, 4 * valueDim));
        f.forRange(i, 0, 4 * valueDim, 16, () => {
          f.set(total, constant(f, 0));
          forParts(() => {
            weigh();
            f.set(total, f32x4.add(total, f32x4.mul(weight, v128.load(i32.add(from, i32.add(head, i))))));
          });
          f.v128.store(i32.add(i32.add(y, head), i), f32x4.mul(total, share));
        });
      });
    }),
  );
}

const lanes = Float32Array.of(0, 1, 2, 3);
const words = (...order: number[]): number[] => order.flatMap((w) => [4 * w, 4 * w + 1, 4 * w + 2, 4 * w + 3]);
