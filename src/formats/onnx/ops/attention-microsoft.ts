/** ONNX Runtime's attention operators (domain com.microsoft), which exported language models use -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { type AttentionAttrs, attention, attentionScores } from "../../../ops/attention.ts";
import { add, div, mul, sub } from "../../../ops/binary.ts";
import { cast, castLike } from "../../../ops/cast.ts";
import { greater } from "../../../ops/compare.ts";
import { concat } from "../../../ops/concat.ts";
import { appendCache, cacheStart, keyPaddingMask } from "../../../ops/kv-cache.ts";
import { matmul } from "../../../ops/matmul.ts";
import { range } from "../../../ops/range.ts";
import { reshape } from "../../../ops/reshape.ts";
import { rotaryEmbedding } from "../../../ops/rotary-embedding.ts";
import { shape } from "../../../ops/shape.ts";
import { split } from "../../../ops/split.ts";
import { squeeze } from "../../../ops/squeeze.ts";
import { unsqueeze } from "../../../ops/unsqueeze.ts";
import { where } from "../../../ops/where.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";
import { presentOf } from "./attention.ts";

type Three = [SymbolicValue, SymbolicValue, SymbolicValue];

/** 0 stands for the default, 1 / sqrt(dim). */
const scaleOf = (n: OnnxNode): number | undefined => n.float("scale", 0) || undefined;

function headsOf(n: OnnxNode, name = "num_heads"): number {
  return n.int(name) ?? n.unsupported(`a missing attribute "${name}"`);
}

/** Query, key and value of MultiHeadAttention: apart, or key and value or all three packed as [batch, seq, heads, n, dim]. */
function unpacked(n: OnnxNode): Three {
  const apart = (x: SymbolicValue, parts: number): SymbolicValue[] =>
    split(x, { axis: 3, parts }).map((p) => reshape(squeeze(p, [3]), [0, 0, -1]));
  const [q, k, v] = [n.input(0), n.optional(1), n.optional(2)];
  if (!k) return apart(q, 3) as Three;
  return v ? [q, k, v] : ([q, ...apart(k, 2)] as Three);
}

/** Adds each input's part of the packed bias, as long as its last axis. */
function biased(n: OnnxNode, inputs: Three, bias: SymbolicValue | undefined): Three {
  if (!bias) return inputs;
  const known = inputs.map((x) => x.type?.shape.at(-1));
  const sizes = known.every((s) => s !== undefined)
    ? n.i64(known)
    : concat(...inputs.map((x) => shape(x, { start: -1 })), { axis: 0 });
  const parts = split(bias, sizes, { axis: 0, parts: 3 });
  return inputs.map((x, i) => add(x, parts[i])) as Three;
}

/** A number as a constant of the dtype of `like`. */
const number = (n: OnnxNode, value: number, like: SymbolicValue): SymbolicValue =>
  castLike(n.builder.constant({ dtype: "f32", shape: [], data: Float32Array.of(value) }), like);

/** What is added to the scores where a padding mask hides keys, which keep the weight that this leaves them. */
function filtered(n: OnnxNode, q: SymbolicValue, padding: SymbolicValue | undefined): SymbolicValue | undefined {
  return padding && where(padding, number(n, 0, q), number(n, n.float("mask_filter_value", -10000), q));
}

const sum = (a: SymbolicValue | undefined, b: SymbolicValue | undefined): SymbolicValue | undefined =>
  a && b ? add(a, b) : (a ?? b);

/** How many positions there are, of a packed tensor or one of rank 4, as i32[1]. */
const positions = (x: SymbolicValue): SymbolicValue => cast(shape(x, { start: -2, end: -1 }), { to: "i32" });

/** Of f32: hidden beyond what any filter says, and still a number. */
const lowest = -3.4028234663852886e38;

/**
 * What `unidirectional` hides: query i sees `past` keys and those up to its own position, but the last query sees all. That
 * makes a difference where there are more new keys than queries (a cache that comes as key and value): then a mask [queries,
 * keys] does all of it. Elsewhere causality from `offset` does, which skips keys, and nothing is added to the mask.
 * @param mask what is added to the scores for other reasons
 * @param always the mask has to do it, for scores that somebody looks at
 */
function causality(
  n: OnnxNode,
  [q, k]: Three,
  past: SymbolicValue | undefined,
  mask: SymbolicValue | undefined,
  always: boolean,
): { offset: SymbolicValue; mask: SymbolicValue } {
  const i32 = (value: number): SymbolicValue =>
    n.builder.constant({ dtype: "i32", shape: [1], data: Int32Array.of(value) });
  const [queries, fresh] = [positions(q), positions(k)];
  const before = past ? positions(past) : i32(0);
  const keys = add(before, fresh);
  const masks = always ? greater(queries, i32(0)) : greater(fresh, queries);
  const [rows, columns] = [where(masks, queries, i32(1)), where(masks, keys, i32(1))];
  const last = concat(range(before, sub(add(before, rows), i32(1)), i32(1)), keys, { axis: 0 });
  const hidden = greater(range(i32(0), columns, i32(1)), reshape(last, [-1, 1]));
  return {
    offset: where(masks, keys, before),
    mask: where(hidden, number(n, lowest, q), mask ?? number(n, 0, q)),
  };
}

