/** Token classification: names, places and the like in a text. */
import type { SourceInput } from "../formats/source.ts";
import { InputError } from "../tensor/errors.ts";
import { checkClassOptions, type LabelScore, numbered, ranked } from "./classes.ts";
import { checkPerToken, widthOf } from "./language/per-token.ts";
import { type Piece, piecesOf, roomOf } from "./language/pieces.ts";
import {
  openTextRunner,
  type RunnerOptions,
  runnerOptions,
  type TextRunner,
  TextTask,
} from "./language/text-runner.ts";
import { checkOptions, type OptionNames, type SignalOptions, signalOptions } from "./options.ts";

export interface TokenClassificationOptions extends RunnerOptions {
  /** Names of the classes in order. Default: `id2label` of `config.json`. */
  labels?: readonly string[];
}

/** Words that belong together, and what they are. */
export interface Entity {
  /** Without what says beginning or inside: `PER` for `B-PER`. */
  readonly label: string;
  readonly text: string;
  /** `text.slice(start, end)` is it. */
  readonly start: number;
  readonly end: number;
  /** 0 to 1: the mean of its words'. */
  readonly score: number;
}

const loadOptions: OptionNames<TokenClassificationOptions> = { ...runnerOptions, labels: true };

/** See `index.ts`. */
export async function tokenClassification(
  model: SourceInput,
  options: TokenClassificationOptions = {},
): Promise<TokenClassifier> {
  checkOptions("tokenClassification", options, loadOptions);
  checkClassOptions("tokenClassification", options);
  const runner = await openTextRunner(model, "tokens", options);
  checkPerToken("tokenClassification", runner);
  return new TokenClassifier(runner, options.labels);
}

interface Tagged extends Piece {
  readonly best: LabelScore;
}

export class TokenClassifier extends TextTask {
  constructor(
    runner: TextRunner,
    private readonly labels?: readonly string[],
  ) {
    super(runner);
  }

  /**
   * What the text names, in its order; words that are nothing (`O`) are left out. A word is what its first piece is. Words of
   * one label side by side are one entity, where the model's labels say beginning and inside (`B-PER`, `I-PER`). Texts of any
   * length are judged part by part.
   * @throws InputError for anything but a text, labels that do not fit, or a model of another kind or without room for a text;
   * the signal's reason when aborted
   */
  async classify(text: string, options: SignalOptions = {}): Promise<Entity[]> {
    checkOptions("classify", options, signalOptions);
    if (typeof text !== "string") throw new InputError("classify: takes a text");
    const { before, behind, room } = roomOf(this.runner);
    const parts = partsOf(piecesOf(this.runner.tokenizer, text), room);
    const inputs = parts.map((part) => ({ ids: [...before, ...part.map((piece) => piece.id), ...behind] }));
    const results = await this.runner.run(inputs, options.signal);
    const tagged = parts.flatMap((part, n) => {
      const classes = widthOf("tokenClassification", results[n], inputs[n].ids.length);
      const { labels = this.runner.labels ?? numbered(classes) } = this;
      return part.map((piece, i): Tagged => {
        const at = (before.length + i) * classes;
        return { ...piece, best: ranked(results[n].subarray(at, at + classes), labels, "softmax")[0] };
      });
    });
    // What is only space is no word.
    const words = tagged.filter((piece) => piece.start < piece.end);
    return entitiesOf(text, words);
  }
}

/** At most `length` pieces together, 1 or more, cut between words where it can be. */
function partsOf(pieces: readonly Piece[], length: number): Piece[][] {
  const parts: Piece[][] = [];
  for (let at = 0; at < pieces.length; ) {
    let end = Math.min(at + length, pieces.length);
    while (end < pieces.length && end > at + 1 && pieces[end].continues) end--;
    parts.push(pieces.slice(at, end));
    at = end;
  }
  return parts;
}

function entitiesOf(text: string, tagged: readonly Tagged[]): Entity[] {
  const words: { label: string; start: number; end: number; scores: number[] }[] = [];
  for (const { best, start, end, continues } of tagged) {
    const last = words.at(-1);
    if (continues && last) {
      last.end = end;
      continue;
    }
    const [, mark, label] = /^(?:([BI])-)?(.*)$/s.exec(best.label)!;
    if (last?.label === label && mark === "I") {
      last.end = end;
      last.scores.push(best.score);
    } else words.push({ label, start, end, scores: [best.score] });
  }
  return words
    .filter((word) => word.label !== "O")
    .map(({ label, start, end, scores }) => {
      const score = scores.reduce((a, b) => a + b, 0) / scores.length;
      return { label, text: text.slice(start, end), start, end, score };
    });
}
