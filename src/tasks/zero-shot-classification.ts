/** Zero-shot classification: labels of your own, judged by a model that knows what follows from a text. */
import type { SourceInput } from "../formats/source.ts";
import { InputError } from "../tensor/errors.ts";
import { type LabelScore, ranked } from "./classes.ts";
import { encodePair } from "./language/pieces.ts";
import {
  openTextRunner,
  type RunnerOptions,
  runnerOptions,
  type TextRunner,
  TextTask,
} from "./language/text-runner.ts";
import { checkOptions, type OptionNames, type SignalOptions, signalOptions } from "./options.ts";

export type ZeroShotOptions = RunnerOptions;

export interface ZeroShotClassifyOptions extends SignalOptions {
  /** A sentence with `{}` for the label. Default: "This example is {}." */
  hypothesis?: string;
  /** Whether several labels may be right: each then stands alone, as one label always does. Default false: scores add up to 1. */
  several?: boolean;
}

const classifyOptions: OptionNames<ZeroShotClassifyOptions> = { ...signalOptions, hypothesis: true, several: true };

/** See `index.ts`. */
export async function zeroShotClassification(
  model: SourceInput,
  options: ZeroShotOptions = {},
): Promise<ZeroShotClassifier> {
  checkOptions("zeroShotClassification", options, runnerOptions);
  const runner = await openTextRunner(model, "classes", options);
  const at = (pattern: RegExp): number => runner.labels?.findIndex((label) => pattern.test(label)) ?? -1;
  const [entailment, contradiction] = [at(/^entail/i), at(/^(contradict|not.entail)/i)];
  if (entailment < 0 || contradiction < 0) {
    runner.session.dispose();
    const names = runner.labels?.join(", ") ?? "without names";
    throw new InputError(`zero-shot classification takes a model of inference; the classes of this one are ${names}`);
  }
  return new ZeroShotClassifier(runner, entailment, contradiction);
}

export class ZeroShotClassifier extends TextTask {
  constructor(
    runner: TextRunner,
    private readonly entailment: number,
    private readonly contradiction: number,
  ) {
    super(runner);
  }

  /**
   * The labels, the likeliest first; `index` is the place in `labels`, `logit` that of entailment. A text that is too long is cut.
   * @throws InputError for anything but a text and labels, and a label that leaves the text no room; the signal's reason when
   * aborted
   */
  async classify(
    text: string,
    labels: readonly string[],
    options: ZeroShotClassifyOptions = {},
  ): Promise<LabelScore[]> {
    checkOptions("classify", options, classifyOptions);
    const { hypothesis = "This example is {}.", several = false, signal } = options;
    if (typeof text !== "string" || !Array.isArray(labels) || labels.some((l) => typeof l !== "string"))
      throw new InputError("classify: takes a text and an array of labels");
    if (typeof hypothesis !== "string" || !hypothesis.includes("{}"))
      throw new InputError(`classify: the hypothesis has no {} for the label`);
    if (typeof several !== "boolean")
      throw new InputError(`classify: several takes true or false, got ${JSON.stringify(several)}`);
    const inputs = labels.map((label) =>
      encodePair(
        this.runner,
        text,
        hypothesis.replace("{}", () => label),
        "first",
      ),
    );
    const results = await this.runner.run(inputs, signal);
    const entailed = results.map((logits) => logits[this.entailment]);
    // One label among itself would always be sure.
    if (!several && labels.length > 1) return ranked(entailed, labels, "softmax");
    return results
      .map((logits, index) => {
        const [logit, against] = [logits[this.entailment], logits[this.contradiction]];
        return { label: labels[index], index, logit, score: 1 / (1 + Math.exp(against - logit)) };
      })
      .sort((a, b) => b.score - a.score);
  }
}
