import type { TypedArray } from "../tensor/dtype.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { type AttentionAttrs, attention } from "./attention.ts";
import { expectFloat, numbersOf, sameDType, shapeError } from "./check.ts";
import { checkPosition } from "./kv-append.ts";
import { defineOp } from "./op.ts";

export type CachedAttentionAttrs = Pick<AttentionAttrs, "scale" | "softcap" | "leftWindow"> & {
  heads: number;
  /** Divides `heads`. Default: `heads`. */
  kvHeads?: number;
};

const OP = "cachedAttention";

/** Sizes of a cached attention. */
export function cachedGeometry(q: TensorType, k: TensorType, v: TensorType, attrs: CachedAttentionAttrs) {
  const { heads, kvHeads = heads } = attrs;
  const [batch, tokens, width] = q.shape;
  if (q.shape.length !== 3 || batch !== 1 || k.shape.length !== 2 || v.shape.length !== 2 || k.shape[0] !== v.shape[0])
    shapeError(OP, "takes q [1, tokens, n] and caches [rows, n]", q, k, v);
  const dim = width / heads;
  const valueDim = v.shape[1] / kvHeads;
  if (!Number.isInteger(dim) || !Number.isInteger(valueDim) || heads % kvHeads || k.shape[1] !== dim * kvHeads)
    shapeError(OP, `${heads} query heads and ${kvHeads} key heads do not fit`, q, k, v);
  return { tokens, heads, kvHeads, group: heads / kvHeads, dim, valueDim, scale: attrs.scale ?? 1 / Math.sqrt(dim) };
}

/**
 * Causal attention of new tokens over a cache that holds them already: q [1, tokens, heads * dim]; kCache
 * [rows, kvHeads * dim]; vCache [rows, kvHeads * valueDim]; position i32 [1], that of the first token. Token i sees rows
 * max(0, position + i - leftWindow) to position + i; others are not read. Output [1, tokens, heads * valueDim].
 * Attributes as in `attention`.
 */
export const cachedAttention = /* @__PURE__ */ defineOp({
  name: OP,
  inputs: ["q", "kCache", "vCache", "position"],
  states: ["kCache", "vCache"],
  infer([q, k, v, position], attrs: CachedAttentionAttrs) {
    expectFloat(OP, q);
    sameDType(OP, q, k, v);
    checkPosition(OP, position);
    const g = cachedGeometry(q, k, v, attrs);
    return { dtype: q.dtype, shape: [1, g.tokens, g.heads * g.valueDim] };
  },
  reference([q, k, v, position], attrs, y) {
    const { kvHeads = attrs.heads, ...rest } = attrs;
    const [at] = numbersOf(position);
    const rows = at + q.shape[1];
    const filled = (cache: HostTensor): HostTensor => {
      const size = rows * cache.shape[1];
      if (at < 0 || size > cache.data.length) shapeError(OP, `row ${rows - 1} is outside the cache`, q, cache);
      return { ...cache, shape: [1, rows, cache.shape[1]], data: (cache.data as TypedArray).subarray(0, size) };
    };
    const one = (n: number): HostTensor => ({ dtype: "i32", shape: [1], data: Int32Array.of(n) });
    attention.op.reference!(
      [q, filled(k), filled(v), undefined, one(rows), one(at)],
      { ...rest, kvHeads, causal: true },
      y,
    );
  },
});

/** Multiply-adds when the cache is full: what a plan that serves every position counts with. */
export const attentionWork = (q: TensorType, k: TensorType): number => sizeOf(q.shape) * k.shape[0] * 2;
