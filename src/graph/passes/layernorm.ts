/**
 * Layer normalisation as exporters before ONNX 17 write it:
 *   d = x - mean(x); d / sqrt(mean(d^2) + epsilon) * scale + bias
 *
 * Legal when both means run over the last axis alone and keep it, and scale and bias are vectors of that axis.
 */
import { layerNorm } from "../../ops/layer-norm.ts";
import { toNumbers } from "../../tensor/convert.ts";
import type { ValueId } from "../ir.ts";
import { eitherOrder, only, scalarOf, withScalar } from "./match.ts";
import type { RewriteContext, Rule } from "./rewrite.ts";

export const fuseLayerNorm: Rule = (node, context) => {
  if (node.op.name !== "add") return undefined;
  for (const [product, bias] of eitherOrder(node)) {
    const mul = only(product, "mul", context);
    for (const [quotient, scale] of mul ? eitherOrder(mul) : []) {
      const div = only(quotient, "div", context);
      const x = div && centred(div.inputs[0]!, div.inputs[1]!, context);
      if (!x) continue;
      const type = context.type(x.x);
      const n = type?.shape.at(-1);
      const isVector = (id: ValueId): boolean => {
        const t = context.constant(id);
        return t !== undefined && t.shape.length === 1 && t.shape[0] === n;
      };
      if (!type || !isVector(scale) || !isVector(bias)) continue;
      return [{ ...node, op: layerNorm.op, inputs: [x.x, scale, bias], attrs: { axis: -1, epsilon: x.epsilon } }];
    }
  }
  return undefined;
};

/** x and epsilon, where `d` is x - mean(x) and `root` is sqrt(mean(d^2) + epsilon). */
function centred(d: ValueId, root: ValueId, context: RewriteContext): { x: ValueId; epsilon: number } | undefined {
  const difference = context.producer(d);
  if (difference?.op.name !== "sub") return undefined;
  const [x, mean] = difference.inputs as [ValueId, ValueId];
  if (meanOf(mean, context) !== x) return undefined;
  const sum = withScalar(only(only(root, "sqrt", context)?.inputs[0], "add", context), context);
  const square = sum && context.producer(meanOf(sum.x, context) ?? -1);
  const squared =
    (square?.op.name === "pow" && scalarOf(square.inputs[1], context) === 2) ||
    (square?.op.name === "mul" && square.inputs[0] === square.inputs[1]);
  if (!sum || !square || !squared || !sameDifference(square.inputs[0]!, d, context)) return undefined;
  return { x, epsilon: sum.scalar };
}

/** The same value, or the same difference computed twice. */
function sameDifference(a: ValueId, b: ValueId, context: RewriteContext): boolean {
  if (a === b) return true;
  const [p, q] = [context.producer(a), context.producer(b)];
  return p?.op.name === "sub" && q?.op.name === "sub" && p.inputs.every((id, i) => id === q.inputs[i]);
}

/** What `id` is the mean of, over the last axis, kept. */
export function meanOf(id: ValueId, context: RewriteContext): ValueId | undefined {
  const node = context.producer(id);
  if (node?.op.name !== "reduceMean" || node.attrs["keepDims"] === false) return undefined;
  const x = node.inputs[0]!;
  const axes = node.inputs[1] === undefined ? undefined : context.constant(node.inputs[1]);
  const rank = context.type(x)?.shape.length;
  if (!axes || rank === undefined) return undefined;
  const list = toNumbers(axes);
  return list.length === 1 && (list[0] === -1 || list[0] === rank - 1) ? x : undefined;
}
