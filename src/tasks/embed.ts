/** Sentence embeddings: texts to vectors that are near each other where meanings are. */
import { type DeviceChoice, openDevice } from "../device.ts";
import { ModelFolder } from "../formats/folder.ts";
import type { FetchOptions, SourceInput } from "../formats/source.ts";
import { compile, type Session } from "../graph/session.ts";
import { type LoadProgress, sourceOptions } from "../load.ts";
import { type EncoderConfig, transformerEncoder } from "../models/transformer/encoder.ts";
import { InputError } from "../tensor/errors.ts";
import { readEncoder } from "./language/encoder.ts";
import type { Tokenizer } from "./tokenizers/tokenizer.ts";

/** How the vectors of a text's tokens become one: their mean, or the first token's. */
export type Pooling = "mean" | "cls";

export interface EmbeddingOptions extends FetchOptions {
  device?: DeviceChoice;
  threads?: number;
  /** Default: what the model says, else the mean. */
  pooling?: Pooling;
  /** Scale vectors to length 1. Default true. */
  normalize?: boolean;
  /** In place of `tokenizer.json` beside the weights. */
  tokenizer?: Tokenizer;
  signal?: AbortSignal;
  onProgress?: (progress: LoadProgress) => void;
}

/** Lengths that texts are filled up to: few, so that there are few plans. */
const lengthStep = 16;
/** Tokens of one run, padding included. */
const tokensPerRun = 512;

/**
 * Loads a sentence encoder: a folder with safetensors, `config.json` and `tokenizer.json` (BERT, DistilBERT, RoBERTa).
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other architectures; MissingPeerError
 * without `@huggingface/tokenizers`
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

export interface EncoderFile {
  readonly config: EncoderConfig;
  readonly tokenizer: Tokenizer;
  readonly pooling: Pooling;
  /** Longer texts are cut. */
  readonly maxTokens: number;
  /** Row of the position table for the first token. */
  readonly firstPosition: number;
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
    const tokens = texts.map((t) => this.encode(t));
    const results = new Array<Float32Array>(texts.length);
    for (const { length, members } of batches(tokens.map((t) => t.length))) {
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

  private encode(text: string): number[] {
    const { tokenizer, maxTokens } = this.file;
    const ids = tokenizer.encode(text);
    // The last token ends the text, also one that was cut.
    if (ids.length > maxTokens) ids.splice(maxTokens - 1, ids.length - maxTokens);
    return ids.length ? ids : [0];
  }

  /** Texts of at most `length` tokens, padded. */
  private async run(texts: readonly number[][], length: number, signal?: AbortSignal): Promise<Float32Array[]> {
    const { firstPosition, pooling } = this.file;
    const batch = texts.length;
    const tokens = new Int32Array(batch * length);
    const mask = new Uint8Array(batch * length);
    const pool = new Float32Array(batch * length);
    texts.forEach((ids, b) => {
      tokens.set(ids, b * length);
      mask.fill(1, b * length, b * length + ids.length);
      if (pooling === "cls") pool[b * length] = 1;
      else pool.fill(1 / ids.length, b * length, b * length + ids.length);
    });
    const positions = Int32Array.from({ length }, (_, i) => firstPosition + i);
    const { pooled } = await this.session.run(
      {
        tokens: { dtype: "i32", shape: [batch, length], data: tokens },
        positions: { dtype: "i32", shape: [1, length], data: positions },
        mask: { dtype: "bool", shape: [batch, 1, 1, length], data: mask },
        pool: { dtype: "f32", shape: [batch, 1, length], data: pool },
      },
      { signal },
    );
    const all = pooled.data as Float32Array;
    return texts.map((_, b) => {
      const v = all.slice(b * this.width, (b + 1) * this.width);
      return this.normalize ? unit(v) : v;
    });
  }
}

/** Texts of about one length together: `members` by index, padded to `length`. */
function batches(lengths: readonly number[]): { length: number; members: number[] }[] {
  const out: { length: number; members: number[] }[] = [];
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b] - lengths[a]);
  for (const i of order) {
    const length = Math.ceil(lengths[i] / lengthStep) * lengthStep;
    const last = out.at(-1);
    if (last?.length === length && (last.members.length + 1) * length <= tokensPerRun) last.members.push(i);
    else out.push({ length, members: [i] });
  }
  return out;
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