function multiHeadAttention(n: OnnxNode): (SymbolicValue | undefined)[] {
  const heads = headsOf(n);
  if (n.optional(8) || n.optional(9)) n.unsupported("a key-value buffer that is shared between calls");
  const inputs = biased(n, unpacked(n), n.optional(3));
  const [q, k, v] = inputs;
  const [padding, bias, pastKey, pastValue] = [4, 5, 6, 7].map((i) => n.optional(i));
  const keys = presentOf(pastKey, k, heads, n.wants(1));
  const values = presentOf(pastValue, v, heads, n.wants(2));
  const causal = n.flag("unidirectional");
  const padded = filtered(n, q, padding && keyPaddingMask(padding, keys));
  const { offset, mask } = causal
    ? causality(n, inputs, pastKey, padded, n.wants(3))
    : { offset: undefined, mask: padded };
  const operands = [q, keys, values, sum(mask, bias), undefined, offset] as const;
  const attrs: AttentionAttrs = { heads, scale: scaleOf(n), causal };
  const scores = n.wants(3) ? attentionScores(...operands, { ...attrs, stage: "masked" }) : undefined;
  return [attention(...operands, attrs), keys, values, scores];
}

/** Attention of BERT and GPT-2, with the projections inside. Keys and values of before, and of all, are one tensor. */
function fusedAttention(n: OnnxNode): (SymbolicValue | undefined)[] {
  const [padding, past, bias, length] = [3, 4, 5, 6].map((i) => n.optional(i));
  if (length || n.flag("past_present_share_buffer")) n.unsupported("a key-value buffer that is shared between calls");
  if (n.flag("do_rotary")) n.unsupported("do_rotary");
  const projected = matmul(n.input(0), n.input(1));
  const [b, sizes] = [n.optional(2), n.ints("qkv_hidden_sizes")];
  const x = b ? add(projected, b) : projected;
  const [q, k, v] = split(x, sizes && n.i64(sizes), { axis: -1, parts: 3 });
  const heads = headsOf(n);
  const [pastKey, pastValue] = past ? split(past, { axis: 0, parts: 2 }).map((p) => squeeze(p, [0])) : [];
  const [keys, values] = [presentOf(pastKey, k, heads, n.wants(1)), presentOf(pastValue, v, heads, n.wants(1))];
  const mask = sum(filtered(n, q, padding && keyPaddingMask(padding, keys)), bias);
  const offset = pastKey && shape(pastKey, { start: 2, end: 3 });
  const attrs: AttentionAttrs = { heads, scale: scaleOf(n), causal: n.flag("unidirectional") };
  const y = attention(q, keys, values, mask, undefined, offset, attrs);
  return [y, n.wants(1) ? concat(unsqueeze(keys, [0]), unsqueeze(values, [0]), { axis: 0 }) : undefined];
}

/** Query, key and value of GroupQueryAttention, apart or packed along the last axis. */
function groupInputs(n: OnnxNode, heads: number, kvHeads: number): Three {
  const q = n.input(0);
  if (n.optional(1)) return [q, n.input(1), n.input(2)];
  const dim = div(shape(q, { start: 2, end: 3 }), n.i64([heads + 2 * kvHeads]));
  return split(q, mul(dim, n.i64([heads, kvHeads, kvHeads])), { axis: 2, parts: 3 }) as Three;
}

function groupQueryAttention(n: OnnxNode): SymbolicValue[] {
  const [heads, kvHeads] = [headsOf(n), headsOf(n, "kv_num_heads")];
  let [q, k, v] = groupInputs(n, heads, kvHeads);
  const [pastKey, pastValue] = [n.optional(3), n.optional(4)];
  // The input holds the lengths less one.
  const one = n.builder.constant({ dtype: "i32", shape: [1], data: Int32Array.of(1) });
  const lengths = add(reshape(n.input(5), [-1]), one);
  const total = reshape(n.input(6), [1]);
  const start = cacheStart(k, lengths, total);
  if (n.flag("do_rotary")) {
    const [cos, sin, positions] = [n.input(7), n.input(8), n.optional(9) ?? start];
    const interleaved = n.flag("rotary_interleaved");
    q = rotaryEmbedding(q, cos, sin, positions, { heads, interleaved });
    k = rotaryEmbedding(k, cos, sin, positions, { heads: kvHeads, interleaved });
  }
  const keys = appendCache(k, lengths, total, pastKey, { heads: kvHeads });
  const values = appendCache(v, lengths, total, pastValue, { heads: kvHeads });
  const zeros = (): SymbolicValue =>
    n.builder.constant({ dtype: "f32", shape: [heads], data: new Float32Array(heads) });
  const sink = n.optional(11) ?? (n.flag("smooth_softmax") ? zeros() : undefined);
  const window = n.int("local_window_size", -1);
  const y = attention(q, keys, values, n.optional(10), lengths, start, sink, {
    heads,
    kvHeads,
    scale: scaleOf(n),
    causal: true,
    softcap: n.float("softcap", 0),
    // The window counts the current token.
    leftWindow: window > 0 ? window - 1 : -1,
  });
  return [y, keys, values];
}

export const microsoftAttentionLowerings: LoweringTable = {
  "com.microsoft::MultiHeadAttention": multiHeadAttention,
  "com.microsoft::Attention": fusedAttention,
  "com.microsoft::GroupQueryAttention": groupQueryAttention,
  "com.microsoft::RotaryEmbedding": (n) => {
    if (n.flag("is_packed_batching")) n.unsupported("is_packed_batching");
    return rotaryEmbedding(n.input(0), n.input(2), n.input(3), n.input(1), {
      heads: n.int("num_heads", 0) || undefined,
      rotaryDim: n.int("rotary_embedding_dim", 0),
      interleaved: n.flag("interleaved"),
    });
  },
};
