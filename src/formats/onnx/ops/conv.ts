/** ONNX convolutions -> ours. Rarer ones are in conv-other.ts. */
import { conv } from "../../../ops/conv.ts";
import type { LoweringTable } from "../node.ts";
import { convAttrs } from "./window.ts";

export const convLowerings: LoweringTable = {
  Conv: (n) => conv(n.input(0), n.input(1), n.optional(2), convAttrs(n)),
};
