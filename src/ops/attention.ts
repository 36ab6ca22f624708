/** Scaled dot-product attention (https://arxiv.org/abs/1706.03762), as ONNX Attention 25 and its relatives have it. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { isFloat, isInteger } from "../tensor/dtype.ts";
import { broadcastShapes, broadcastStrides, sameShape } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { dtypeError, expectFloat, expectRank, numbersOf, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

export interface AttentionAttrs {
  /** Of packed (rank 3) queries. */
  heads?: number;
  /** Of packed (rank 3) keys and values; divides the number of heads. Default: `heads`. */
  kvHeads?: number;
  /** Of q.k. Default 1 / sqrt(dim). */
  scale?: number;
  /** Query i sees keys j <= i + offset. Default false. */
  causal?: boolean;
  /** c tanh(score / c) before the mask. Default 0: none. */
  softcap?: number;
  /** Query i sees keys j >= i + offset - leftWindow. Default -1: all. */
  leftWindow?: number;
  /** Query i sees keys j <= i + offset + rightWindow. Default -1: all. */
  rightWindow?: number;
}

/** Elements between neighbours along each axis of a [batch, heads, positions, dim] tensor, however it is packed. */
export interface HeadStrides {
  batch: number;
  head: number;
  position: number;
}

/** The sizes of an attention, and where its elements are. dim is contiguous everywhere. */
export interface AttentionGeometry {
  batch: number;
  heads: number;
  kvHeads: number;
  /** Number of queries. */
  seq: number;
  /** Number of keys. */
  total: number;
  dim: number;
  valueDim: number;
  q: HeadStrides;
  k: HeadStrides;
  v: HeadStrides;
  y: HeadStrides;
  scale: number;
}

interface HeadView extends HeadStrides {
  batches: number;
  heads: number;
  positions: number;
  dim: number;
}

/** A [batch, heads, positions, dim] tensor, or a packed [batch, positions, heads * dim] one. */
export function headView(op: string, t: TensorType, heads: number | undefined): HeadView {
  expectFloat(op, t);
  expectRank(op, t, 3, 4);
  if (t.shape.length === 4) {
    const [batches, h, positions, dim] = t.shape;
    return { batches, heads: h, positions, dim, batch: h * positions * dim, head: positions * dim, position: dim };
  }
  const [batches, positions, packed] = t.shape;
  if (!heads || packed % heads !== 0) shapeError(op, `${heads ?? "unknown"} heads do not divide the last axis`, t);
  return {
    batches,
    heads,
    positions,
    dim: packed / heads,
    batch: positions * packed,
    head: packed / heads,
    position: packed,
  };
}

const stridesOnly = ({ batch, head, position }: HeadView): HeadStrides => ({ batch, head, position });

/** Checks q, k and v and says where things are. Throws ShapeError. */
export function attentionGeometry(
  op: string,
  q: TensorType,
  k: TensorType,
  v: TensorType,
  attrs: AttentionAttrs,
): AttentionGeometry {
  const qs = headView(op, q, attrs.heads);
  const ks = headView(op, k, attrs.kvHeads ?? attrs.heads);
  const vs = headView(op, v, attrs.kvHeads ?? attrs.heads);
  if (qs.batches !== ks.batches || ks.batches !== vs.batches) shapeError(op, "batches differ", q, k, v);
  if (qs.dim !== ks.dim) shapeError(op, "queries and keys differ in their last axis", q, k);
  if (ks.heads !== vs.heads || ks.positions !== vs.positions) shapeError(op, "keys and values do not match", k, v);
  if (ks.heads === 0 || qs.heads % ks.heads !== 0) shapeError(op, "key heads do not divide query heads", q, k);
  const packed = qs.heads * vs.dim;
  return {
    batch: qs.batches,
    heads: qs.heads,
    kvHeads: ks.heads,
    seq: qs.positions,
    total: ks.positions,
    dim: qs.dim,
    valueDim: vs.dim,
    q: stridesOnly(qs),
    k: stridesOnly(ks),
    v: stridesOnly(vs),
    y:
      q.shape.length === 3
        ? { batch: qs.positions * packed, head: vs.dim, position: packed }
        : { batch: packed * qs.positions, head: qs.positions * vs.dim, position: vs.dim },
    scale: attrs.scale ?? 1 / Math.sqrt(qs.dim),
  };
}

