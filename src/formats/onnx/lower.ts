/** The lowerings of all families, merged. */
import type { LoweringTable } from "./node.ts";
import { controlLowerings } from "./ops/control.ts";
import { elementwiseLowerings } from "./ops/elementwise.ts";
import { quantizeLowerings } from "./ops/quantize.ts";
import { randomLowerings } from "./ops/random.ts";
import { sequenceLowerings } from "./ops/sequence.ts";
import { softmaxLowerings } from "./ops/softmax.ts";

export const lowerings: LoweringTable = {
  ...softmaxLowerings,
  ...elementwiseLowerings,
  ...quantizeLowerings,
  ...randomLowerings,
  ...sequenceLowerings,
  ...controlLowerings,
};
