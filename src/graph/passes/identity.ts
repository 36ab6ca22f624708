/** Operators that change nothing at inference: identity, dropout whose mask nobody reads, and casts to the same dtype. */
import type { Rule } from "./rewrite.ts";

export const removeIdentity: Rule = (node, context) => {
  const { op, inputs, outputs } = node;
  const plain = op.name === "identity";
  const dropout =
    op.name === "dropout" && inputs[2] === undefined && outputs.slice(1).every((id) => context.uses(id) === 0);
  return (plain || dropout) && inputs[0] !== undefined ? { same: inputs[0] } : undefined;
};

/** Exporters cast masks to bool that are bool. For dtypes to be known the graph has to be planned. */
export const removeCast: Rule = ({ op, inputs, outputs }, context) => {
  if (op.name !== "cast" && op.name !== "castLike") return undefined;
  const [from, to] = [context.type(inputs[0]!), context.type(outputs[0])];
  return from && from.dtype === to?.dtype ? { same: inputs[0]! } : undefined;
};
