/** Text classification: spam or not, how a text sounds, what it is about. */
import type { SourceInput } from "../formats/source.ts";
import { InputError } from "../tensor/errors.ts";
import { checkClassOptions, type LabelScore, numbered, ranked, type Scoring } from "./classes.ts";
import { encodeText } from "./language/pieces.ts";
import {
  openTextRunner,
  type RunnerOptions,
  runnerOptions,
  type TextRunner,
  TextTask,
} from "./language/text-runner.ts";
import { checkOptions, type OptionNames, type SignalOptions, signalOptions } from "./options.ts";

export interface TextClassificationOptions extends RunnerOptions {
  /** Names of the classes in order. Default: `id2label` of `config.json`. */
  labels?: readonly string[];
  /** Default: what the end of the graph asks for, and `problem_type` of `config.json`. */
  scoring?: Scoring;
}

const loadOptions: OptionNames<TextClassificationOptions> = { ...runnerOptions, labels: true, scoring: true };

/** See `index.ts`. */
export async function textClassification(
  model: SourceInput,
  options: TextClassificationOptions = {},
): Promise<TextClassifier> {
  checkOptions("textClassification", options, loadOptions);
  checkClassOptions("textClassification", options);
  return new TextClassifier(await openTextRunner(model, "classes", options), options);
}

export class TextClassifier extends TextTask {
  constructor(
    runner: TextRunner,
    private readonly options: Pick<TextClassificationOptions, "labels" | "scoring">,
  ) {
    super(runner);
  }

  /**
   * All classes of a text, the likeliest first; of several texts, those of each. What exceeds the model's longest text is cut.
   * @throws InputError for anything but texts, labels that do not fit, or a model without room for a text; the signal's reason
   * when aborted
   */
  async classify(text: string, options?: SignalOptions): Promise<LabelScore[]>;
  async classify(texts: readonly string[], options?: SignalOptions): Promise<LabelScore[][]>;
  async classify(texts: string | readonly string[], given: SignalOptions = {}): Promise<LabelScore[] | LabelScore[][]> {
    checkOptions("classify", given, signalOptions);
    const list = typeof texts === "string" ? [texts] : texts;
    if (!Array.isArray(list) || list.some((t) => typeof t !== "string"))
      throw new InputError("classify: takes a text or an array of texts");
    const { runner, options } = this;
    const tokens = list.map((text) => ({ ids: encodeText(runner, text) }));
    const results = (await runner.run(tokens, given.signal)).map((logits) => {
      const { labels = runner.labels ?? numbered(logits.length) } = options;
      return ranked(logits, labels, options.scoring ?? runner.scoring(logits.length));
    });
    return typeof texts === "string" ? results[0] : results;
  }
}
