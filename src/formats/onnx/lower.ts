/** The lowerings of all families, merged. */
import type { LoweringTable } from "./node.ts";
import { controlLowerings } from "./ops/control.ts";
import { sequenceLowerings } from "./ops/sequence.ts";
import { softmaxLowerings } from "./ops/softmax.ts";

export const lowerings: LoweringTable = {
  ...softmaxLowerings,
  ...sequenceLowerings,
  ...controlLowerings,
};