/** How a mask is read: strides over [batch, heads, seq, columns]. Keys from `columns` on are masked. */
export function maskGeometry(
  op: string,
  mask: TensorType,
  { batch, heads, seq, total }: AttentionGeometry,
): { strides: number[]; columns: number } {
  const last = mask.shape.at(-1) ?? 1;
  const columns = last === 1 ? total : last;
  const target = [batch, heads, seq, columns];
  if (mask.shape.length > 4 || columns > total || !sameShape(broadcastShapes(op, mask.shape, target), target))
    shapeError(op, `mask does not broadcast to [${[batch, heads, seq, total]}]`, mask);
  return { strides: broadcastStrides(mask.shape, target), columns };
}

type Inputs = [
  TensorType,
  TensorType,
  TensorType,
  TensorType | undefined,
  TensorType | undefined,
  TensorType | undefined,
  TensorType | undefined,
];

function checked(
  op: string,
  [q, k, v, mask, kvLength, offset, sink]: Inputs,
  attrs: AttentionAttrs,
): AttentionGeometry {
  const g = attentionGeometry(op, q, k, v, attrs);
  if (mask) {
    if (mask.dtype === "string") dtypeError(op, "mask must be bool or numbers", mask);
    maskGeometry(op, mask, g);
  }
  for (const t of [kvLength, offset]) {
    if (t && !isInteger(t.dtype)) dtypeError(op, "lengths and offsets are integers", t);
    const n = t?.shape.reduce((a, b) => a * b, 1);
    if (t && n !== g.batch && n !== 1) shapeError(op, `takes one length or offset for each of ${g.batch} samples`, t);
  }
  if (sink && (!isFloat(sink.dtype) || !sameShape(sink.shape, [g.heads])))
    shapeError(op, `takes one sink for each of ${g.heads} heads`, sink);
  return g;
}

/**
 * First key and one past the last key that query `i` may see through causality, window and length.
 * @param offset keys before the first query
 * @param length valid keys
 */
export function visibleKeys(attrs: AttentionAttrs, i: number, offset: number, length: number): [number, number] {
  const { causal = false, leftWindow = -1, rightWindow = -1 } = attrs;
  let end = length;
  if (causal) end = Math.min(end, i + offset + 1);
  if (rightWindow >= 0) end = Math.min(end, i + offset + rightWindow + 1);
  const start = leftWindow >= 0 ? Math.max(0, i + offset - leftWindow) : 0;
  return [start, Math.max(start, end)];
}

/** The lengths and offsets of sample `b`; see `attention` for the defaults. */
export function rangeOf(
  kvLength: ArrayLike<number> | undefined,
  offset: ArrayLike<number> | undefined,
  b: number,
  { seq, total }: { seq: number; total: number },
): { length: number; offset: number } {
  const at = (list: ArrayLike<number>): number => list[list.length === 1 ? 0 : b];
  const length = kvLength ? Math.min(at(kvLength), total) : total;
  return { length, offset: offset ? at(offset) : kvLength ? at(kvLength) - seq : 0 };
}

/** Stages of a row of scores that `attentionScores` can give. */
export type ScoreStage = "scaled" | "capped" | "masked" | "probabilities";

/** Scores of one query up to a stage, written to `row`. */
type ScoreRow = (b: number, h: number, i: number, row: Float64Array, stage: ScoreStage) => void;

function scoreRows(
  op: string,
  [q, k, v, mask, kvLength, offset, sink]: (HostTensor | undefined)[],
  attrs: AttentionAttrs,
): { g: AttentionGeometry; score: ScoreRow } {
  const g = attentionGeometry(op, q!, k!, v!, attrs);
  const queries = toF64(q!);
  const keys = toF64(k!);
  const bias = mask && toF64(mask);
  const reading = mask && maskGeometry(op, mask, g);
  const lengths = kvLength && numbersOf(kvLength);
  const offsets = offset && numbersOf(offset);
  const sinks = sink && toF64(sink);
  const softcap = attrs.softcap ?? 0;
  const group = g.heads / g.kvHeads;
  const biasAt = (b: number, h: number, i: number, j: number): number => {
    if (!bias || !reading) return 0;
    if (j >= reading.columns) return -Infinity;
    const [sb, sh, si, sj] = reading.strides;
    const m = bias[b * sb + h * sh + i * si + j * sj];
    return mask.dtype === "bool" ? (m ? 0 : -Infinity) : m;
  };
  const score: ScoreRow = (b, h, i, row, stage) => {
    const kv = Math.floor(h / group);
    const range = rangeOf(lengths, offsets, b, g);
    const [start, end] = visibleKeys(attrs, i, range.offset, range.length);
    for (let j = 0; j < g.total; j++) {
      const qa = b * g.q.batch + h * g.q.head + i * g.q.position;
      const ka = b * g.k.batch + kv * g.k.head + j * g.k.position;
      let dot = 0;
      for (let d = 0; d < g.dim; d++) dot += queries[qa + d] * keys[ka + d];
      dot *= g.scale;
      if (stage !== "scaled" && softcap > 0) dot = softcap * Math.tanh(dot / softcap);
      const hidden = (stage === "masked" || stage === "probabilities") && (j < start || j >= end);
      row[j] = hidden ? -Infinity : stage === "scaled" || stage === "capped" ? dot : dot + biasAt(b, h, i, j);
    }
    if (stage !== "probabilities") return;
    const max = row.reduce((m, s) => Math.max(m, s), sinks ? sinks[h] : -Infinity);
    // A query that may see nothing gives zeros.
    if (max === -Infinity) return void row.fill(0);
    let sum = sinks ? Math.exp(sinks[h] - max) : 0;
    for (let j = 0; j < row.length; j++) sum += row[j] = Math.exp(row[j] - max);
    for (let j = 0; j < row.length; j++) row[j] /= sum;
  };
  return { g, score };
}

