/** Missing words: what an encoder trained on gaps would write there. */
import { openDevice } from "../device.ts";
import { ModelFolder } from "../formats/folder.ts";
import type { SourceInput } from "../formats/source.ts";
import { compile, type Session } from "../graph/session.ts";
import { sourceOptions } from "../load.ts";
import { transformerEncoder } from "../models/transformer/encoder.ts";
import { InputError } from "../tensor/errors.ts";
import { type EncoderFile, encoderInputs, encodeText, paddedLength, readEncoder } from "./language/encoder.ts";
import { logProbabilities, topTokens } from "./language/sampling.ts";
import type { TaskOptions } from "./options.ts";
import { decode, type Tokenizer } from "./tokenizers/tokenizer.ts";

export interface FillMaskOptions extends TaskOptions {
  /** In place of `tokenizer.json` beside the weights. */
  tokenizer?: Tokenizer;
}

/** A word that could stand in a gap. */
export interface MaskedWord {
  readonly token: number;
  readonly word: string;
  /** 0 to 1. */
  readonly probability: number;
}

/**
 * Loads a masked language model: a folder with safetensors, `config.json` and `tokenizer.json` (BERT, DistilBERT, RoBERTa),
 * trained to fill gaps.
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other architectures; MissingPeerError
 * without `@huggingface/tokenizers`
 */
export async function fillMask(model: SourceInput, options: FillMaskOptions = {}): Promise<MaskFiller> {
  const folder = await ModelFolder.open(model, sourceOptions(options));
  const file = await readEncoder(folder, options);
  const graph = transformerEncoder(file.config, file.weights, { kind: "words" });
  const device = await openDevice(options.device, options);
  return new MaskFiller(await compile(graph, { device, ownsWeights: folder.local }), file);
}

export class MaskFiller {
  constructor(
    readonly session: Session,
    private readonly file: EncoderFile,
  ) {}

  /** What a gap is written as: `[MASK]`. */
  get mask(): string {
    const { maskToken, tokenizer } = this.file;
    return (maskToken !== undefined && tokenizer.specialName(maskToken)) || "[MASK]";
  }

  /**
   * For each gap of the text the likeliest words, in order.
   * @param count words for each gap
   * @throws InputError for a text without a gap; the signal's reason when aborted
   */
  async fill(
    text: string,
    { count = 5, signal }: { count?: number; signal?: AbortSignal } = {},
  ): Promise<MaskedWord[][]> {
    const { maskToken, tokenizer } = this.file;
    const tokens = encodeText(this.file, text);
    const gaps = tokens.flatMap((t, i) => (t === maskToken ? [i] : []));
    if (gaps.length === 0) throw new InputError(`fillMask: there is no ${this.mask} in the text`);
    const inputs = encoderInputs(this.file, [tokens], paddedLength(tokens.length));
    const { logits } = await this.session.run({ ...inputs, rows: Int32Array.from(gaps) }, { signal });
    const { vocabSize } = this.file.config;
    return gaps.map((_, i) => {
      const own = (logits.data as Float32Array).subarray(i * vocabSize, (i + 1) * vocabSize);
      const likeliest = topTokens(own, count);
      const probabilities = logProbabilities(own, likeliest).map(Math.exp);
      return likeliest.map((token, k) => ({
        token,
        word: decode(tokenizer, [token]).trim(),
        probability: probabilities[k],
      }));
    });
  }

  dispose(): void {
    this.session.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
