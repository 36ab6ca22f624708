/** Sentence embeddings: texts to vectors that are near each other where meanings are. */
import { deviceFor } from "../device.ts";
import { ModelFolder } from "../formats/folder.ts";
import { whileLoading } from "../formats/loading.ts";
import type { ByteSource, SourceInput } from "../formats/source.ts";
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
  poolingBeside,
  readEncoder,
} from "./language/encoder.ts";
import { openExported, sentenceOutput } from "./language/text-runner.ts";
import {
  checkOptions,
  type OptionNames,
  type SignalOptions,
  signalOptions,
  type TaskOptions,
  taskOptions,
} from "./options.ts";
import { checkTokenizer, type Tokenizer } from "./tokenizers/tokenizer.ts";

export type { Pooling } from "./language/encoder.ts";

export interface EmbeddingOptions extends TaskOptions {
  /** Default: what the model says, else the mean. A graph's own `sentence_embedding` is not made again without it. */
  pooling?: Pooling;
  /** Scale vectors to length 1. Default true. */
  normalize?: boolean;
  /** In place of `tokenizer.json` beside the weights. */
  tokenizer?: Tokenizer;
}

const loadOptions: OptionNames<EmbeddingOptions> = { ...taskOptions, pooling: true, normalize: true, tokenizer: true };

/** See `index.ts`. */
export async function embeddings(model: SourceInput, options: EmbeddingOptions = {}): Promise<SentenceEncoder> {
  checkOptions("embeddings", options, loadOptions);
  checkTokenizer("embeddings", options.tokenizer);
  return whileLoading(options, async (options) => {
    const { pooling, normalize } = options;
    if (normalize !== undefined && typeof normalize !== "boolean")
      throw new InputError(`embeddings: normalize takes true or false, got ${JSON.stringify(normalize)}`);
    if (pooling !== undefined && pooling !== "mean" && pooling !== "cls")
      throw new InputError(`embeddings: pooling takes "mean" or "cls", got ${JSON.stringify(pooling)}`);
    const folder = await ModelFolder.openModel(model, sourceOptions(options));
    const graph = await folder.onlyGraph();
    const vectors = graph ? await exported(graph, folder, options) : await native(folder, options);
    return new SentenceEncoder(vectors, options.normalize ?? true);
  });
}

/** Vectors of tokenized texts, whatever runs them. */
interface Vectors extends Pick<EncoderFile, "tokenizer" | "maxTokens"> {
  readonly session: Session;
  readonly width: number | undefined;
  /** @param length what the texts may be filled up to */
  run(texts: readonly number[][], length: number, signal?: AbortSignal): Promise<Float32Array[]>;
}

async function native(folder: ModelFolder, options: EmbeddingOptions): Promise<Vectors> {
  const file = await readEncoder(folder, options);
  const { pooling = file.pooling } = options;
  const { width } = file.config;
  const session = await compile(transformerEncoder(file.config, file.weights, { kind: "pool" }), {
    device: await deviceFor(options.device, options),
    ownsWeights: folder.local,
  });
  return {
    ...file,
    session,
    width,
    async run(texts, length, signal) {
      const pool = new Float32Array(texts.length * length);
      texts.forEach((ids, b) => {
        if (pooling === "cls") pool[b * length] = 1;
        else pool.fill(1 / ids.length, b * length, b * length + ids.length);
      });
      const share = { dtype: "f32", shape: [texts.length, 1, length], data: pool } as const;
      const { pooled } = await session.run({ ...encoderInputs(file, texts, length), pool: share }, { signal });
      return texts.map((_, b) => (pooled.data as Float32Array).slice(b * width, (b + 1) * width));
    },
  };
}

async function exported(source: ByteSource, folder: ModelFolder, options: EmbeddingOptions): Promise<Vectors> {
  const { pooling = await poolingBeside(folder) } = options;
  const runner = await openExported(source, folder, options.pooling ? "states" : "vectors", options);
  const last = runner.session.outputs.find((p) => p.name === runner.output)?.shape?.at(-1);
  return {
    ...runner,
    width: typeof last === "number" ? last : undefined,
    async run(texts, _length, signal) {
      const states = await runner.run(
        texts.map((ids) => ({ ids })),
        signal,
      );
      if (runner.output === sentenceOutput) return states;
      return states.map((rows, i) => {
        const width = rows.length / texts[i].length;
        if (pooling === "cls") return rows.slice(0, width);
        const mean = new Float32Array(width);
        for (let at = 0; at < rows.length; at++) mean[at % width] += rows[at] / texts[i].length;
        return mean;
      });
    },
  };
}

export type EmbedOptions = SignalOptions;

export class SentenceEncoder {
  constructor(
    private readonly vectors: Vectors,
    private readonly normalize: boolean,
  ) {}

  get session(): Session {
    return this.vectors.session;
  }

  /** Elements of a vector; undefined where a graph does not say it. */
  get width(): number | undefined {
    return this.vectors.width;
  }

  /**
   * One vector for each text, or for the one text. Texts of any lengths go together; what exceeds the model's longest text
   * is cut.
   * @throws InputError for anything but texts; the signal's reason when aborted
   */
  async embed(texts: string, options?: EmbedOptions): Promise<Float32Array>;
  async embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>;
  async embed(texts: string | readonly string[], options: EmbedOptions = {}): Promise<Float32Array | Float32Array[]> {
    checkOptions("embed", options, signalOptions);
    if (typeof texts === "string") return (await this.embed([texts], options))[0];
    if (!Array.isArray(texts) || texts.some((t) => typeof t !== "string"))
      throw new InputError("embed: takes a text or an array of texts");
    const tokens = texts.map((t) => encodeText(this.vectors, t));
    const results = new Array<Float32Array>(texts.length);
    for (const { length, members } of batchesOf(tokens.map((t) => t.length))) {
      const batch = members.map((i) => tokens[i]);
      const vectors = await this.vectors.run(batch, length, options.signal);
      members.forEach((i, k) => {
        results[i] = this.normalize ? unit(vectors[k]) : vectors[k];
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
}

function unit(v: Float32Array): Float32Array {
  const norm = Math.hypot(...v) || 1;
  return v.map((x) => x / norm);
}
