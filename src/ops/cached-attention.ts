import { toF64 } from "../tensor/convert.ts";
import type { TypedArray } from "../tensor/dtype.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { type AttentionAttrs, attention } from "./attention.ts";
import { expectFloat, sameDType, shapeError } from "./check.ts";
import { checkTokens, placesOf, refuseRow, rowsFrom } from "./kv-append.ts";
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
  const [kWidth, vWidth] = [k.shape.at(-1)!, v.shape.at(-1)!];
  if (q.shape.length !== 3 || batch !== 1 || k.shape.slice(0, -1).join() !== v.shape.slice(0, -1).join())
    shapeError(OP, "takes q [1, tokens, n] and caches [rows, n]", q, k, v);
  const dim = width / heads;
  const valueDim = vWidth / kvHeads;
  if (!Number.isInteger(dim) || !Number.isInteger(valueDim) || heads % kvHeads || kWidth !== dim * kvHeads)
    shapeError(OP, `${heads} query heads and ${kvHeads} key heads do not fit`, q, k, v);
  return { tokens, heads, kvHeads, group: heads / kvHeads, dim, valueDim, scale: attrs.scale ?? 1 / Math.sqrt(dim) };
}

/**
 * Causal attention of new tokens over a cache that holds them already: q [1, tokens, heads * dim]; kCache
 * [rows, kvHeads * dim]; vCache [rows, kvHeads * valueDim], both of one float dtype; position i32 [1], that of the first
 * token. Token i sees rows max(0, position + i - leftWindow) to position + i; others are not read. Output
 * [1, tokens, heads * valueDim], like q. Attributes as in `attention`.
 *
 * Tokens of several sequences have a position and a `sequence` each, as in `kvAppend`; those of sequence -1 get zeros.
 * @throws ShapeError, DTypeError; InputError for a row outside of the cache
 */
export const cachedAttention = /* @__PURE__ */ defineOp({
  name: OP,
  inputs: ["q", "kCache", "vCache", "position", "sequence?"],
  states: ["kCache", "vCache"],
  infer([q, k, v, position, sequence], attrs: CachedAttentionAttrs) {
    expectFloat(OP, q);
    expectFloat(OP, k);
    sameDType(OP, k, v);
    const g = cachedGeometry(q, k, v, attrs);
    checkTokens(OP, g.tokens, k, position, sequence);
    return { dtype: q.dtype, shape: [1, g.tokens, g.heads * g.valueDim] };
  },
  reference([q, k, v, position, sequence], attrs, [y]) {
    const { kvHeads = attrs.heads, ...rest } = attrs;
    const { tokens } = cachedGeometry(q, k, v, attrs);
    const one = (n: number): HostTensor => ({ dtype: "i32", shape: [1], data: Int32Array.of(n) });
    const row = (t: HostTensor, i: number): HostTensor => {
      const n = t.shape[2];
      return { ...t, shape: [1, 1, n], data: (t.data as TypedArray).subarray(i * n, (i + 1) * n) };
    };
    (y.data as TypedArray).fill(0 as never);
    const places = placesOf(tokens, position, sequence);
    for (const [s, at] of places)
      for (const cache of s === -1 ? [] : [k, v]) {
        const { rows } = rowsFrom(cache, s);
        if (at < 0 || at >= rows) refuseRow(OP, at, rows, s);
      }
    places.forEach(([s, at], t) => {
      if (s === -1) return;
      const filled = (cache: HostTensor): HostTensor => {
        const { from } = rowsFrom(cache, s);
        const n = cache.shape.at(-1)!;
        const data = (cache.data as TypedArray).subarray(from, from + (at + 1) * n);
        return { dtype: "f64", shape: [1, at + 1, n], data: toF64({ dtype: cache.dtype, data }) };
      };
      const query: HostTensor = { ...row(q, t), dtype: "f64", data: toF64(row(q, t)) };
      attention.op.reference!(
        [query, filled(k), filled(v), undefined, one(at + 1), one(at)],
        { ...rest, kvHeads, causal: true },
        [row(y, t)],
      );
    });
  },
});
