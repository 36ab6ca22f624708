/**
 * The query heads of one token over a run of keys and values of a cache, softmax(scale q k^T) v up to what is left to divide:
 * runs are merged, so that threads take runs of the same length whatever the number of heads (flash-decoding,
 * https://pytorch.org/blog/flash-decoding/).
 *
 * Caches of long texts come from memory, in which the heads of a position lie side by side. So positions are walked before
 * heads: for four keys the scores of every head, up to four query heads at a time on keys that are loaded once; after 256 keys
 * their exponentials relative to the largest score so far, with what was summed before scaled down where that has grown
 * (online softmax, Milakov and Gimelshein, https://arxiv.org/abs/1805.02867); then their values, four keys at a time. The four
 * are not neighbours, but one of each quarter of the 256: the cache is then read as four runs at once (docs/decisions/022,
 * which has what was measured and tried).
 *
 * What V8 up to that of Node 22 makes of it, 9 and 3 heads of 64, 1000 positions in the caches of one core (Zen 4), GB/s of f32
 * without relaxed SIMD | with it: all of a head in one piece 11 | 15, in pieces that end in branches 18 | 22; Node 24 19 | 22.
 *
 * Caches of f16 become f32 in registers by a shift and a mask, 2^112 times too small: half of that is made up for in the
 * queries and in the weights, half in the sums, and nothing overflows. Infinities would count as 65536: `kvAppend` refuses them.
 */
import { type Func, f32, f32x4, i32, v128 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import { blockKeys, type CachedAttentionShape, half, partialLayout } from "./cache-walk.ts";
import { emitScores, emitWeights } from "./cached-scores.ts";
import { emitValues } from "./cached-values.ts";
import { constant, exp } from "./math.ts";

const params = { q: "i32", k: "i32", v: "i32", n: "i32", partial: "i32", scratch: "i32" } as const;
export type CachedAttentionFunction = Func<typeof params, undefined>;

/** Over the first `n` keys from `k` and values from `v`; leaves its sums in `partial`. */
export function emitCachedAttention(e: StepEmitter, shape: CachedAttentionShape): CachedAttentionFunction {
  const { heads, kvHeads, dim, valueDim, dtype, scale } = shape;
  const at = partialLayout(shape);
  const size = dtype === "f16" ? 2 : 4;
  const [kRow, vRow] = [kvHeads * dim * size, kvHeads * valueDim * size];
  const [scores, weights, values] = [emitScores(e, shape), emitWeights(e, shape), emitValues(e, shape)];
  const name = `cachedAttention/${Object.values(shape).join("/")}`;
  return e.shared(name, (module) =>
    module.func({ name, params }, (f, { q, k, v, n, partial, scratch }) => {
      const [some, i] = f.locals("i32", 2);
      f.forRange(i, 0, 4 * heads * dim, 16, () => {
        const x = v128.load(i32.add(q, i));
        f.v128.store(i32.add(scratch, i), f32x4.mul(x, constant(f, dtype === "f16" ? scale * half : scale)));
      });
      f.memory.fill(partial, 0, at.bytes);
      f.forRange(i, 0, 4 * heads, 4, () => f.f32.store(i32.add(partial, i), Number.NEGATIVE_INFINITY, at.largest));
      f.while(i32.gt_s(n, 0), () => {
        f.set(some, n);
        f.if(i32.gt_s(some, blockKeys), () => f.set(some, blockKeys));
        f.call(scores, { k, some, scratch });
        f.call(weights, { some, partial, scratch });
        f.call(values, { v, some, partial, scratch });
        f.increment(k, i32.mul(some, kRow));
        f.increment(v, i32.mul(some, vRow));
        f.set(n, i32.sub(n, some));
      });
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
      const total = f.local("v128");
      f.set(end, i32.add(partial, i32.mul(parts, step)));
      const forParts = (body: () => void) => {
        f.set(from, partial);
        f.while(i32.lt_u(from, end), () => {
          body();
          f.increment(from, step);
        });
      };
      f.forRange(h, 0, heads, 1, () => {
        const state = () => i32.add(from, i32.shl(h, 2));
        f.set(largest, Number.NEGATIVE_INFINITY);
        forParts(() => f.set(largest, f32.max(largest, f32.load(state(), at.largest))));
        f.set(sum, 0);
        // What a part counts for takes the place of its largest score.
        forParts(() => {
          const of = f.let(state());
          const weight = f.let(exp(f, f32x4.splat(f32.sub(f32.load(of, at.largest), largest))));
          f.v128.store32_lane(i32.add(of, at.largest), weight, 0);
          f.set(sum, f32.add(sum, f32.mul(f32x4.extract_lane(weight, 0), f32.load(of, at.sum))));
        });
        const share = f.let(f32x4.splat(f32.div(dtype === "f16" ? half : 1, sum)));
        const head = f.let(i32.mul(h, 4 * valueDim));
        f.forRange(i, 0, 4 * valueDim, 16, () => {
          f.set(total, constant(f, 0));
          forParts(() => {
            const weight = v128.load32_splat(state(), at.largest);
            f.set(total, f32x4.add(total, f32x4.mul(weight, v128.load(i32.add(from, i32.add(head, i))))));
          });
          f.v128.store(i32.add(i32.add(y, head), i), f32x4.mul(total, share));
        });
      });
    }),
  );
}
