/** Reranking: how well texts answer a query, read together with it (a cross-encoder). */
import type { SourceInput } from "../formats/source.ts";
import { InputError } from "../tensor/errors.ts";
import { encodePair } from "./language/pieces.ts";
import { openTextRunner, type RunnerOptions, runnerOptions, TextTask } from "./language/text-runner.ts";
import { checkOptions, type SignalOptions, signalOptions } from "./options.ts";

export type RerankingOptions = RunnerOptions;

export interface RankedText {
  readonly text: string;
  /** Its place among the texts. */
  readonly index: number;
  /** 0 to 1. */
  readonly score: number;
  /** What the model gave. */
  readonly logit: number;
}

/** See `index.ts`. */
export async function reranking(model: SourceInput, options: RerankingOptions = {}): Promise<Reranker> {
  checkOptions("reranking", options, runnerOptions);
  return new Reranker(await openTextRunner(model, "classes", options));
}

export class Reranker extends TextTask {
  /**
   * The texts, the best answer first. Texts that are too long are cut.
   * @throws InputError for anything but texts, a query too long, or a model of several classes; the signal's reason when aborted
   */
  async rank(query: string, texts: readonly string[], options: SignalOptions = {}): Promise<RankedText[]> {
    checkOptions("rank", options, signalOptions);
    if (typeof query !== "string" || !Array.isArray(texts) || texts.some((t) => typeof t !== "string"))
      throw new InputError("rank: takes a query and an array of texts");
    const inputs = texts.map((text) => encodePair(this.runner, query, text, "second"));
    const results = await this.runner.run(inputs, options.signal);
    return results
      .map((logits, index) => {
        if (logits.length !== 1)
          throw new InputError(`rank: a reranker has one class, this model has ${logits.length}`);
        const [logit] = logits;
        return { text: texts[index], index, logit, score: 1 / (1 + Math.exp(-logit)) };
      })
      .sort((a, b) => b.logit - a.logit);
  }
}
