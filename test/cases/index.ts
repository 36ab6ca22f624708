/** The cases of all operators, by operator name. test/cases.test.ts fails when one is missing. */
import type fc from "fast-check";
import { attentionCases } from "./attention.ts";
import { blockCases } from "./blocks.ts";
import type { OpCase } from "./case.ts";
import { convCases } from "./conv.ts";
import { decoderCases } from "./decoder.ts";
import { detectionCases } from "./detection.ts";
import { elementwiseCases } from "./elementwise.ts";
import { imageCases } from "./image.ts";
import { indexingCases } from "./indexing.ts";
import { lossCases } from "./loss.ts";
import { matmulCases } from "./matmul.ts";
import { mlCases } from "./ml.ts";
import { movementCases } from "./movement.ts";
import { normCases } from "./norm.ts";
import { poolCases } from "./pool.ts";
import { quantizeCases, randomCases } from "./quantize.ts";
import { recurrentCases } from "./recurrent.ts";
import { reduceCases } from "./reduce.ts";
import { signalCases } from "./signal.ts";
import { softmaxCases } from "./softmax.ts";

export const cases: Readonly<Record<string, fc.Arbitrary<OpCase>>> = {
  ...attentionCases,
  ...blockCases,
  ...convCases,
  ...decoderCases,
  ...detectionCases,
  ...elementwiseCases,
  ...imageCases,
  ...indexingCases,
  ...lossCases,
  ...matmulCases,
  ...mlCases,
  ...movementCases,
  ...normCases,
  ...poolCases,
  ...quantizeCases,
  ...randomCases,
  ...recurrentCases,
  ...reduceCases,
  ...signalCases,
  ...softmaxCases,
};