const inputs = ["q", "k", "v", "mask?", "kvLength?", "offset?", "sink?"] as const;

/**
 * softmax(scale q k^T + mask) v by heads; y is laid out like `q`.
 *
 * - q [batch, heads, seq, dim] or packed [batch, seq, heads * dim]; k and v likewise with `total` positions and
 *   `kvHeads` heads, each shared by heads / kvHeads consecutive query heads; v may have its own dim. Float dtypes.
 * - mask: broadcasts to [batch, heads, seq, total]; bool says which keys take part, numbers are added to the scores.
 *   Keys beyond a mask that is shorter than `total` take no part.
 * - kvLength [batch] (integers): keys that hold something; the rest takes no part.
 * - offset [batch] or [1] (integers): position of the first query among the keys, for `causal` and windows. Default
 *   kvLength - seq where a length is given, else 0.
 * - sink [heads]: one more score in every row's softmax, with no value behind it.
 *
 * Queries that may see no key give zeros.
 */
export const attention = /* @__PURE__ */ defineOp({
  name: "attention",
  inputs,
  infer(operands, attrs: AttentionAttrs) {
    const g = checked("attention", operands, attrs);
    const [q] = operands;
    const shape = q.shape.length === 3 ? [g.batch, g.seq, g.heads * g.valueDim] : [g.batch, g.heads, g.seq, g.valueDim];
    return { dtype: q.dtype, shape };
  },
  reference(tensors, attrs, [y]) {
    const { g, score } = scoreRows("attention", tensors, attrs);
    const values = toF64(tensors[2]);
    const row = new Float64Array(g.total);
    const out = new Float64Array(y.data.length);
    const group = g.heads / g.kvHeads;
    for (let b = 0; b < g.batch; b++)
      for (let h = 0; h < g.heads; h++)
        for (let i = 0; i < g.seq; i++) {
          score(b, h, i, row, "probabilities");
          const at = b * g.y.batch + h * g.y.head + i * g.y.position;
          for (let j = 0; j < g.total; j++) {
            if (row[j] === 0) continue;
            const va = b * g.v.batch + Math.floor(h / group) * g.v.head + j * g.v.position;
            for (let d = 0; d < g.valueDim; d++) out[at + d] += row[j] * values[va + d];
          }
        }
    fromF64(out, y);
  },
});

export interface AttentionScoresAttrs extends AttentionAttrs {
  /** How far the scores are taken. Default "scaled". */
  stage?: ScoreStage;
}

/**
 * The matrix that `attention` never stores, for those who ask to see it: [batch, heads, seq, total], dtype of `q`.
 * Inputs as for `attention`.
 */
export const attentionScores = /* @__PURE__ */ defineOp({
  name: "attentionScores",
  inputs,
  infer(operands, attrs: AttentionScoresAttrs) {
    const g = checked("attentionScores", operands, attrs);
    return { dtype: operands[0].dtype, shape: [g.batch, g.heads, g.seq, g.total] };
  },
  reference(tensors, attrs, [y]) {
    const { g, score } = scoreRows("attentionScores", tensors, attrs);
    const out = new Float64Array(y.data.length);
    let at = 0;
    for (let b = 0; b < g.batch; b++)
      for (let h = 0; h < g.heads; h++)
        for (let i = 0; i < g.seq; i++, at += g.total)
          score(b, h, i, out.subarray(at, at + g.total), attrs.stage ?? "scaled");
    fromF64(out, y);
  },
});
