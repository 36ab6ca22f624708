/** The lowerings of all families, merged. */
import type { LoweringTable } from "./node.ts";
import { attentionLowerings } from "./ops/attention.ts";
import { microsoftAttentionLowerings } from "./ops/attention-microsoft.ts";
import { controlLowerings } from "./ops/control.ts";
import { convLowerings } from "./ops/conv.ts";
import { detectionLowerings } from "./ops/detection.ts";
import { einsumLowerings } from "./ops/einsum.ts";
import { elementwiseLowerings } from "./ops/elementwise.ts";
import { imageLowerings } from "./ops/image.ts";
import { indexingLowerings } from "./ops/indexing.ts";
import { lossLowerings } from "./ops/loss.ts";
import { matmulLowerings } from "./ops/matmul.ts";
import { mlLowerings } from "./ops/ml.ts";
import { movementLowerings } from "./ops/movement.ts";
import { normLowerings } from "./ops/norm.ts";
import { poolLowerings } from "./ops/pool.ts";
import { quantizeLowerings } from "./ops/quantize.ts";
import { randomLowerings } from "./ops/random.ts";
import { recurrentLowerings } from "./ops/recurrent.ts";
import { reduceLowerings } from "./ops/reduce.ts";
import { sequenceLowerings } from "./ops/sequence.ts";
import { signalLowerings } from "./ops/signal.ts";
import { softmaxLowerings } from "./ops/softmax.ts";
import { stringLowerings } from "./ops/strings.ts";

export const lowerings: LoweringTable = {
  ...poolLowerings,
  ...matmulLowerings,
  ...convLowerings,
  ...softmaxLowerings,
  ...stringLowerings,
  ...movementLowerings,
  ...mlLowerings,
  ...indexingLowerings,
  ...reduceLowerings,
  ...einsumLowerings,
  ...recurrentLowerings,
  ...normLowerings,
  ...lossLowerings,
  ...microsoftAttentionLowerings,
  ...attentionLowerings,
  ...elementwiseLowerings,
  ...quantizeLowerings,
  ...randomLowerings,
  ...sequenceLowerings,
  ...controlLowerings,
  ...imageLowerings,
  ...signalLowerings,
  ...detectionLowerings,
};
