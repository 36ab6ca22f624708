/** Question answering: where in a text an answer stands. */
import type { SourceInput } from "../formats/source.ts";
import { InputError } from "../tensor/errors.ts";
import { type Piece, pairOf, piecesOf, placeInPair } from "./language/pieces.ts";
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
   * (the token that stands for that is likelier: the mark "[CLS]" or "<cls>", else the first of all). Contexts of any length
   * are read in parts that overlap.
   * @throws InputError for anything but texts, or a question too long; the signal's reason when aborted
   */
  async answer(question: string, context: string, options: AnswerOptions = {}): Promise<Answer | undefined> {
    checkOptions("answer", options, answerOptions);
    if (typeof question !== "string" || typeof context !== "string")
      throw new InputError("answer: takes a question and a context, both texts");
    const { maxTokens = 30, signal } = options;
    checkWhole("answer", { maxTokens }, 1);
    const { tokenizer } = this.runner;
    const pieces = piecesOf(tokenizer, context);
    if (pieces.length === 0) return undefined;
    const { ids, types } = pairOf(tokenizer, question, context);
    const room = this.runner.maxTokens - (ids.length - pieces.length);
    if (room < 1) throw new InputError(`answer: the question leaves no room for the context (${room} tokens)`);
    const before = placeInPair(
      pieces.map((p) => p.id),
      ids,
      "second",
    );
    const behind = before + pieces.length;
    // Half of a part comes again in the next: an answer at an edge is whole in one of them.
    const parts: Piece[][] = [];
    for (let at = 0; at < pieces.length; at += Math.ceil(room / 2)) {
      parts.push(pieces.slice(at, at + room));
      if (at + room >= pieces.length) break;
    }
    const inputs = parts.map((part) => ({
      ids: [...ids.slice(0, before), ...part.map((p) => p.id), ...ids.slice(behind)],
      types: [...types.slice(0, before), ...part.map(() => types[before]), ...types.slice(behind)],
    }));
    const marks = [...ids.slice(0, before), ...ids.slice(behind)];
    const mark = marks.findIndex((id) => /^(\[CLS\]|<cls>)$/.test(tokenizer.specialName(id) ?? ""));
    const results = await this.runner.run(inputs, signal);
    const found = parts.map((part, n) => {
      const none = mark < before ? Math.max(0, mark) : mark + part.length;
      return bestSpan(part, results[n], before, none, maxTokens);
    });
    const best = found.reduce((a, b) => (b && (!a || b.score > a.score) ? b : a), undefined);
    return best && { ...best, text: context.slice(best.start, best.end) };
  }
}

/** Probabilities are shared by the tokens of the context and the one at `none`, which stands for "no answer". */
function bestSpan(part: readonly Piece[], logits: Float32Array, before: number, none: number, longest: number) {
  const probabilities = (which: 0 | 1): number[] => {
    const values = [none, ...part.map((_, i) => before + i)].map((token) => logits[2 * token + which]);
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
