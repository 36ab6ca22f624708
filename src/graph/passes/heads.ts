/**
 * Exporters of encoder-decoders (BART, Whisper) put batch and heads into one axis before they multiply, and the scores into two
 * axes for a softmax of old. Such reshapes go behind what does not mix the rows, until one takes back what another did:
 * attention is then what `fuseAttention` knows, on [batch, heads, positions, dim].
 *
 * Legal because a reshape that leaves the last axis alone leaves rows alone, and one that leaves the last two leaves matrices.
 */
import { reshape } from "../../ops/reshape.ts";
import { sameShape } from "../../tensor/shape.ts";
import type { Node, ValueId } from "../ir.ts";
import { samePermutation, scalarOf } from "./match.ts";
import type { RewriteContext, Rule } from "./rewrite.ts";

/** reshape(x), of that shape. */
export function reshaped(
  x: ValueId,
  shape: readonly number[],
  { name, context, output }: { name: string; context: RewriteContext; output?: ValueId },
): Node {
  const data = BigInt64Array.from(shape, BigInt);
  const target = context.addConstant({ dtype: "i64", shape: [shape.length], data });
  const id = output ?? context.addValue({ dtype: context.type(x)!.dtype, shape });
  return { op: reshape.op, name, inputs: [x, target], outputs: [id], attrs: { allowZero: true } };
}

/** What a value was before it got another shape, and its own then. */
function before(
  id: ValueId | undefined,
  context: RewriteContext,
): { x: ValueId; shape: readonly number[] } | undefined {
  const node = id === undefined ? undefined : context.producer(id);
  const shape = node?.op.view ? context.type(node.inputs[0]!)?.shape : undefined;
  return shape && { x: node!.inputs[0]!, shape };
}

/** The same for matrices whose first two axes were made one. */
function beforeMerge(id: ValueId | undefined, context: RewriteContext) {
  const found = before(id, context);
  const now = found && context.type(id!)!.shape;
  const merged = found?.shape.length === 4 && now?.length === 3 && sameShape(found.shape.slice(2), now.slice(1));
  return merged ? found : undefined;
}

export const reshapeLater: Rule = (node, context) => {
  const { op, inputs, outputs, attrs } = node;
  const type = context.type(outputs[0]);
  if (!type) return undefined;
  /** `op` on what was there before, of that shape, and then the reshape to what is wanted. */
  const earlier = (shape: readonly number[], change: Partial<Node>): Node[] => {
    const id = context.addValue({ dtype: type.dtype, shape });
    const last = reshaped(id, type.shape, { name: node.name, context, output: outputs[0] });
    return [{ ...node, ...change, outputs: [id] }, last];
  };
  if (op.view) {
    const found = before(inputs[0], context);
    if (!found) return undefined;
    if (sameShape(found.shape, type.shape)) return { same: found.x };
    return [reshaped(found.x, type.shape, { name: node.name, context, output: outputs[0] })];
  }
  switch (op.name) {
    case "transpose": {
      const found = beforeMerge(inputs[0], context);
      if (!found || !samePermutation(node, [0, 2, 1])) return undefined;
      const [b, h, rows, columns] = found.shape;
      return earlier([b, h, columns, rows], { inputs: [found.x], attrs: { perm: [0, 1, 3, 2] } });
    }
    case "softmax": {
      const found = before(inputs[0], context);
      const axis = (attrs["axis"] as number | undefined) ?? -1;
      const last = axis === -1 || axis === type.shape.length - 1;
      if (!found || !last || found.shape.at(-1) !== type.shape.at(-1)) return undefined;
      return earlier(found.shape, { inputs: [found.x], attrs: { axis: -1 } });
    }
    case "mul":
    case "div": {
      const found = beforeMerge(inputs[0], context);
      if (!found || scalarOf(inputs[1], context) === undefined || type.shape.length !== 3) return undefined;
      return earlier(found.shape, { inputs: [found.x, inputs[1]] });
    }
    case "matmul": {
      const [a, b] = [beforeMerge(inputs[0], context), beforeMerge(inputs[1], context)];
      if (!a || !b || inputs[2] !== undefined || inputs[3] !== undefined) return undefined;
      if (!sameShape(a.shape.slice(0, 2), b.shape.slice(0, 2))) return undefined;
      const shape = [...a.shape.slice(0, 2), ...type.shape.slice(1)];
      return earlier(shape, { inputs: [a.x, b.x] });
    }
    default:
      return undefined;
  }
};
