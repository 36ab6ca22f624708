/** Hugging Face folders as encoders of text: BERT, DistilBERT, RoBERTa. GGUF files: `gguf-encoder.ts`. */
import { activationOf } from "../../formats/activation.ts";
import type { Json, ModelFolder } from "../../formats/folder.ts";
import { headerBytes, isLlama2c } from "../../formats/llama2c-config.ts";
import { isGguf } from "../../formats/recognize.ts";
import type { Graph } from "../../graph/ir.ts";
import type { BlockWeights } from "../../models/transformer/blocks.ts";
import { type EncoderConfig, type EncoderHead, transformerEncoder } from "../../models/transformer/encoder.ts";
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { labelsIn, type Scoring, scoringIn } from "../classes.ts";
import { HuggingFaceTokenizer } from "../tokenizers/hugging-face.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import { wordPieceJson } from "../tokenizers/word-piece.ts";
import { readBertWeights } from "./encoder-weights.ts";
import type { Pooling } from "./pooling.ts";

export interface EncoderFile {
  readonly config: EncoderConfig;
  readonly weights: BlockWeights;
  graph(head: EncoderHead): Graph;
  readonly tokenizer: Tokenizer;
  /** How GGUF files say that states become vectors. Beside folders: `sentence-modules.ts`. */
  readonly pooling?: Pooling;
  /** Longer texts are cut. */
  readonly maxTokens: number;
  /** Row of the position table for the first token. */
  readonly firstPosition: number;
  /** Number of the token that stands for a missing word. */
  readonly maskToken?: number;
  /** Names of the classes, and what comes before the classifier, where the model has one. */
  readonly labels?: readonly string[];
  /** How so many classes become scores. */
  scoring(classes: number): Scoring;
  readonly classActivation: "tanh" | "relu";
  /** Of the layer before words, where it is not the other layers'. */
  readonly wordActivation?: "gelu";
  /** What the weights were saved as, `BertForTokenClassification`. */
  readonly architectures: readonly string[];
}

export interface EncoderOptions {
  tokenizer?: Tokenizer;
  signal?: AbortSignal;
  /** Whether vectors of sentences are made, and it may be an old folder of sentence-transformers. */
  sentences?: boolean;
}

export const encoderTypes = ["bert", "distilbert", "roberta", "xlm-roberta", "camembert", "nomic_bert", "modernbert"];

/** What a model is that is none of these encoders: its type in `config.json`, or its architecture in a GGUF file. */
export interface OtherModel {
  readonly other: string;
}

/** @throws UnsupportedOpError for another model; FormatError, InputError as the files deserve */
export async function readEncoder(folder: ModelFolder, options: EncoderOptions): Promise<EncoderFile> {
  const file = await encoderIn(folder, options);
  if ("other" in file) return refuseOther(folder, file.other, encoderTypes.join(", "));
  return file;
}

export function refuseOther(folder: ModelFolder, other: string, known: string): never {
  throw new UnsupportedOpError(`${folder.name}: encoders of type "${other}" are not supported; known: ${known}`, {
    missing: [other],
  });
}

