/** Text generation: a language model from a file, and texts that it continues. */

import { deviceFor } from "../device.ts";
import { readDecoder } from "../formats/decoder/read.ts";
import { storedWeights } from "../formats/decoder/weights.ts";
import { whileLoading } from "../formats/loading.ts";
import { recognize } from "../formats/recognize.ts";
import { openSource, type SourceInput } from "../formats/source.ts";
import { nextTurn } from "../graph/drive.ts";
import { sourceOptions } from "../load.ts";
import type { KvCache } from "../models/transformer/decoder.ts";
import type { FeedOptions } from "../models/transformer/feed-checks.ts";
import { Decoder } from "../models/transformer/sequence.ts";
import { symbolDispose } from "../tensor/dispose.ts";
import { DeviceError, DisposedError, InputError } from "../tensor/errors.ts";
import { decodeUtf8 } from "../tensor/utf8.ts";
import { type ChatMessage, checkMessages, renderChat } from "./language/chat.ts";
import type { JsonConstraint } from "./language/constraint.ts";
import { type FinishReason, type Generation, PieceFilter, TextPieces, type TokenInfo } from "./language/generation.ts";
import type { JsonSchema } from "./language/json-schema.ts";
import type { LanguageModel, LanguageModelFile, TextSequence } from "./language/model.ts";
import { logProbabilities, Sampler, type SamplingOptions, topTokens } from "./language/sampling.ts";
import { checkOptions, checkWhole, type OptionNames, type TaskOptions, taskOptions } from "./options.ts";
import { openTokenizer } from "./tokenizers/open.ts";
import { checkTokenizer, type Tokenizer } from "./tokenizers/tokenizer.ts";

export type { ChatMessage } from "./language/chat.ts";
export type { FinishReason, Generation, TextPieces, TokenInfo } from "./language/generation.ts";
export type { JsonSchema } from "./language/json-schema.ts";
export type { SamplingOptions } from "./language/sampling.ts";

export interface TextGenerationOptions extends TaskOptions {
  /** In place of the model's own. */
  tokenizer?: Tokenizer;
  /** Jinja source, in place of the model's own. */
  chatTemplate?: string;
  /** Longest text, prompt included, in tokens. Default: the model's, 8192 at most. */
  contextLength?: number;
  /** What keys and values of the text are kept in: "f16" takes half of the memory. Default "f32". Not on GPUs. */
  kvCache?: KvCache;
}

export interface GenerateOptions extends SamplingOptions {
  /** Default 256. */
  maxTokens?: number;
  /** Texts that end the answer. They are not part of it. */
  stop?: string | readonly string[];
  /** Report the probability of each token, and of this many of the likeliest in its place. */
  logprobs?: number;
  /** The answer is JSON that this schema allows, unless it is cut off. Keywords: see `json-schema.ts`. */
  schema?: JsonSchema;
  signal?: AbortSignal;
}

const loadOptions: OptionNames<TextGenerationOptions> = {
  ...taskOptions,
  tokenizer: true,
  chatTemplate: true,
  contextLength: true,
  kvCache: true,
};
const generateOptions: OptionNames<GenerateOptions> = {
  maxTokens: true,
  temperature: true,
  topK: true,
  topP: true,
  minP: true,
  repetitionPenalty: true,
  seed: true,
  stop: true,
  logprobs: true,
  schema: true,
  signal: true,
};

/** See `index.ts`. */
export async function textGeneration(model: SourceInput, options: TextGenerationOptions = {}): Promise<TextGenerator> {
  checkOptions("textGeneration", options, loadOptions);
  return whileLoading(options, (options) => open(model, options));
}

async function open(model: SourceInput, options: TextGenerationOptions): Promise<TextGenerator> {
  check(options);
  const { signal, onProgress } = options;
  const source = await openSource(model, sourceOptions(options));
  const isGraph = (await recognize(source)) === "onnx";
  const file = isGraph ? await readOnnx() : await readWeights();
  const tokenizer = options.tokenizer ?? (file.vocabulary && (await openTokenizer(file.vocabulary)));
  const device = await deviceFor(options.device, options);
  onProgress?.({ phase: "compile", loaded: 0, total: 1 });
  const generator = new TextGenerator(
    { tokenizer, chatTemplate: options.chatTemplate ?? file.chatTemplate },
    await file.open(device),
  );
  onProgress?.({ phase: "compile", loaded: 1, total: 1 });
  return generator;

  async function readOnnx(): Promise<LanguageModelFile> {
    const { readOnnxModel } = await import("./language/onnx-folder.ts");
    return readOnnxModel(model, source, { ...options, onProgress: undefined });
  }

  async function readWeights(): Promise<LanguageModelFile> {
    const file = await readDecoder(source, options);
    const { vocabulary, chatTemplate, config } = file;
    return {
      vocabulary,
      chatTemplate,
      // What was read from a file is ours; bytes that the caller gave may still be in use.
      open: async (device) =>
        Decoder.open(config, await storedWeights(file, signal), device, {
          ownsWeights: source.local,
          kvCache: options.kvCache,
        }),
    };
  }
}

