/** Constant folding: a node whose inputs never change is computed once, by its reference. */
import { bytesOf } from "../../tensor/dtype.ts";
import { ForwardpassError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { emptyTensor, type HostTensor } from "../../tensor/tensor.ts";
import { inferNode } from "../infer.ts";
import type { Rule } from "./rewrite.ts";

/** A result may be this much larger than its inputs: `Expand` of a constant would otherwise fill memory. */
const growthLimit = 1 << 16;

const bytesOfTensor = (t: HostTensor): number => sizeOf(t.shape) * bytesOf(t.dtype);

export const foldConstants: Rule = (node, context) => {
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
    const before = given.reduce((sum, t) => sum + (t ? bytesOfTensor(t) : 0), 0);
    const after = types.reduce((sum, t) => sum + sizeOf(t.shape) * bytesOf(t.dtype), 0);
    if (after > 8 * before + growthLimit) return undefined;
    const results = types.map(emptyTensor);
    op.reference(given, attrs, results);
    return { constants: results };
  } catch (e) {
    // A branch that never runs may hold nonsense: leave the error to the run that reaches it.
    if (e instanceof ForwardpassError) return undefined;
    throw e;
  }
};
