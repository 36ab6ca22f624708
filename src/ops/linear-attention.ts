import { fromF64, toF64 } from "../tensor/convert.ts";
import { sameShape } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import { expectFloat, expectRank, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

export interface LinearAttentionAttrs {
  heads: number;
  /** Divides `heads`. */
  kvHeads: number;
  /** What a token does to the state; see `linearAttention`. Default "gated_delta". */
  updateRule?: "linear" | "gated" | "delta" | "gated_delta";
  /** Of the output. Default 0: 1 / sqrt(dim). */
  scale?: number;
}

const OP = "linearAttention";

function geometry(q: TensorType, k: TensorType, v: TensorType, { heads, kvHeads }: LinearAttentionAttrs) {
  for (const t of [q, k, v]) {
    expectFloat(OP, t);
    expectRank(OP, t, 3);
  }
  const [batch, seq] = q.shape;
  const [dim, valueDim] = [q.shape[2] / heads, v.shape[2] / kvHeads];
  if (!Number.isInteger(dim) || !Number.isInteger(valueDim) || heads % kvHeads !== 0)
    shapeError(OP, `${heads} heads and ${kvHeads} key heads do not divide the last axes`, q, k, v);
  if (!sameShape(k.shape, [batch, seq, kvHeads * dim]) || v.shape[0] !== batch || v.shape[1] !== seq)
    shapeError(OP, "queries, keys and values do not match", q, k, v);
  return { batch, seq, dim, valueDim };
}

/**
 * Attention by a recurrent state S [dim, valueDim] a head (ONNX LinearAttention 27). With decay g and rate beta a token
 * does: linear S += k v^T; gated S = e^g S + k v^T; delta S += beta k (v - S^T k)^T; gated_delta both. Then
 * o = scale S^T q.
 *
 * q [batch, seq, heads * dim], k [batch, seq, kvHeads * dim], v [batch, seq, kvHeads * valueDim]; state [batch,
 * kvHeads, dim, valueDim], zeros if missing; decay [batch, seq, kvHeads] or [batch, seq, kvHeads * dim]; beta
 * [batch, seq, kvHeads] or [batch, seq, 1]. Outputs: y [batch, seq, heads * valueDim] and the new state.
 */
export const linearAttention = /* @__PURE__ */ defineOp({
  name: OP,
  inputs: ["q", "k", "v", "state?", "decay?", "beta?"],
  outputs: ["y", "newState"],
  infer([q, k, v, state, decay, beta], attrs: LinearAttentionAttrs) {
    const { batch, seq, dim, valueDim } = geometry(q, k, v, attrs);
    const { heads, kvHeads, updateRule = "gated_delta" } = attrs;
    const shape = [batch, kvHeads, dim, valueDim];
    if (state && !sameShape(state.shape, shape)) shapeError(OP, `state must be [${shape}]`, state);
    if (updateRule.startsWith("gated") && !decay) shapeError(OP, `${updateRule} needs a decay`, q);
    if (updateRule.endsWith("delta") && !beta) shapeError(OP, `${updateRule} needs beta`, q);
    const allowed = (t: TensorType, lasts: number[]): boolean => lasts.some((n) => sameShape(t.shape, [batch, seq, n]));
    if (decay && !allowed(decay, [kvHeads, kvHeads * dim])) shapeError(OP, "decay does not match the keys", decay, k);
    if (beta && !allowed(beta, [kvHeads, 1])) shapeError(OP, "beta does not match the keys", beta, k);
    return [
      { dtype: q.dtype, shape: [batch, seq, heads * valueDim] },
      { dtype: state?.dtype ?? q.dtype, shape },
    ];
  },
  reference([q, k, v, state, decay, beta], attrs, [y, newState]) {
    const { batch, seq, dim, valueDim } = geometry(q, k, v, attrs);
    const { heads, kvHeads, updateRule = "gated_delta" } = attrs;
    const scale = attrs.scale || 1 / Math.sqrt(dim);
    const gated = updateRule.startsWith("gated");
    const delta = updateRule.endsWith("delta");
    const [qs, ks, vs] = [toF64(q), toF64(k), toF64(v)];
    const s = state ? toF64(state).slice() : new Float64Array(newState.data.length);
    const gs = decay && toF64(decay);
    const perHead = decay?.shape[2] === kvHeads;
    const rates = beta && toF64(beta);
    const out = new Float64Array(y.data.length);
    const group = heads / kvHeads;
    for (let b = 0; b < batch; b++)
      for (let h = 0; h < kvHeads; h++)
        for (let t = 0; t < seq; t++) {
          const token = b * seq + t;
          const S = (b * kvHeads + h) * dim * valueDim;
          const K = (token * kvHeads + h) * dim;
          const V = (token * kvHeads + h) * valueDim;
          const rate = rates ? rates[beta.shape[2] === 1 ? token : token * kvHeads + h] : 1;
          if (gated && gs)
            for (let i = 0; i < dim; i++) {
              const g = Math.exp(gs[perHead ? token * kvHeads + h : K + i]);
              for (let j = 0; j < valueDim; j++) s[S + i * valueDim + j] *= g;
            }
          for (let j = 0; j < valueDim; j++) {
            let recalled = 0;
            if (delta) for (let i = 0; i < dim; i++) recalled += s[S + i * valueDim + j] * ks[K + i];
            const change = delta ? rate * (vs[V + j] - recalled) : vs[V + j];
            for (let i = 0; i < dim; i++) s[S + i * valueDim + j] += ks[K + i] * change;
          }
          for (let r = 0; r < group; r++) {
            const head = token * heads + h * group + r;
            for (let j = 0; j < valueDim; j++) {
              let o = 0;
              for (let i = 0; i < dim; i++) o += qs[head * dim + i] * s[S + i * valueDim + j];
              out[head * valueDim + j] = o * scale;
            }
          }
        }
    fromF64(out, y);
    fromF64(s, newState);
  },
});
