/**
 * Products and convolutions of dynamically quantised tensors, as ONNX writes them: float(product) (aScale bScale), and then a
 * bias, are one operator.
 *
 * Legal when nobody else reads what lies between, and the scales are what the operator takes: that of a as
 * `dynamicQuantizeLinear` gives it, that of b a constant for all or for each column or output channel.
 */
import { convIntegerToFloat } from "../../ops/conv-integer.ts";
import { matmulIntegerToFloat } from "../../ops/matmul-integer.ts";
import type { OpDef } from "../../ops/op.ts";
import type { Shape } from "../../tensor/shape.ts";
import { type HostTensor, reshaped } from "../../tensor/tensor.ts";
import type { Node, ValueId } from "../ir.ts";
import { eitherOrder, only } from "./match.ts";
import type { RewriteContext, Rule } from "./rewrite.ts";

/** Channels of a result, its columns or what they are convolved to, and the axes in front of and behind them that are known. */
interface Channels {
  readonly count: number;
  readonly before: number;
  readonly behind: number;
}

interface Fusion {
  readonly from: string;
  readonly to: OpDef;
  /** By the shape of the constant operand. */
  channels(shape: Shape): Channels | undefined;
}

const fusions: readonly Fusion[] = [
  {
    from: "matmulInteger",
    to: matmulIntegerToFloat.op,
    channels: ({ length, 1: count }) => (length === 2 ? { count, before: 0, behind: 0 } : undefined),
  },
  {
    from: "convInteger",
    to: convIntegerToFloat.op,
    channels: ({ length, 0: count }) => ({ count, before: 1, behind: length - 2 }),
  },
];

/** Of a product with a constant. */
function channelsOf(fusion: Fusion, { inputs }: Node, context: RewriteContext): Channels | undefined {
  const shape = context.constant(inputs[1]!)?.shape;
  return shape && fusion.channels(shape);
}

/** A constant that broadcasts along the channels, as a vector of them. */
function vectorOf(t: HostTensor | undefined, c: Channels | undefined): HostTensor | undefined {
  if (!t || !c) return undefined;
  const at = t.shape.length - 1 - c.behind;
  const fits = at >= 0 && at <= c.before && t.shape.every((d, i) => d === (i === at ? c.count : 1));
  return fits ? reshaped(t, [c.count]) : undefined;
}

/** Its id, or that of another one with this shape. */
function idOf(id: ValueId, t: HostTensor, context: RewriteContext): ValueId {
  return context.constant(id)!.shape.length === t.shape.length ? id : context.addConstant(t);
}

const fuseScales: Rule = (node, context) => {
  if (node.op.name !== "mul") return undefined;
  for (const [sums, scale] of eitherOrder(node)) {
    const cast = only(sums, "cast", context);
    if (cast?.attrs["to"] !== "f32") continue;
    for (const fusion of fusions) {
      const product = only(cast.inputs[0], fusion.from, context);
      const scales = product && scalesOf(scale, channelsOf(fusion, product, context), context);
      if (!scales) continue;
      const [a, b, aZero, bZero] = product.inputs;
      return [{ ...node, op: fusion.to, inputs: [a, b, ...scales, aZero, bZero], attrs: product.attrs }];
    }
  }
  return undefined;
};

function scalesOf(
  id: ValueId,
  channels: Channels | undefined,
  context: RewriteContext,
): [a: ValueId, b: ValueId] | undefined {
  const product = context.producer(id);
  if (product?.op.name !== "mul") return undefined;
  for (const [a, b] of eitherOrder(product)) {
    const source = context.producer(a);
    if (source?.op.name !== "dynamicQuantizeLinear" || source.outputs[1] !== a) continue;
    const scale = context.constant(b);
    // One of an axis gives that axis to a product of two vectors, which has none.
    const isOne = scale && (scale.shape.length === 0 || (channels && scale.shape.length === 1 && scale.shape[0] === 1));
    const own = isOne ? scale : vectorOf(scale, channels);
    if (own) return [a, idOf(b, own, context)];
  }
  return undefined;
}

const biasInput = 6;

const fuseBias: Rule = (node, context) => {
  if (node.op.name !== "add") return undefined;
  for (const [sum, bias] of eitherOrder(node)) {
    for (const fusion of fusions) {
      const product = only(sum, fusion.to.name, context);
      if (!product || product.inputs[biasInput] !== undefined) continue;
      const vector = vectorOf(context.constant(bias), channelsOf(fusion, product, context));
      if (!vector) continue;
      const inputs = Array.from({ length: biasInput }, (_, i) => product.inputs[i]);
      return [{ ...product, inputs: [...inputs, idOf(bias, vector, context)], outputs: node.outputs } satisfies Node];
    }
  }
  return undefined;
};

export const integerRules: readonly Rule[] = [fuseScales, fuseBias];