/** @throws InputError. What a file says of its own is checked as it is read. */
function check({ contextLength, chatTemplate, tokenizer }: TextGenerationOptions): void {
  // The largest is that of positions in i32.
  if (contextLength !== undefined && !(Number.isInteger(contextLength) && contextLength > 0 && contextLength < 2 ** 31))
    throw new InputError(`textGeneration: contextLength takes a whole number from 1, got ${contextLength}`);
  if (chatTemplate !== undefined && typeof chatTemplate !== "string")
    throw new InputError("textGeneration: chatTemplate takes the text of a Jinja template");
  checkTokenizer("textGeneration", tokenizer);
}

/** Idle texts that are kept, for prompts that begin like them. */
const keptSequences = 2;
/** Milliseconds of generation after which other tasks get a turn. */
const turnAfter = 12;

export class TextGenerator {
  readonly tokenizer: Tokenizer | undefined;
  readonly chatTemplate: string | undefined;
  /** The most recently used last. */
  private idle: TextSequence[] = [];
  private disposed = false;

  constructor(
    file: { tokenizer?: Tokenizer; chatTemplate?: string },
    readonly decoder: LanguageModel,
  ) {
    this.tokenizer = file.tokenizer;
    this.chatTemplate = file.chatTemplate;
  }

  /**
   * Continues a text, answers messages, or continues tokens.
   * @throws InputError for a prompt that does not fit the context, a model without tokenizer or, for messages, template; the
   * signal's reason when aborted
   */
  async generate(prompt: Prompt, options: GenerateOptions = {}): Promise<Generation> {
    const stream = this.stream(prompt, options);
    for await (const _ of stream);
    return stream.generation;
  }

  /** The same piece by piece. Generations of one model may run at once: they take turns, token by token. */
  stream(prompt: Prompt, options: GenerateOptions = {}): TextPieces {
    checkOptions("generate", options, generateOptions);
    const generation: Generation = {
      text: "",
      tokens: [],
      promptTokens: 0,
      reusedTokens: 0,
      firstTokenMs: 0,
      decodeMs: 0,
    };
    if (options.logprobs !== undefined) generation.logprobs = [];
    return new TextPieces(generation, (signal) => this.run(prompt, { ...options, signal }, generation), options.signal);
  }

  /** The prompt as the model gets it. */
  async tokensOf(prompt: Prompt): Promise<number[]> {
    if (typeof prompt === "string") {
      const tokens = this.needTokenizer().encode(prompt);
      if (tokens.length === 0) throw new InputError("generate: the prompt is empty, and the model has no first token");
      return tokens;
    }
    if (isTokens(prompt)) return [...prompt];
    checkMessages(prompt);
    const tokenizer = this.needTokenizer();
    if (this.chatTemplate === undefined)
      throw new InputError(
        "generate: this model has no chat template; pass a text instead of messages, or { chatTemplate } when loading",
      );
    const text = await renderChat(this.chatTemplate, prompt, tokenizer);
    return tokenizer.encode(text, { begin: false, special: true });
  }

