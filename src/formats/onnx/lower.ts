/** The lowerings of all families, merged. */
import type { LoweringTable } from "./node.ts";
import { controlLowerings } from "./ops/control.ts";
import { convLowerings } from "./ops/conv.ts";
import { elementwiseLowerings } from "./ops/elementwise.ts";
import { matmulLowerings } from "./ops/matmul.ts";
import { poolLowerings } from "./ops/pool.ts";
import { quantizeLowerings } from "./ops/quantize.ts";
import { randomLowerings } from "./ops/random.ts";
import { sequenceLowerings } from "./ops/sequence.ts";
import { softmaxLowerings } from "./ops/softmax.ts";

export const lowerings: LoweringTable = {
  ...poolLowerings,
  ...matmulLowerings,
  ...convLowerings,
  ...softmaxLowerings,
  ...elementwiseLowerings,
  ...quantizeLowerings,
  ...randomLowerings,
  ...sequenceLowerings,
  ...controlLowerings,
};
