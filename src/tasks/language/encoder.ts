/** Hugging Face folders as sentence encoders: BERT, DistilBERT, RoBERTa. */

import { activationOf } from "../../formats/activation.ts";
import { asF32, type Json, type ModelFolder } from "../../formats/folder.ts";
import type { EncoderConfig } from "../../models/transformer/encoder.ts";
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import type { EmbeddingOptions, EncoderFile, Pooling } from "../embed.ts";
import { HuggingFaceTokenizer } from "../tokenizers/hugging-face.ts";

/** DistilBERT's names as BERT's. */
const distilNames: readonly [RegExp, string][] = [
  [/^transformer\.layer\.(\d+)\.attention\.([qkv])_lin/, "encoder.layer.$1.attention.self.$2"],
  [/^transformer\.layer\.(\d+)\.attention\.out_lin/, "encoder.layer.$1.attention.output.dense"],
  [/^transformer\.layer\.(\d+)\.sa_layer_norm/, "encoder.layer.$1.attention.output.LayerNorm"],
  [/^transformer\.layer\.(\d+)\.ffn\.lin1/, "encoder.layer.$1.intermediate.dense"],
  [/^transformer\.layer\.(\d+)\.ffn\.lin2/, "encoder.layer.$1.output.dense"],
  [/^transformer\.layer\.(\d+)\.output_layer_norm/, "encoder.layer.$1.output.LayerNorm"],
  [/\.self\.q\./, ".self.query."],
  [/\.self\.k\./, ".self.key."],
  [/\.self\.v\./, ".self.value."],
];

const bertName = (name: string): string =>
  distilNames.reduce((n, [from, to]) => n.replace(from, to), name.replace(/^(bert|roberta|distilbert|model)\./, ""));

export async function readEncoder(
  folder: ModelFolder,
  options: EmbeddingOptions,
): Promise<EncoderFile & { weights: Map<string, HostTensor> }> {
  const json = await folder.json("config.json");
  const kind = String(json["model_type"]);
  if (!["bert", "distilbert", "roberta", "xlm-roberta", "camembert"].includes(kind))
    throw new UnsupportedOpError(`${folder.name}: encoders of type "${kind}" are not supported`, { missing: [kind] });
  const number = (...keys: string[]): number => {
    const found = keys.map((k) => json[k]).find((v) => typeof v === "number");
    if (found === undefined) throw new FormatError(`${folder.name}: config.json has no ${keys[0]}`);
    return found as number;
  };
  const positions = number("max_position_embeddings");
  // RoBERTa's tables begin after the padding token's number.
  const firstPosition = kind.includes("roberta") || kind === "camembert" ? number("pad_token_id") + 1 : 0;
  const config: EncoderConfig = {
    vocabSize: number("vocab_size"),
    width: number("hidden_size", "dim"),
    heads: number("num_attention_heads", "n_heads"),
    hidden: number("intermediate_size", "hidden_dim"),
    layers: number("num_hidden_layers", "n_layers"),
    positions,
    epsilon: typeof json["layer_norm_eps"] === "number" ? json["layer_norm_eps"] : 1e-12,
    activation: activationOf(folder.name, json["hidden_act"] ?? json["activation"] ?? "gelu"),
  };
  const sentence = await folder.optionalJson("sentence_bert_config.json");
  const longest = typeof sentence?.["max_seq_length"] === "number" ? sentence["max_seq_length"] : positions;
  return {
    config,
    weights: await readWeights(folder, options.signal),
    tokenizer: options.tokenizer ?? (await tokenizerOf(folder)),
    pooling: poolingOf(await folder.optionalJson("1_Pooling/config.json")),
    maxTokens: Math.min(longest, positions - firstPosition),
    firstPosition,
  };
}

/** Padding and truncation are ours. */
async function tokenizerOf(folder: ModelFolder): Promise<HuggingFaceTokenizer> {
  const source = await folder.json("tokenizer.json");
  const config = (await folder.optionalJson("tokenizer_config.json")) ?? {};
  return HuggingFaceTokenizer.open({ ...source, padding: null, truncation: null }, config);
}

const poolingOf = (json: Json | undefined): Pooling => (json?.["pooling_mode_cls_token"] === true ? "cls" : "mean");

async function readWeights(folder: ModelFolder, signal?: AbortSignal): Promise<Map<string, HostTensor>> {
  const weights = new Map<string, HostTensor>();
  for (const t of (await folder.weights()).tensors.values()) {
    signal?.throwIfAborted();
    const name = bertName(t.name);
    if (/^(embeddings|encoder)\./.test(name) && !name.endsWith("position_ids"))
      weights.set(name, asF32(await t.read(signal)));
  }
  return weights;
}
