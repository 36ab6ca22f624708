/** Sentence embeddings: texts to vectors that are near each other where meanings are. */
import { openDevice } from "../device.ts";
import { ModelFolder } from "../formats/folder.ts";
import type { SourceInput } from "../formats/source.ts";
import { compile, type Session } from "../graph/session.ts";
import { sourceOptions } from "../load.ts";
import { transformerEncoder } from "../models/transformer/encoder.ts";
import { InputError } from "../tensor/errors.ts";
import {
  batchesOf,
  type EncoderFile,
  encoderInputs,
  encodeText,
  type Pooling,
  readEncoder,
} from "./language/encoder.ts";
import type { TaskOptions } from "./options.ts";
import type { Tokenizer } from "./tokenizers/tokenizer.ts";

export type { Pooling } from "./language/encoder.ts";

export interface EmbeddingOptions extends TaskOptions {
  /** Default: what the model says, else the mean. */
  pooling?: Pooling;
  /** Scale vectors to length 1. Default true. */
  normalize?: boolean;
  /** In place of `tokenizer.json` beside the weights. */
  tokenizer?: Tokenizer;
}

/**
 * Loads a sentence encoder: a folder with safetensors, `config.json` and `tokenizer.json` (BERT, DistilBERT, RoBERTa,
 * XLM-RoBERTa), or a GGUF file of architecture "bert".
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other architectures; MissingPeerError
 * without `@huggingface/tokenizers`, which word pieces in GGUF need too
 */
export async function embeddings(model: SourceInput, options: EmbeddingOptions = {}): Promise<SentenceEncoder> {
  const folder = await ModelFolder.open(model, sourceOptions(options));
  const file = await readEncoder(folder, options);
  const session = await compile(transformerEncoder(file.config, file.weights, { kind: "pool" }), {
    device: await openDevice(options.device, options),
    ownsWeights: folder.local,
  });
  return new SentenceEncoder(session, { ...file, pooling: options.pooling ?? file.pooling }, options.normalize ?? true);
}

export interface EmbedOptions {
  signal?: AbortSignal;
}

export class SentenceEncoder {
  /** Elements of a vector. */
  readonly width: number;

  constructor(
    readonly session: Session,
    private readonly file: EncoderFile,
    private readonly normalize: boolean,
  ) {
    this.width = file.config.width;
  }

  /**
   * One vector for each text, or for the one text. Texts of any lengths go together; what exceeds the model's longest text
   * is cut.
   * @throws InputError for anything but texts; the signal's reason when aborted
   */
  async embed(texts: string, options?: EmbedOptions): Promise<Float32Array>;
  async embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>;
  async embed(texts: string | readonly string[], options: EmbedOptions = {}): Promise<Float32Array | Float32Array[]> {
    if (typeof texts === "string") return (await this.embed([texts], options))[0];
    if (!Array.isArray(texts) || texts.some((t) => typeof t !== "string"))
      throw new InputError("embed: takes a text or an array of texts");
    const tokens = texts.map((t) => encodeText(this.file, t));
    const results = new Array<Float32Array>(texts.length);
    for (const { length, members } of batchesOf(tokens.map((t) => t.length))) {
      const vectors = await this.run(
        members.map((i) => tokens[i]),
        length,
        options.signal,
      );
      members.forEach((i, k) => {
        results[i] = vectors[k];
      });
    }
    return results;
  }

  dispose(): void {
    this.session.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Texts of at most `length` tokens, padded. */
  private async run(texts: readonly number[][], length: number, signal?: AbortSignal): Promise<Float32Array[]> {
    const { pooling } = this.file;
    const pool = new Float32Array(texts.length * length);
    texts.forEach((ids, b) => {
      if (pooling === "cls") pool[b * length] = 1;
      else pool.fill(1 / ids.length, b * length, b * length + ids.length);
    });
    const share = { dtype: "f32", shape: [texts.length, 1, length], data: pool } as const;
    const inputs = { ...encoderInputs(this.file, texts, length), pool: share };
    const { pooled } = await this.session.run(inputs, { signal });
    const all = pooled.data as Float32Array;
    return texts.map((_, b) => {
      const v = all.slice(b * this.width, (b + 1) * this.width);
      return this.normalize ? unit(v) : v;
    });
  }
}

function unit(v: Float32Array): Float32Array {
  const norm = Math.hypot(...v) || 1;
  return v.map((x) => x / norm);
}

/** Cosine of the angle between two vectors: 1 for the same direction. InputError where lengths differ. */
export function cosineSimilarity(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new InputError(`cosineSimilarity: vectors of ${a.length} and ${b.length} elements`);
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return dot / Math.sqrt(aa * bb || 1);
}
