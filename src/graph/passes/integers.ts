/**
 * Products of dynamically quantised matrices, as ONNX writes them: float(product) (aScale bScale), and then a bias, are one
 * operator.
 *
 * Legal when nobody else reads what lies between, and the scales are what the operator takes: that of a as
 * `dynamicQuantizeLinear` gives it, that of b a constant for all or for each column.
 */
import { matmulIntegerToFloat } from "../../ops/matmul-integer.ts";
import type { Node, ValueId } from "../ir.ts";
import { eitherOrder, only } from "./match.ts";
import type { RewriteContext, Rule } from "./rewrite.ts";

const fuseScales: Rule = (node, context) => {
  if (node.op.name !== "mul") return undefined;
  for (const [sums, scale] of eitherOrder(node)) {
    const cast = only(sums, "cast", context);
    const product = cast?.attrs["to"] === "f32" ? only(cast.inputs[0], "matmulInteger", context) : undefined;
    const scales = product && scalesOf(scale, columnsOf(product, context), context);
    if (!scales) continue;
    const [a, b, aZero, bZero] = product.inputs;
    return [{ ...node, op: matmulIntegerToFloat.op, inputs: [a, b, ...scales, aZero, bZero], attrs: {} }];
  }
  return undefined;
};

/** Of a product with a constant matrix. */
function columnsOf({ inputs }: Node, context: RewriteContext): number | undefined {
  const shape = context.constant(inputs[1]!)?.shape;
  return shape?.length === 2 ? shape[1] : undefined;
}

function scalesOf(
  id: ValueId,
  columns: number | undefined,
  context: RewriteContext,
): [a: ValueId, b: ValueId] | undefined {
  const product = context.producer(id);
  if (product?.op.name !== "mul") return undefined;
  return eitherOrder(product).find(([a, b]) => {
    const source = context.producer(a);
    const shape = context.constant(b)?.shape;
    const isOfColumns = shape?.length === 0 || (shape?.length === 1 && [1, columns].includes(shape[0]));
    return source?.op.name === "dynamicQuantizeLinear" && source.outputs[1] === a && isOfColumns;
  });
}

const biasInput = 6;

const fuseBias: Rule = (node, context) => {
  if (node.op.name !== "add") return undefined;
  for (const [sum, bias] of eitherOrder(node)) {
    const product = only(sum, "matmulIntegerToFloat", context);
    const shape = context.constant(bias)?.shape;
    if (!product || product.inputs[biasInput] !== undefined) continue;
    if (shape?.length !== 1 || shape[0] !== columnsOf(product, context)) continue;
    const inputs = Array.from({ length: biasInput }, (_, i) => product.inputs[i]);
    return [{ ...product, inputs: [...inputs, bias], outputs: node.outputs } satisfies Node];
  }
  return undefined;
};

export const integerRules: readonly Rule[] = [fuseScales, fuseBias];
