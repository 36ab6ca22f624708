/**
 * Attention as exporters write it, softmax(scale q k^T + mask) v on [batch, heads, positions, dim] tensors, becomes one
 * `attention`, which never stores the scores. Then heads that were split off by reshape and transpose are read where
 * they lie: [batch, positions, heads * dim].
 *
 * Legal when the scores have no other reader, the softmax runs over the keys, and the mask broadcasts to the scores and
 * does not make them more. Queries whose keys are all masked by -Infinity give zeros, where a softmax alone gives NaN.
 */
import { attention } from "../../ops/attention.ts";
import { transpose } from "../../ops/transpose.ts";
import { sameShape } from "../../tensor/shape.ts";
import type { Node, ValueId } from "../ir.ts";
import { reshaped } from "./heads.ts";
import { eitherOrder, only, samePermutation, scaled } from "./match.ts";
import type { RewriteContext, Rule } from "./rewrite.ts";

const splitHeads = [0, 2, 1, 3];

export const fuseAttention: Rule = (node, context) => {
  if (!isPlainMatmul(node)) return undefined;
  const softmax = only(node.inputs[0], "softmax", context);
  const axis = softmax?.attrs["axis"] as number | undefined;
  if (!softmax || (axis !== undefined && axis !== -1 && axis !== 3)) return undefined;
  for (const { scores, mask } of masked(softmax.inputs[0]!, context)) {
    const outer = scaled(scores, context);
    const product = only(outer?.x ?? scores, "matmul", context);
    if (!product || product.inputs[2] !== undefined || product.attrs["activation"]) continue;
    const alpha = (product.attrs["alpha"] as number | undefined) ?? 1;
    const q = scaled(product.inputs[0], context) ?? { x: product.inputs[0]!, scalar: 1 };
    const keys = keysOf(product, context);
    const v = node.inputs[1]!;
    if (!keys || ![q.x, v].every((id) => context.type(id)?.shape.length === 4)) continue;
    if (product.attrs["transposeA"] || !heads(q.x, keys.shape, v, context)) continue;
    const own = [...context.type(q.x)!.shape.slice(0, 3), keys.shape[2]];
    if (!sameShape(context.type(softmax.inputs[0]!)!.shape, own)) continue;
    const scale = (outer?.scalar ?? 1) * alpha * q.scalar * keys.scalar;
    const fused = { ...node, op: attention.op, inputs: [q.x, keys.id, v, mask], attrs: { scale } };
    return [...keys.nodes, fused];
  }
  return undefined;
};

const isPlainMatmul = ({ op, inputs, attrs }: Node): boolean =>
  op.name === "matmul" &&
  inputs[2] === undefined &&
  !attrs["transposeA"] &&
  !attrs["transposeB"] &&
  !attrs["activation"] &&
  ((attrs["alpha"] as number | undefined) ?? 1) === 1;

/** Same batch, and key heads as many as query heads: what a plain matmul without broadcasting means. */
function heads(q: ValueId, k: readonly number[], v: ValueId, context: RewriteContext): boolean {
  const qs = context.type(q)!.shape;
  return sameShape(qs.slice(0, 2), k.slice(0, 2)) && sameShape(qs.slice(0, 2), context.type(v)!.shape.slice(0, 2));
}

/** The scores with and without an added mask. */
function masked(id: ValueId, context: RewriteContext): { scores: ValueId; mask?: ValueId }[] {
  const sum = only(id, "add", context);
  if (!sum) return [{ scores: id }];
  return eitherOrder(sum).map(([scores, mask]) => ({ scores, mask }));
}

interface Keys {
  id: ValueId;
  shape: readonly number[];
  scalar: number;
  nodes: Node[];
}

/** k as [batch, heads, positions, dim], undoing the transposition that the product needs. */
function keysOf(product: Node, context: RewriteContext): Keys | undefined {
  const factor = scaled(product.inputs[1], context) ?? { x: product.inputs[1]!, scalar: 1 };
  const plain = (id: ValueId): Keys | undefined => {
    const shape = context.type(id)?.shape;
    return shape?.length === 4 ? { id, shape, scalar: factor.scalar, nodes: [] } : undefined;
  };
  if (product.attrs["transposeB"]) return plain(factor.x);
  const turned = only(factor.x, "transpose", context);
  if (samePermutation(turned, [0, 1, 3, 2])) {
    const inner = scaled(turned!.inputs[0], context);
    const keys = plain(inner?.x ?? turned!.inputs[0]!);
    return keys && { ...keys, scalar: keys.scalar * (inner?.scalar ?? 1) };
  }
  if (!samePermutation(turned, [0, 2, 3, 1])) return undefined;
  // [batch, positions, heads, dim] was turned in one go: split off the heads alone.
  const x = turned!.inputs[0]!;
  const type = context.type(x)!;
  const shape = splitHeads.map((a) => type.shape[a]);
  const id = context.addValue({ dtype: type.dtype, shape });
  const node: Node = { ...turned!, op: transpose.op, inputs: [x], outputs: [id], attrs: { perm: splitHeads } };
  return { id, shape, scalar: factor.scalar, nodes: [node] };
}

/** transpose(attention(transpose q, transpose k, transpose v)) -> attention on packed heads. */
export const packAttention: Rule = (node, context) => {
  if (node.op.name !== "transpose" || !samePermutation(node, splitHeads)) return undefined;
  const inner = only(node.inputs[0], "attention", context);
  if (!inner || inner.attrs["heads"] !== undefined) return undefined;
  const sources = inner.inputs.slice(0, 3).map((id) => {
    const turned = context.producer(id!);
    return turned?.op.name === "transpose" && samePermutation(turned, splitHeads) ? turned.inputs[0]! : undefined;
  });
  if (sources.some((id) => id === undefined)) return undefined;
  const nodes: Node[] = [];
  const reshapeTo = (x: ValueId, shape: readonly number[], output?: ValueId): ValueId => {
    const last = reshaped(x, shape, { name: node.name, context, output });
    nodes.push(last);
    return last.outputs[0];
  };
  const packed = sources.map((id) => {
    const [b, s, h, d] = context.type(id!)!.shape;
    return reshapeTo(id!, [b, s, h * d]);
  });
  const [b, s, h, d] = context.type(node.outputs[0])!.shape;
  const kvHeads = context.type(sources[1]!)!.shape[2];
  const result = context.addValue({ dtype: context.type(node.outputs[0])!.dtype, shape: [b, s, h * d] });
  const attrs = { ...inner.attrs, heads: h, kvHeads };
  nodes.push({ ...inner, inputs: [...packed, ...inner.inputs.slice(3)], outputs: [result], attrs });
  reshapeTo(result, [b, s, h, d], node.outputs[0]);
  return nodes;
};
