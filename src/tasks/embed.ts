/** Sentence embeddings: texts to vectors that are near each other where meanings are. */

import { deviceFor } from "../device.ts";
import { ModelFolder } from "../formats/folder.ts";
import { whileLoading } from "../formats/loading.ts";
import type { ByteSource, SourceInput } from "../formats/source.ts";
import { compile } from "../graph/compile.ts";
import type { Session } from "../graph/session.ts";
import { sourceOptions } from "../load.ts";
import { symbolDispose } from "../tensor/dispose.ts";
import { InputError } from "../tensor/errors.ts";
import type { StatesModel } from "./language/decoder-states.ts";
import { batchesOf, type EncoderFile, encoderIn, encoderInputs } from "./language/encoder.ts";
import { encodeText } from "./language/pieces.ts";
import { checkPooling, type Pooling, pool, sharesOf } from "./language/pooling.ts";
import {
  type GivenRules,
  ownRules,
  readRules,
  rulesAround,
  type SentenceRules,
  unit,
  widthAfter,
} from "./language/sentence-modules.ts";
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

export type { Pooling } from "./language/pooling.ts";

export interface EmbeddingOptions extends TaskOptions {
  /**
   * How the states of a text's tokens become one vector; of several ways the vectors are joined, in the order of `Pooling`.
   * Default: what the model says (a folder's `modules.json` or `1_Pooling/config.json`, a GGUF file's metadata), else the mean.
   * A graph's own `sentence_embedding` is taken as it is, unless this is set.
   */
  pooling?: Pooling | readonly Pooling[];
  /** Scale vectors to length 1. Default: whether `modules.json` ends with a Normalize, true where there is none. */
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
    const given = givenRules(options);
    const folder = await ModelFolder.openModel(model, sourceOptions(options));
    const graph = await folder.onlyGraph();
    return graph ? exported(graph, folder, given, options) : native(folder, given, options);
  });
}

/** @throws InputError for options that are wrong */
function givenRules({ pooling, normalize }: EmbeddingOptions): GivenRules {
  if (normalize !== undefined && typeof normalize !== "boolean")
    throw new InputError(`embeddings: normalize takes true or false, got ${JSON.stringify(normalize)}`);
  return { ways: pooling === undefined ? undefined : checkPooling("embeddings", pooling), normalize };
}

/** Vectors of tokenized texts, whatever runs them. */
interface Vectors extends Pick<EncoderFile, "tokenizer" | "maxTokens"> {
  readonly session: Session;
  readonly width: number | undefined;
  /**
   * @param length what the texts may be filled up to
   * @param from the first token that counts: those before it are a prompt's
   */
  run(texts: readonly number[][], length: number, from: number, signal?: AbortSignal): Promise<Float32Array[]>;
}

async function statesIn(folder: ModelFolder, options: EmbeddingOptions): Promise<StatesModel> {
  const sentences = { ...options, sentences: true };
  const file = await encoderIn(folder, sentences);
  if ("other" in file)
    return (await import("./language/decoder-states.ts")).readDecoderStates(folder, file.other, sentences);
  return {
    ...file,
    width: file.config.width,
    graph: file.graph({ kind: "pool" }),
    inputs: (texts, length) => encoderInputs(file, texts, length),
  };
}

async function native(folder: ModelFolder, given: GivenRules, options: EmbeddingOptions): Promise<SentenceEncoder> {
  const file = await statesIn(folder, options);
  const rules = file.pooling ? ownRules([file.pooling], given, file.steps) : await readRules(folder, given);
  const { ways } = rules;
  const { width } = file;
  const widthAtLast = widthAfter(rules.steps, ways.length * width);
  const session = await compile(file.graph, {
    device: await deviceFor(options.device, options),
    ownsWeights: folder.local,
  });
  // A single sum is made where the states are.
  const sum = ways.length === 1 && ways[0] !== "max" ? ways[0] : undefined;
  const vectors: Vectors = {
    ...file,
    session,
    width: widthAtLast,
    async run(texts, length, from, signal) {
      const shares = new Float32Array(texts.length * length);
      for (const [b, ids] of texts.entries()) if (sum) shares.set(sharesOf(sum, ids.length, from), b * length);
      const share = { dtype: "f32", shape: [texts.length, 1, length], data: shares } as const;
      const { hidden, pooled } = await session.run({ ...file.inputs(texts, length), pool: share }, { signal });
      return texts.map((ids, b) => {
        if (sum) return (pooled.data as Float32Array).slice(b * width, (b + 1) * width);
        const start = b * length * width;
        const states = (hidden.data as Float32Array).subarray(start, start + ids.length * width);
        return pool(states, ids.length, ways, from);
      });
    },
  };
  return new SentenceEncoder(vectors, rules);
}

