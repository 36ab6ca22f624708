/**
 * The lowerings of all families. What most models are made of is here from the start; the other families are loaded
 * when a model has an operator that isn't, likely ones first, so that nobody downloads tree ensembles to run a CNN.
 */
import type { LoweringTable } from "./node.ts";
import { attentionLowerings } from "./ops/attention.ts";
import { controlLowerings } from "./ops/control.ts";
import { convLowerings } from "./ops/conv.ts";
import { elementwiseLowerings } from "./ops/elementwise.ts";
import { indexingLowerings } from "./ops/indexing.ts";
import { matmulLowerings } from "./ops/matmul.ts";
import { movementLowerings } from "./ops/movement.ts";
import { normLowerings } from "./ops/norm.ts";
import { poolLowerings } from "./ops/pool.ts";
import { reduceLowerings } from "./ops/reduce.ts";
import { softmaxLowerings } from "./ops/softmax.ts";

const common: LoweringTable = {
  ...poolLowerings,
  ...matmulLowerings,
  ...convLowerings,
  ...softmaxLowerings,
  ...movementLowerings,
  ...indexingLowerings,
  ...reduceLowerings,
  ...normLowerings,
  ...attentionLowerings,
  ...elementwiseLowerings,
  ...controlLowerings,
};

const others: readonly (() => Promise<LoweringTable>)[] = [
  async () => (await import("./ops/image.ts")).imageLowerings,
  async () => (await import("./ops/quantize.ts")).quantizeLowerings,
  async () => (await import("./ops/attention-microsoft.ts")).microsoftAttentionLowerings,
  async () => (await import("./ops/recurrent.ts")).recurrentLowerings,
  async () => (await import("./ops/recurrent-microsoft.ts")).microsoftRecurrentLowerings,
  async () => (await import("./ops/detection.ts")).detectionLowerings,
  async () => (await import("./ops/sequence.ts")).sequenceLowerings,
  async () => (await import("./ops/einsum.ts")).einsumLowerings,
  async () => (await import("./ops/signal.ts")).signalLowerings,
  async () => (await import("./ops/random.ts")).randomLowerings,
  async () => (await import("./ops/ml.ts")).mlLowerings,
  async () => (await import("./ops/strings.ts")).stringLowerings,
  async () => (await import("./ops/loss.ts")).lossLowerings,
];

/** A table that has these operator types, as far as they are known. */
export async function loweringsFor(types: Iterable<string>): Promise<LoweringTable> {
  const wanted = [...types];
  let table = common;
  for (const load of others) {
    if (wanted.every((type) => Object.hasOwn(table, type))) break;
    table = { ...table, ...(await load()) };
  }
  return table;
}

/** Every family: for documentation. */
export async function allLowerings(): Promise<LoweringTable> {
  const tables = await Promise.all(others.map((load) => load()));
  return Object.assign({}, common, ...tables);
}