/** The encoder that a folder or file holds, or what it holds instead. */
export async function encoderIn(folder: ModelFolder, options: EncoderOptions): Promise<EncoderFile | OtherModel> {
  const { anchor } = folder;
  const head = await anchor.read(0, Math.min(headerBytes, anchor.size));
  if (isGguf(head)) return (await import("./gguf-encoder.ts")).encoderInGguf(anchor, options);
  if (isLlama2c(head, anchor.size))
    throw new UnsupportedOpError(
      `${folder.name}: llama2.c weights are a model that writes texts, not an encoder. Encoders (${encoderTypes.join(", ")}) are ` +
        "folders with safetensors, config.json and tokenizer.json, ONNX graphs with these beside them, or GGUF",
      { missing: ["llama2c"] },
    );
  const json = await folder.json("config.json");
  const kind = String(json["model_type"]);
  if (kind === "modernbert") return (await import("./modern-bert.ts")).readModernBert(folder, json, options);
  if (!encoderTypes.includes(kind)) return { other: kind };
  const number = (...keys: string[]): number => {
    const found = keys.map((k) => json[k]).find((v) => typeof v === "number");
    if (found === undefined) throw new FormatError(`${folder.name}: config.json has no ${keys[0]}`);
    return found as number;
  };
  const places = json["position_embedding_type"] ?? "absolute";
  if (places !== "absolute")
    throw new UnsupportedOpError(
      `${folder.name}: a "${kind}" whose positions are "${String(places)}" is not supported, only "absolute" ones, which are ` +
        "a table of vectors",
      { missing: [String(places)] },
    );
  if (json["is_decoder"] === true)
    throw new UnsupportedOpError(`${folder.name}: a "${kind}" that is a decoder ("is_decoder") is not supported`, {
      missing: ["is_decoder"],
    });
  const positions = number("max_position_embeddings", "n_positions");
  const firstPosition = firstPositionIn(json);
  const config: EncoderConfig = {
    vocabSize: number("vocab_size"),
    width: number("hidden_size", "dim", "n_embd"),
    heads: number("num_attention_heads", "n_heads", "n_head"),
    hidden: number("intermediate_size", "hidden_dim", "n_inner"),
    layers: number("num_hidden_layers", "n_layers", "n_layer"),
    positions,
    epsilon: [json["layer_norm_eps"], json["layer_norm_epsilon"]].find((v) => typeof v === "number") ?? 1e-12,
    activation: activationOf(folder.name, json["hidden_act"] ?? json["activation"] ?? "gelu"),
    ...(kind === "nomic_bert" ? (await import("./nomic-bert.ts")).nomicConfig(folder.name, json) : undefined),
  };
  const { tokenizer, longest } = await textRules(folder, options.tokenizer, options.sentences ? kind : undefined);
  const weights = await readBertWeights(folder, json, options.signal);
  return {
    config,
    weights,
    graph: (head) => transformerEncoder(config, weights, head),
    tokenizer,
    maxTokens: Math.min(longest, positions - firstPosition),
    firstPosition,
    maskToken: maskTokenOf(tokenizer),
    labels: labelsIn(json),
    scoring: (classes) => scoringIn(json, classes),
    classActivation: kind === "distilbert" ? "relu" : "tanh",
    // RoBERTa's is its own, whatever config.json says.
    wordActivation: countsFromPadding.test(kind) ? "gelu" : undefined,
    architectures: Array.isArray(json["architectures"]) ? json["architectures"].map(String) : [],
  };
}

/** Those that count positions from behind the padding token's number, which is 1 where none is said: RoBERTa and its relatives. */
const countsFromPadding = /roberta|^(camembert|data2vec-text|esm|ibert|longformer|luke|mpnet|xmod)$/;

/** Row of the position table for the first token, by `config.json`. */
export function firstPositionIn({ model_type: kind, pad_token_id: padding }: Partial<Json>): number {
  if (!countsFromPadding.test(String(kind))) return 0;
  return typeof padding === "number" ? padding + 1 : 2;
}

export const maskTokenOf = (tokenizer: Tokenizer): number | undefined =>
  tokenizer instanceof HuggingFaceTokenizer
    ? (tokenizer.specials.get("[MASK]") ?? tokenizer.specials.get("<mask>"))
    : undefined;

/** Types of models whose `sentence_bert_config.json` has the type in its name in folders of old sentence-transformers. */
const hadOwnFile = /^(roberta|distilbert|camembert|albert|xlm-roberta|xlnet)$/;

/** What a folder says of texts. */
export interface TextRules {
  readonly tokenizer: Tokenizer;
  /** Tokens that are read of one, as far as it is said. */
  readonly longest: number;
}

/**
 * The tokenizer is that of `tokenizer.json`, or of BERT's older `vocab.txt`; padding and truncation are ours. What
 * sentence-transformers says (`sentence_bert_config.json`) comes before `tokenizer_config.json`.
 * @param given in place of the tokenizer
 * @param kind type of the model, where `sentence_roberta_config.json` and the like count, too: to look costs a request
 * @throws InputError where there is none
 */