async function exported(
  source: ByteSource,
  folder: ModelFolder,
  given: GivenRules,
  options: EmbeddingOptions,
): Promise<SentenceEncoder> {
  const runner = await openExported(source, folder, given.ways ? "states" : "vectors", options);
  const { session, output } = runner;
  const whole = output === sentenceOutput;
  try {
    const rules = await (whole ? rulesAround : readRules)(folder, given);
    const { ways, steps } = rules;
    const last = session.outputs.find((p) => p.name === output)?.shape?.at(-1);
    const width = typeof last === "number" ? last : undefined;
    const vectors: Vectors = {
      ...runner,
      width: whole ? width : widthAfter(steps, width && ways.length * width),
      async run(texts, _length, from, signal) {
        const results = await runner.run(
          texts.map((ids) => ({ ids })),
          signal,
        );
        return whole ? results : results.map((states, i) => pool(states, texts[i].length, ways, from));
      },
    };
    return new SentenceEncoder(vectors, rules);
  } catch (e) {
    session.dispose();
    throw e;
  }
}

export interface EmbedOptions extends SignalOptions {
  /**
   * The name of a prompt of the model's (`prompts`), which is put in front of the texts; "" for none. Default: the one that
   * `config_sentence_transformers.json` names as its default, if any.
   */
  prompt?: string;
}

const embedOptions: OptionNames<EmbedOptions> = { ...signalOptions, prompt: true };

export class SentenceEncoder {
  constructor(
    private readonly vectors: Vectors,
    private readonly rules: SentenceRules,
  ) {}

  get session(): Session {
    return this.vectors.session;
  }

  /** Elements of a vector; undefined where a graph does not say it. */
  get width(): number | undefined {
    return this.vectors.width;
  }

  /** What the model wants in front of texts, by what they are: `query`, `document`. */
  get prompts(): Readonly<Record<string, string>> {
    return this.rules.prompts.texts;
  }

  /**
   * One vector for each text, or for the one text. Texts of any lengths go together; what exceeds the model's longest text
   * is cut.
   * @throws InputError for anything but texts, a prompt that there is not, and a model without room for a text; the signal's
   * reason when aborted
   */
  async embed(texts: string, options?: EmbedOptions): Promise<Float32Array>;
  async embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>;
  async embed(texts: string | readonly string[], options: EmbedOptions = {}): Promise<Float32Array | Float32Array[]> {
    checkOptions("embed", options, embedOptions);
    if (typeof texts === "string") return (await this.embed([texts], options))[0];
    if (!Array.isArray(texts) || texts.some((t) => typeof t !== "string"))
      throw new InputError("embed: takes a text or an array of texts");
    const { vectors, rules } = this;
    const prompt = this.promptNamed(options.prompt);
    const from = rules.countsPrompt || prompt === "" ? 0 : this.tokensOf(prompt);
    const tokens = texts.map((t) => encodeText(vectors, prompt + t));
    const results = new Array<Float32Array>(texts.length);
    const lengths = tokens.map((t) => t.length);
    for (const { length, members } of batchesOf(lengths, vectors.maxTokens)) {
      const batch = members.map((i) => tokens[i]);
      const made = await vectors.run(batch, length, from, options.signal);
      members.forEach((i, k) => {
        const v = rules.steps.reduce((now, step) => step.apply(now), made[k]);
        results[i] = rules.normalize ? unit(v) : v;
      });
    }
    return results;
  }

  private promptNamed(name: string | undefined): string {
    const { texts, usual } = this.rules.prompts;
    if (name === undefined) return usual;
    if (name === "") return "";
    if (typeof name !== "string" || !Object.hasOwn(texts, name))
      throw new InputError(
        `embed: the model has no prompt ${JSON.stringify(name)}; there are: ${Object.keys(texts).join(", ") || "none"}`,
      );
    return texts[name];
  }

  /** How many a prompt is, with the mark before it and without the one behind. */
  private tokensOf(prompt: string): number {
    const { tokenizer } = this.vectors;
    const ids = tokenizer.encode(prompt);
    return tokenizer.specialName(ids[ids.length - 1]) === undefined ? ids.length : ids.length - 1;
  }

  dispose(): void {
    this.session.dispose();
  }

  [symbolDispose](): void {
    this.dispose();
  }
}
