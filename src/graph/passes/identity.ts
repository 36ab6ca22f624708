/** Operators that change nothing at inference: identity, and dropout whose mask nobody reads. */
import type { Rule } from "./rewrite.ts";

export const removeIdentity: Rule = (node, context) => {
  const { op, inputs, outputs } = node;
  const plain = op.name === "identity";
  const dropout =
    op.name === "dropout" && inputs[2] === undefined && outputs.slice(1).every((id) => context.uses(id) === 0);
  return (plain || dropout) && inputs[0] !== undefined ? { same: inputs[0] } : undefined;
};
