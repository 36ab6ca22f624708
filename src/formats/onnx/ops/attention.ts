/** ONNX attention and what belongs to it -> ours. ONNX Runtime's variants are in attention-microsoft.ts. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { type AttentionAttrs, attention, attentionScores, type ScoreStage } from "../../../ops/attention.ts";
import { cast } from "../../../ops/cast.ts";
import { causalConv } from "../../../ops/causal-conv.ts";
import { concat } from "../../../ops/concat.ts";
import { linearAttention } from "../../../ops/linear-attention.ts";
import { matmul } from "../../../ops/matmul.ts";
import { reshape } from "../../../ops/reshape.ts";
import { rotaryEmbedding } from "../../../ops/rotary-embedding.ts";
import { shape } from "../../../ops/shape.ts";
import { softmax } from "../../../ops/softmax.ts";
import { transpose } from "../../../ops/transpose.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";
import { choice } from "./choice.ts";

/** [batch, seq, heads * dim] -> [batch, heads, seq, dim]. */
const splitHeads = (x: SymbolicValue, heads: number): SymbolicValue =>
  transpose(reshape(x, [0, 0, heads, -1]), { perm: [0, 2, 1, 3] });

/** `x` as [batch, heads, seq, dim]. Rank 3 is assumed where it isn't known and a number of heads is given. */
export function fourDimensional(x: SymbolicValue, heads: number | undefined): SymbolicValue {
  const rank = x.type?.shape.length ?? (heads ? 3 : 4);
  return rank === 4 || !heads ? x : splitHeads(x, heads);
}

/** Keys or values of now behind those of before; with heads on their own axis where they go out. */
export function presentOf(
  past: SymbolicValue | undefined,
  x: SymbolicValue,
  heads: number | undefined,
  wanted: boolean,
): SymbolicValue {
  if (past) return concat(past, fourDimensional(x, heads), { axis: 2 });
  return wanted ? fourDimensional(x, heads) : x;
}

const stages: readonly ScoreStage[] = ["scaled", "capped", "masked", "probabilities"];

function attentionNode(n: OnnxNode): (SymbolicValue | undefined)[] {
  const [q, k, v] = [n.input(0), n.input(1), n.input(2)];
  const [mask, pastKey, pastValue, length] = [3, 4, 5, 6].map((i) => n.optional(i));
  const kvHeads = n.int("kv_num_heads");
  const attrs: AttentionAttrs = {
    heads: n.int("q_num_heads"),
    kvHeads,
    scale: n.float("scale"),
    causal: n.flag("is_causal"),
    softcap: n.float("softcap", 0),
    leftWindow: n.int("left_window_size", -1),
    rightWindow: n.int("right_window_size", -1),
  };
  const keys = presentOf(pastKey, k, kvHeads, n.wants(1));
  const values = presentOf(pastValue, v, kvHeads, n.wants(2));
  const offset = pastKey && shape(pastKey, { start: 2, end: 3 });
  const y = attention(q, keys, values, mask, length, offset, attrs);
  const stage = stages[n.int("qk_matmul_output_mode", 0)] ?? n.unsupported("this qk_matmul_output_mode");
  const scores = n.wants(3) ? attentionScores(q, keys, values, mask, length, offset, { ...attrs, stage }) : undefined;
  return [y, keys, values, scores];
}

/** Attention whose scores and probabilities pass through graphs of the model. */
function flexAttention(n: OnnxNode): SymbolicValue {
  const [q, k, v] = [n.input(0), n.input(1), n.input(2)];
  const narrow = q.type?.dtype === "f16" || q.type?.dtype === "bf16";
  const to = narrow ? n.dtype("softmax_precision", "f32") : n.dtype("softmax_precision", undefined);
  const modify = (name: string, x: SymbolicValue): SymbolicValue => (n.has(name) ? n.graph(name).inline([x])[0] : x);
  let scores = attentionScores(q, k, v, { scale: n.float("scale") });
  if (to) scores = cast(scores, { to });
  let probabilities = modify("prob_mod", softmax(modify("score_mod", scores), { axis: -1 }));
  if (to && q.type && q.type.dtype !== to) probabilities = cast(probabilities, { to: q.type.dtype });
  // Query heads that share a value head go through one product: [batch, kvHeads, group * seq, total].
  const grouped = concat(n.i64([0]), shape(k, { start: 1, end: 2 }), n.i64([-1]), shape(k, { start: 2, end: 3 }), {
    axis: 0,
  });
  const y = matmul(reshape(probabilities, grouped), v);
  return reshape(y, concat(shape(q, { start: 0, end: 3 }), shape(v, { start: 3, end: 4 }), { axis: 0 }));
}

function linearAttentionNode(n: OnnxNode): readonly SymbolicValue[] {
  return linearAttention(n.input(0), n.input(1), n.input(2), n.optional(3), n.optional(4), n.optional(5), {
    heads: n.int("q_num_heads", 0),
    kvHeads: n.int("kv_num_heads", 0),
    updateRule: choice(n, "update_rule", ["linear", "gated", "delta", "gated_delta"]) ?? "gated_delta",
    scale: n.float("scale", 0),
  });
}

export const attentionLowerings: LoweringTable = {
  Attention: attentionNode,
  "ai.onnx.preview::FlexAttention": flexAttention,
  RotaryEmbedding: (n) =>
    rotaryEmbedding(n.input(0), n.input(1), n.input(2), n.optional(3), {
      heads: n.int("num_heads"),
      rotaryDim: n.int("rotary_embedding_dim", 0),
      interleaved: n.flag("interleaved"),
    }),
  LinearAttention: linearAttentionNode,
  CausalConvWithState: (n) => {
    const activation = choice(n, "activation", ["none", "silu", "swish"]) ?? "none";
    return causalConv(n.input(0), n.input(1), n.optional(2), n.optional(3), {
      activation: activation === "none" ? "none" : "silu",
    });
  },
};
