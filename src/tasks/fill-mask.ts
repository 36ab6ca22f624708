/** Missing words: what an encoder trained on gaps would write there. */

import { deviceFor } from "../device.ts";
import { ModelFolder } from "../formats/folder.ts";
import type { ByteSource, SourceInput } from "../formats/source.ts";
import { compile } from "../graph/compile.ts";
import type { Session } from "../graph/session.ts";
import { sourceOptions } from "../load.ts";
import { symbolDispose } from "../tensor/dispose.ts";
import { InputError } from "../tensor/errors.ts";
import { type EncoderFile, encoderInputs, maskTokenOf, paddedLength, readEncoder } from "./language/encoder.ts";
import { checkPerToken, widthOf } from "./language/per-token.ts";
import { roomOf } from "./language/pieces.ts";
import { logProbabilities, topTokens } from "./language/sampling.ts";
import { checkKind, openExported, type RunnerOptions, runnerOptions } from "./language/text-runner.ts";
import { checkOptions, checkWhole, type OptionNames, type SignalOptions, signalOptions } from "./options.ts";
import { checkTokenizer, decode } from "./tokenizers/tokenizer.ts";

export type FillMaskOptions = RunnerOptions;

export interface FillOptions extends SignalOptions {
  /** Words for each gap. Default 5. */
  count?: number;
}

const fillOptions: OptionNames<FillOptions> = { ...signalOptions, count: true };

/** A word that could stand in a gap. */
export interface MaskedWord {
  readonly token: number;
  readonly word: string;
  /** 0 to 1. */
  readonly probability: number;
}

/** What finds the words, whatever runs it. */
interface WordModel extends Pick<EncoderFile, "tokenizer" | "maxTokens" | "maskToken"> {
  readonly session: Session;
  /** Logits of all words [words], for each of the places. */
  run(tokens: readonly number[], places: readonly number[], signal?: AbortSignal): Promise<Float32Array[]>;
}

/** See `index.ts`. */
export async function fillMask(model: SourceInput, options: FillMaskOptions = {}): Promise<MaskFiller> {
  checkOptions("fillMask", options, runnerOptions);
  checkTokenizer("fillMask", options.tokenizer);
  const folder = await ModelFolder.openModel(model, sourceOptions(options));
  const graph = await folder.onlyGraph();
  return new MaskFiller(graph ? await exported(graph, folder, options) : await native(folder, options));
}

async function native(folder: ModelFolder, options: FillMaskOptions): Promise<WordModel> {
  const file = await readEncoder(folder, options);
  checkKind(folder.name, file.architectures, "words");
  const graph = file.graph({ kind: "words", activation: file.wordActivation });
  const device = await deviceFor(options.device, options);
  const session = await compile(graph, { device, ownsWeights: folder.local });
  return {
    ...file,
    session,
    async run(tokens, places, signal) {
      const inputs = encoderInputs(file, [tokens], paddedLength(tokens.length, file.maxTokens));
      const { logits } = await session.run({ ...inputs, rows: Int32Array.from(places) }, { signal });
      return places.map((_, i) => rowOf(logits.data as Float32Array, i, file.config.vocabSize));
    },
  };
}

async function exported(source: ByteSource, folder: ModelFolder, options: FillMaskOptions): Promise<WordModel> {
  const runner = await openExported(source, folder, "words", options);
  // Vocabularies of models and tokenizers may differ a little.
  const least = Math.ceil(runner.tokenizer.size / 2);
  checkPerToken("fillMask", runner, least);
  return {
    ...runner,
    maskToken: maskTokenOf(runner.tokenizer),
    async run(ids, places, signal) {
      const [logits] = await runner.run([{ ids }], signal);
      const width = widthOf("fillMask", logits, ids.length, least);
      return places.map((place) => rowOf(logits, place, width));
    },
  };
}

const rowOf = (rows: Float32Array, i: number, width: number): Float32Array => rows.subarray(i * width, (i + 1) * width);

export class MaskFiller {
  constructor(private readonly model: WordModel) {}

  get session(): Session {
    return this.model.session;
  }

  /** What a gap is written as: `[MASK]`. */
  get mask(): string {
    const { maskToken, tokenizer } = this.model;
    return (maskToken !== undefined && tokenizer.specialName(maskToken)) || "[MASK]";
  }

  /**
   * For each gap of the text the likeliest words, in order. Of a text that is too long a gap's surroundings are read.
   * @throws InputError for a text without a gap, options that are wrong, or a model of another kind or without room for a text;
   * the signal's reason when aborted
   */
  async fill(text: string, options: FillOptions = {}): Promise<MaskedWord[][]> {
    checkOptions("fill", options, fillOptions);
    const { count = 5, signal } = options;
    checkWhole("fill", { count });
    if (typeof text !== "string") throw new InputError("fill: takes a text");
    const { tokenizer } = this.model;
    const logits: Float32Array[] = [];
    for (const { tokens, gaps } of this.windowsOf(text))
      for (const own of await this.model.run(tokens, gaps, signal)) logits.push(own);
    if (logits.length === 0) throw new InputError(`fillMask: there is no ${this.mask} in the text`);
    return logits.map((own) => {
      const likeliest = topTokens(own, count);
      const probabilities = logProbabilities(own, likeliest).map(Math.exp);
      return likeliest.map((token, k) => ({
        token,
        word: tokenizer.specialName(token) ?? decode(tokenizer, [token]).trim(),
        probability: probabilities[k],
      }));
    });
  }

  /** What is read at once: the text, or where it is too long as much as fits around each gap. */
  private windowsOf(text: string): { tokens: number[]; gaps: number[] }[] {
    const { maskToken, tokenizer, maxTokens } = this.model;
    const gapsIn = (tokens: readonly number[]): number[] => tokens.flatMap((t, i) => (t === maskToken ? [i] : []));
    const whole = tokenizer.encode(text);
    if (whole.length <= maxTokens) return [{ tokens: whole, gaps: gapsIn(whole) }].filter((w) => w.gaps.length > 0);
    const { before, behind, room } = roomOf(this.model);
    const own = tokenizer.encode(text, { begin: false });
    return gapsIn(own).map((gap) => {
      const start = Math.max(0, Math.min(gap - (room >> 1), own.length - room));
      return {
        tokens: [...before, ...own.slice(start, start + room), ...behind],
        gaps: [before.length + gap - start],
      };
    });
  }

  dispose(): void {
    this.session.dispose();
  }

  [symbolDispose](): void {
    this.dispose();
  }
}