  /** Frees the model. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const s of this.idle) s.dispose();
    this.idle = [];
    this.decoder.dispose();
  }

  [symbolDispose](): void {
    this.dispose();
  }

  private async *run(prompt: Prompt, options: GenerateOptions, g: Generation): AsyncGenerator<string, void> {
    if (this.disposed) throw new DisposedError("this model was disposed");
    const { maxTokens = 256, logprobs = 0, signal } = options;
    checkWhole("generate", { maxTokens, logprobs });
    const sampler = new Sampler(options);
    const { schema } = options;
    const constraint = schema === undefined ? undefined : await this.constrain(schema);
    const text = new PieceFilter(this.tokenizer, prompt === "", stopsOf(options.stop));
    signal?.throwIfAborted();
    const started = performance.now();
    const tokens = await this.tokensOf(prompt);
    g.promptTokens = tokens.length;
    if (tokens.length > this.decoder.config.contextLength)
      throw new InputError(
        `generate: the prompt of ${tokens.length} tokens does not fit the context of ${this.decoder.config.contextLength}: ` +
          "shorten it, or load with a larger { contextLength } if the model was trained for one",
      );
    const sequence = this.take(tokens);
    try {
      g.reusedTokens = sequence.length;
      // Of a prompt, some may have been fed when memory ran out.
      const feed = feedOf(sequence, options);
      let answer = await this.fed(() => feed(tokens.slice(sequence.length), { signal }));
      let lastTurn = performance.now();
      while (g.finish === undefined) {
        signal?.throwIfAborted();
        if (g.tokens.length >= maxTokens) {
          g.finish = "length";
          break;
        }
        const token = this.next(sampler, answer, sequence.tokens, options, g, constraint);
        const now = performance.now();
        if (g.tokens.length === 1) g.firstTokenMs = now - started;
        else g.decodeMs = now - started - g.firstTokenMs;
        const piece = this.tokenizer?.end.has(token) ? this.finish(g, "end", text.end()) : text.push(token);
        if (text.stopped) g.finish = "stop";
        g.text += piece;
        if (piece !== "") yield piece;
        if (g.finish !== undefined) return;
        if (constraint?.finished) {
          g.finish = "end";
          break;
        }
        if (sequence.length >= this.decoder.config.contextLength) {
          g.finish = "context";
          break;
        }
        if (g.tokens.length >= maxTokens) continue;
        if (performance.now() - lastTurn > turnAfter) {
          await nextTurn();
          lastTurn = performance.now();
        }
        signal?.throwIfAborted();
        if (typeof answer !== "number") sequence.recycle?.(answer);
        answer = await this.fed(() => feed([token]));
      }
      const rest = text.end();
      g.text += rest;
      if (rest !== "") yield rest;
    } finally {
      this.giveBack(sequence);
    }
  }

  private async constrain(schema: JsonSchema): Promise<JsonConstraint> {
    const { JsonConstraint } = await import("./language/constraint.ts");
    return new JsonConstraint(schema, this.needTokenizer());
  }

  private finish(g: Generation, reason: FinishReason, rest: string): string {
    g.finish = reason;
    // The token that ends an answer is not part of it.
    g.tokens.pop();
    g.logprobs?.pop();
    return rest;
  }

  private next(
    sampler: Sampler,
    answer: Answer,
    recent: readonly number[],
    { logprobs }: GenerateOptions,
    g: Generation,
    constraint: JsonConstraint | undefined,
  ): number {
    if (typeof answer === "number") {
      g.tokens.push(answer);
      return answer;
    }
    const plain = g.logprobs && answer.slice();
    const token = sampler.sample(answer, recent, constraint);
    constraint?.push(token);
    g.tokens.push(token);
    if (plain) {
      const likeliest = topTokens(plain, logprobs ?? 0);
      const [own, ...others] = logProbabilities(plain, [token, ...likeliest]);
      const top = likeliest.map((t, i) => this.describe(t, others[i]));
      g.logprobs!.push({ ...this.describe(token, own), top });
    }
    return token;
  }

  private describe(token: number, logprob: number): TokenInfo {
    const bytes = this.tokenizer?.bytes(token);
    return { token, text: bytes ? decodeUtf8(bytes) : "", logprob };
  }

  /** The idle sequence that shares most with the prompt, or an empty one. At least one token is left to feed. */
  private take(tokens: readonly number[]): TextSequence {
    let best: TextSequence | undefined;
    let shared = 0;
    for (const s of this.idle) {
      const n = Math.min(commonPrefix(s.tokens, tokens), tokens.length - 1);
      if (n > shared) [best, shared] = [s, n];
    }
    // A few tokens in common are no reason to give up a long text.
    if (!best || shared < best.length / 4) return this.decoder.sequence();
    this.idle = this.idle.filter((s) => s !== best);
    best.truncate(shared);
    return best;
  }

  private giveBack(sequence: TextSequence): void {
    if (this.disposed) {
      sequence.dispose();
      return;
    }
    this.idle.push(sequence);
    if (this.idle.length > keptSequences) this.idle.shift()!.dispose();
  }

  /** What `feed` gives. Where memory runs out, idle texts give theirs, and it feeds once more. */
  private async fed<T>(feed: () => Promise<T>): Promise<T> {
    try {
      return await feed();
    } catch (e) {
      if (!(e instanceof DeviceError) || this.idle.length === 0) throw e;
      for (const s of this.idle.splice(0)) s.dispose();
      return feed();
    }
  }

  private needTokenizer(): Tokenizer {
    if (!this.tokenizer)
      throw new InputError(
        "generate: this model has no tokenizer; pass { tokenizer } when loading, or tokens as prompt",
      );
    return this.tokenizer;
  }
}

/** Logits, or the token that is the likeliest. */
type Answer = Float32Array | number;
type AnswerTo = (tokens: readonly number[], options?: FeedOptions) => Promise<Answer>;

/** Feeds a sequence. Where nothing but the likeliest token is wanted, no logits come back. */
function feedOf(sequence: TextSequence, options: GenerateOptions): AnswerTo {
  const { temperature, repetitionPenalty = 1, logprobs, schema } = options;
  const greedy = temperature === 0 && repetitionPenalty === 1 && logprobs === undefined && schema === undefined;
  return greedy && sequence.likeliest ? sequence.likeliest.bind(sequence) : sequence.feed.bind(sequence);
}

/** A text to continue, messages to answer, or tokens. */
export type Prompt = string | readonly ChatMessage[] | readonly number[];

const isTokens = (prompt: readonly unknown[]): prompt is readonly number[] =>
  Array.isArray(prompt) && prompt.length > 0 && typeof prompt[0] === "number";

function stopsOf(stop: GenerateOptions["stop"]): string[] {
  const stops = typeof stop === "string" ? [stop] : (stop ?? []);
  if (!Array.isArray(stops) || stops.some((s) => typeof s !== "string"))
    throw new InputError("generate: stop takes a text, or an array of texts");
  return stops.filter((s) => s !== "");
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}
