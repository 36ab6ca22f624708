/** Weighted values of a block of a cache are added up. See cached-attention.ts. */
import { type Func, i32, v128 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import { type CachedAttentionShape, cacheWalk, scratchLayout } from "./cache-walk.ts";
import { multiplyAdd } from "./gemm-tile.ts";

const params = { v: "i32", some: "i32", partial: "i32", scratch: "i32" } as const;

/** Adds `some` values by the weights in `scratch`, which are in the order of emitScores, to the sums in `partial`. */
export function emitValues(e: StepEmitter, shape: CachedAttentionShape): Func<typeof params, undefined> {
  const { heads, kvHeads, dim, valueDim, dtype } = shape;
  const { fma } = e.target.features;
  const at = scratchLayout(shape);
  const name = `cachedAttention/values/${heads}/${kvHeads}/${dim}/${valueDim}/${dtype}`;
  return e.shared(name, (module) =>
    module.func({ name, params }, (f, { v, some, partial, scratch }) => {
      const walk = cacheWalk(f, shape, valueDim);
      const [i, scores, sums] = f.locals("i32", 3);
      const values = f.locals("i32", 4);
      const weights = f.locals("v128", 8);
      const fours = f.locals("v128", 4);
      const sum = f.local("v128");
      const add = (rows: number, keys: number) => {
        const together = Math.min(keys, rows > 2 ? 2 : 4);
        for (let first = 0; first < keys; first += together) {
          const weight = (r: number, x: number) => weights[r * together + x];
          for (let r = 0; r < rows; r++)
            for (let x = 0; x < together; x++)
              f.set(weight(r, x), v128.load32_splat(scores, r * at.row + 4 * (first + x)));
          for (let c = 0; c < valueDim; c += 4) {
            for (let x = 0; x < together; x++) f.set(fours[x], walk.load(values[first + x], c));
            for (let r = 0; r < rows; r++) {
              f.set(sum, v128.load(sums, 4 * (r * valueDim + c)));
              for (let x = 0; x < together; x++) f.set(sum, multiplyAdd(fma, weight(r, x), fours[x], sum));
              f.v128.store(sums, sum, 4 * (r * valueDim + c));
            }
          }
        }
        f.increment(sums, 4 * rows * valueDim);
        f.increment(scores, rows * at.row);
      };
      const addKeys = (keys: number) => {
        f.set(sums, partial);
        f.set(scores, i32.add(i32.add(scratch, i32.shl(i, 2)), at.scores));
        walk.forHeads(
          (rows) => add(rows, keys),
          () => {
            for (const address of values.slice(0, keys)) f.increment(address, walk.headBytes);
          },
        );
      };
      const left = walk.startRuns(values, v, some);
      f.forRange(i, 0, left, 4, () => addKeys(4));
      f.set(values[0], i32.add(v, i32.mul(left, walk.rowBytes)));
      f.forRange(i, left, some, 1, () => addKeys(1));
    }),
  );
}
