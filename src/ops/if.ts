import type { HostValue } from "../tensor/tensor.ts";
import { expectScalar } from "./host-values.ts";
import { defineOp, type Subgraph } from "./op.ts";

export interface IfAttrs {
  thenBranch: Subgraph;
  elseBranch: Subgraph;
}

/**
 * Runs one of two graphs: those inputs after `condition` (bool, one element) that `thenBranch` takes come first, the ones of
 * `elseBranch` follow. Both have the same number of outputs, which may differ in shape. ONNX If.
 */
export const ifElse = /* @__PURE__ */ defineOp({
  name: "if",
  inputs: ["condition", "...captures"],
  outputs: ({ thenBranch }: IfAttrs) => thenBranch.outputs.length,
  *evaluate([condition, ...captures], attrs: IfAttrs, context): Generator<unknown, HostValue[]> {
    const split = attrs.thenBranch.inputs.length;
    return expectScalar("if", "condition", condition) !== 0
      ? yield* context.run(attrs.thenBranch, captures.slice(0, split))
      : yield* context.run(attrs.elseBranch, captures.slice(split));
  },
});