export async function textRules(folder: ModelFolder, given?: Tokenizer, kind?: unknown): Promise<TextRules> {
  const config = (await folder.optionalJson("tokenizer_config.json")) ?? {};
  const sentences =
    (await folder.optionalJson("sentence_bert_config.json")) ??
    (hadOwnFile.test(String(kind)) ? await folder.optionalJson(`sentence_${kind}_config.json`) : undefined) ??
    {};
  const lengths = [sentences["max_seq_length"], config["model_max_length"]].filter((n) => typeof n === "number");
  return {
    tokenizer: given ?? (await tokenizerOf(folder, config, sentences["do_lower_case"] === true)),
    // Where nothing is known, tokenizers are saved with a number of 31 digits.
    longest: lengths.find((n) => n > 0) ?? Infinity,
  };
}

async function tokenizerOf(folder: ModelFolder, config: Json, lowercase: boolean): Promise<HuggingFaceTokenizer> {
  const words = (await folder.has("tokenizer.json")) ? undefined : await folder.optionalText("vocab.txt");
  const { strip_accents: stripAccents } = config;
  const source =
    words === undefined
      ? await folder.json("tokenizer.json")
      : wordPieceJson({
          pieces: words.trimEnd().split(/\r?\n/),
          lowercase: config["do_lower_case"] !== false,
          stripAccents: typeof stripAccents === "boolean" ? stripAccents : undefined,
          cutChinese: config["tokenize_chinese_chars"] !== false,
        });
  // In the normalizer, which leaves special tokens as they are.
  const normalizers = [source["normalizer"], lowercase && { type: "Lowercase" }].filter(Boolean);
  const normalizer = { type: "Sequence", normalizers };
  return HuggingFaceTokenizer.open({ ...source, normalizer, padding: null, truncation: null }, config);
}

/** Inputs for texts of at most `length` tokens, padded to it. */
export function encoderInputs(
  { config, firstPosition }: EncoderFile,
  texts: readonly (readonly number[])[],
  length: number,
) {
  const batch = texts.length;
  const tokens = new Int32Array(batch * length);
  const mask = new Uint8Array(batch * length);
  const positions = new Int32Array(batch * length);
  // Behind the texts it does not matter. A padding token that stands in one is not counted.
  const padding = firstPosition - 1;
  texts.forEach((ids, b) => {
    let next = firstPosition;
    const own = ids.map((id) => (id === padding ? padding : next++));
    tokens.set(ids, b * length);
    positions.set(own, b * length);
    mask.fill(1, b * length, b * length + ids.length);
  });
  const inputs: Record<string, HostTensor> = {
    tokens: { dtype: "i32", shape: [batch, length], data: tokens },
    mask: { dtype: "bool", shape: [batch, 1, 1, length], data: mask },
  };
  if (!config.rope) inputs["positions"] = { dtype: "i32", shape: [batch, length], data: positions };
  return inputs;
}

/** Lengths that texts are filled up to: few, so that there are few plans. */
const lengthStep = 16;
/** Tokens of one run, padding included. */
const tokensPerRun = 512;

/** @param longest that the model takes: tables of rotary positions end there */
export const paddedLength = (length: number, longest: number): number =>
  Math.min(Math.ceil(length / lengthStep) * lengthStep, longest);

/** Texts of about one length together: `members` by index, padded to `length`. */
export function batchesOf(lengths: readonly number[], longest: number): { length: number; members: number[] }[] {
  const out: { length: number; members: number[] }[] = [];
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b] - lengths[a]);
  for (const i of order) {
    const length = paddedLength(lengths[i], longest);
    const last = out.at(-1);
    if (last?.length === length && (last.members.length + 1) * length <= tokensPerRun) last.members.push(i);
    else out.push({ length, members: [i] });
  }
  return out;
}
