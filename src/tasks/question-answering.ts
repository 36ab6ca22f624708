/** Question answering: where in a text an answer stands. */
import type { SourceInput } from "../formats/source.ts";
import { InputError } from "../tensor/errors.ts";
import { type Piece, pairOf, piecesOf } from "./language/pieces.ts";
import { openTextRunner, type RunnerOptions, runnerOptions, TextTask } from "./language/text-runner.ts";
import { checkOptions, checkWhole, type OptionNames, type SignalOptions, signalOptions } from "./options.ts";

export type QuestionAnsweringOptions = RunnerOptions;

export interface AnswerOptions extends SignalOptions {
  /** Longest answer in tokens. Default 30. */
  maxTokens?: number;
}

const answerOptions: OptionNames<AnswerOptions> = { ...signalOptions, maxTokens: true };

export interface Answer {
  readonly text: string;
  /** `context.slice(start, end)` is it. */
  readonly start: number;
  readonly end: number;
  /** 0 to 1: probability of the beginning times that of the end. */
  readonly score: number;
}

/** See `index.ts`. */
export async function questionAnswering(
  model: SourceInput,
  options: QuestionAnsweringOptions = {},
): Promise<QuestionAnswerer> {
  checkOptions("questionAnswering", options, runnerOptions);
  return new QuestionAnswerer(await openTextRunner(model, "span", options));
}

export class QuestionAnswerer extends TextTask {
  /**
   * The likeliest answer that stands in the context; undefined where the context is empty or the model finds none in it
   * (its first token, which stands for that, is likelier). Contexts of any length are read in parts that overlap.
   * @throws InputError for anything but texts, or a question too long; the signal's reason when aborted
   */
  async answer(question: string, context: string, options: AnswerOptions = {}): Promise<Answer | undefined> {
    checkOptions("answer", options, answerOptions);
    if (typeof question !== "string" || typeof context !== "string")
      throw new InputError("answer: takes a question and a context, both texts");
    const { maxTokens = 30, signal } = options;
    checkWhole("answer", { maxTokens }, 1);
    const { tokenizer } = this.runner;
    const marks = pairOf(tokenizer, question, "");
    const room = this.runner.maxTokens - marks.ids.length;
    if (room < 1) throw new InputError(`answer: the question leaves no room for the context (${room} tokens)`);
    const pieces = piecesOf(tokenizer, context);
    // Half of a part comes again in the next: an answer at an edge is whole in one of them.
    const parts: Piece[][] = [];
    for (let at = 0; at < pieces.length; at += Math.ceil(room / 2)) {
      parts.push(pieces.slice(at, at + room));
      if (at + room >= pieces.length) break;
    }
    // The context stands before the last mark, and is of its type.
    const before = marks.ids.length - 1;
    const type = marks.types[before];
    const inputs = parts.map((part) => ({
      ids: [...marks.ids.slice(0, -1), ...part.map((p) => p.id), marks.ids[before]],
      types: [...marks.types.slice(0, -1), ...part.map(() => type), type],
    }));
    const results = await this.runner.run(inputs, signal);
    const found = parts.map((part, n) => bestSpan(part, results[n], before, maxTokens));
    const best = found.reduce((a, b) => (b && (!a || b.score > a.score) ? b : a), undefined);
    return best && { ...best, text: context.slice(best.start, best.end) };
  }
}

/** Probabilities are shared by the tokens of the context and the first of all, which stands for "no answer". */
function bestSpan(part: readonly Piece[], logits: Float32Array, before: number, longest: number) {
  const probabilities = (which: 0 | 1): number[] => {
    const values = [0, ...part.map((_, i) => before + i)].map((token) => logits[2 * token + which]);
    const most = Math.max(...values);
    const weights = values.map((v) => Math.exp(v - most));
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.map((w) => w / total);
  };
  const [[noBegin, ...begins], [noEnd, ...ends]] = [probabilities(0), probabilities(1)];
  let best: { start: number; end: number; score: number } | undefined;
  // An answer does not begin or end with space.
  const isText = ({ start, end }: Piece): boolean => start < end;
  for (let i = 0; i < part.length; i++)
    for (let j = i; j < Math.min(i + longest, part.length); j++) {
      if (!isText(part[i]) || !isText(part[j])) continue;
      const score = begins[i] * ends[j];
      if (!best || score > best.score) best = { start: part[i].start, end: part[j].end, score };
    }
  return best && best.score > noBegin * noEnd ? best : undefined;
}
