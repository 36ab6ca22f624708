/**
 * What the walks over keys and over values of a cache have in common: the buffers they work in, how they load four elements, go
 * over the heads of a position, and which positions go together. See cached-attention.ts.
 */
import { type Expr, type FunctionBuilder, f32x4, i32, type Local, v128 } from "../assembler.ts";
import { alignUp } from "../memory.ts";
import { tinyHalves } from "./half.ts";
import { constant } from "./math.ts";

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

/** Keys whose scores are known before their values are read. Longer runs of either stream better. */
export const blockKeys = 256;
/** Half of what f16 lack: 2^112 is made up for in two factors. */
export const half = 2 ** 56;
/** Query heads that share keys and go over them together. */
export const mostRows = 4;

/** A thread's buffer: scaled queries, then for each head the scores of a block, `row` bytes apart. */
export function scratchLayout({ heads, dim }: CachedAttentionShape) {
  const scores = 4 * heads * dim;
  const row = 4 * blockKeys;
  return { scores, row, bytes: alignUp(scores + heads * row) };
}

/** Where what a run of keys leaves is: for each head the weighted values, the largest score and the sum of weights. */
export function partialLayout({ heads, valueDim }: CachedAttentionShape) {
  const largest = 4 * heads * valueDim;
  return { largest, sum: largest + 4 * heads, bytes: alignUp(largest + 8 * heads) };
}

/** The code of a walk over rows of a cache, each of `dim` elements for every key head. */
export function cacheWalk(f: FunctionBuilder, { heads, kvHeads, dtype }: CachedAttentionShape, dim: number) {
  const [head, set] = f.locals("i32", 2);
  const size = dtype === "f16" ? 2 : 4;
  const group = heads / kvHeads;
  const rowBytes = kvHeads * dim * size;
  return {
    rowBytes,
    headBytes: dim * size,
    /** Four elements. */
    load: (address: Local<"i32">, element: number): Expr<"v128"> =>
      dtype === "f16" ? tinyHalves(f, v128.load16x4_s(address, 2 * element)) : v128.load(address, 4 * element),
    /** The factor that makes up for half of what those are too small. */
    grown: (x: Expr<"v128">): Expr<"v128"> => (dtype === "f16" ? f32x4.mul(x, constant(f, half)) : x),
    /** For each head of keys: code for its query heads, some at a time, and on to the next. */
    forHeads(body: (rows: number) => void, then: () => void): void {
      f.forRange(head, 0, kvHeads, 1, () => {
        if (group >= mostRows) f.forRange(set, mostRows, group + 1, mostRows, () => body(mostRows));
        if (group % mostRows) body(group % mostRows);
        then();
      });
    },
    /**
     * Sets `runs`, four of them, to where quarters of so many rows begin: one row of each goes together, and they are read as
     * four runs at once (docs/decisions/022). Returns the number of rows in all four, which leaves up to three behind them.
     */
    startRuns(runs: readonly Local<"i32">[], first: Local<"i32">, rows: Local<"i32">): Local<"i32"> {
      const apart = f.let(i32.mul(i32.shr_u(rows, 2), rowBytes));
      for (const [x, run] of runs.entries()) f.set(run, x === 0 ? first : i32.add(runs[x - 1], apart));
      return f.let(i32.and(rows, -4));
    },
  };
}
