/** Constant folding: a node whose inputs never change is computed once, by its reference. */
import { ForwardpassError } from "../../tensor/errors.ts";
import { emptyTensor, type HostTensor, memoryOf } from "../../tensor/tensor.ts";
import { inferNode } from "../infer.ts";
import type { Node } from "../ir.ts";
import type { RewriteContext, Rule } from "./rewrite.ts";

/** A result may be this much larger than its inputs: `Expand` of a constant would otherwise fill memory. */
const growthLimit = 1 << 16;
/** All results of a graph together may take this much, and so many times what its constants take. */
const budgetBytes = 1 << 24;
const budgetTimes = 16;

/** The rule for one graph. @param constantBytes what the graph's constants take */
export function foldConstants(constantBytes: number): Rule {
  let budget = budgetBytes + budgetTimes * constantBytes;
  return (node, context) => {
    const results = fold(node, context, budget);
    for (const t of results ?? []) budget -= memoryOf(t);
    return results && { constants: results };
  };
}

function fold(node: Node, context: RewriteContext, budget: number): HostTensor[] | undefined {
  const { op, inputs, attrs } = node;
  if (!op.infer || !op.reference || op.random || inputs.length === 0) return undefined;
  const tensors = inputs.map((id) => (id === undefined ? undefined : (context.constant(id) ?? null)));
  if (tensors.some((t) => t === null)) return undefined;
  const given = tensors as (HostTensor | undefined)[];
  try {
    const types = inferNode(
      node,
      given.map((t) => t && { dtype: t.dtype, shape: t.shape, value: t }),
    );
    const before = given.reduce((sum, t) => sum + (t ? memoryOf(t) : 0), 0);
    const after = types.reduce((sum, t) => sum + memoryOf(t), 0);
    if (after > Math.min(8 * before + growthLimit, budget)) return undefined;
    const results = types.map(emptyTensor);
    op.reference(given, attrs, results);
    return results;
  } catch (e) {
    // A branch that never runs may hold nonsense: leave the error to the run that reaches it.
    if (e instanceof ForwardpassError) return undefined;
    throw e;
  }
}
