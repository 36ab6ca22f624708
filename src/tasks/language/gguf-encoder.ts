/** GGUF files as encoders of texts: BERT, BGE, E5, MiniLM, and XLM-RoBERTa with its relatives ("bert"), Nomic's, ModernBERT. */
import { ggufVocabulary } from "../../formats/decoder/gguf-vocabulary.ts";
import { fileWeight, floatWeight } from "../../formats/decoder/gguf-weight.ts";
import { Metadata } from "../../formats/decoder/metadata.ts";
import { heldSource } from "../../formats/decoder/weights.ts";
import type { GgufFile } from "../../formats/gguf/index.ts";
import { readPackedGguf } from "../../formats/gguf/reader.ts";
import type { PackedValue } from "../../formats/gguf/values.ts";
import type { ByteSource } from "../../formats/source.ts";
import type { AnyWeight } from "../../models/transformer/config.ts";
import { type EncoderConfig, transformerEncoder } from "../../models/transformer/encoder.ts";
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import { type Scoring, scoringIn } from "../classes.ts";
import { openTokenizer } from "../tokenizers/open.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import type { EncoderFile, EncoderOptions, OtherModel } from "./encoder.ts";
import { type Merged, mergedInBert, takenApart } from "./encoder-weights.ts";
import type { Pooling } from "./pooling.ts";

/** Names of GGUF's tensors as BERT's checkpoints have them. */
const bertNames: readonly [RegExp, string][] = [
  [/^token_embd\./, "embeddings.word_embeddings."],
  [/^position_embd\./, "embeddings.position_embeddings."],
  [/^token_types\./, "embeddings.token_type_embeddings."],
  [/^token_embd_norm\./, "embeddings.LayerNorm."],
  [/^blk\.(\d+)\.attn_q\./, "encoder.layer.$1.attention.self.query."],
  [/^blk\.(\d+)\.attn_k\./, "encoder.layer.$1.attention.self.key."],
  [/^blk\.(\d+)\.attn_v\./, "encoder.layer.$1.attention.self.value."],
  [/^blk\.(\d+)\.attn_output\./, "encoder.layer.$1.attention.output.dense."],
  [/^blk\.(\d+)\.attn_output_norm\./, "encoder.layer.$1.attention.output.LayerNorm."],
  [/^blk\.(\d+)\.attn_qkv\./, "encoder.layer.$1.attention.self.qkv."],
  [/^blk\.(\d+)\.ffn_gate\./, "encoder.layer.$1.intermediate.gate."],
  [/^blk\.(\d+)\.ffn_up\./, "encoder.layer.$1.intermediate.dense."],
  [/^blk\.(\d+)\.ffn_down\./, "encoder.layer.$1.output.dense."],
  [/^blk\.(\d+)\.layer_output_norm\./, "encoder.layer.$1.output.LayerNorm."],
  [/^cls\.(weight|bias)$/, "pooler.dense.$1"],
  [/^cls\.output\./, "classifier."],
];

export const ggufEncoders = ["bert", "nomic-bert", "modern-bert"];

/** By `pooling_type`. None says nothing of how sentences are compared: then as most are. */
const poolings: readonly Pooling[] = ["mean", "mean", "cls", "lasttoken"];
/** Of one that judges pairs of texts. BERT's first state is a vector nevertheless. */
const rank = 4;

/** @throws UnsupportedOpError for a way to pool that is not known */
export function ggufPooling(meta: Metadata, ranked?: Pooling): Pooling {
  const type = meta.number("pooling_type") ?? 0;
  const pooling = type === rank ? ranked : poolings[type];
  if (pooling) return pooling;
  throw new UnsupportedOpError(`pooling_type ${type} is not supported`, { missing: ["pooling_type"] });
}

/** Tables of which graphs take floats. */
const dense = /^(position_embd|token_types)\./;

/**
 * Matrices stay in their blocks, in the file until a device takes them.
 * @throws FormatError for metadata that is missing, UnsupportedOpError for another way to pool
 */
export async function encoderInGguf(source: ByteSource, options: EncoderOptions): Promise<EncoderFile | OtherModel> {
  const file = await readPackedGguf(heldSource(source));
  const meta = new Metadata(file, source.name);
  const { architecture } = meta;
  if (architecture === "modern-bert") return (await import("./gguf-modern-bert.ts")).modernBertIn(file, meta, options);
  if (!ggufEncoders.includes(architecture)) return { other: architecture };
  const isNomic = architecture === "nomic-bert";
  const scaling = meta.text("rope.scaling.type") ?? "none";
  if (scaling !== "none")
    throw new UnsupportedOpError(`${source.name}: rope scaling "${scaling}" of encoders is not supported`, {
      missing: [scaling],
    });
  const pooling = ggufPooling(meta, "cls");
  const weights = await encoderWeights(file, bertNames, mergedInBert, options.signal);
  const rows = (name: string): number => weights.get(name)?.shape[0] ?? meta.missing(name);
  const trained = meta.need("context_length");
  const positions = isNomic ? trained : rows("embeddings.position_embeddings.weight");
  const [width, heads] = [meta.need("embedding_length"), meta.need("attention.head_count")];
  const config: EncoderConfig = {
    vocabSize: rows("embeddings.word_embeddings.weight"),
    width,
    heads,
    hidden: meta.need("feed_forward_length"),
    layers: meta.need("block_count"),
    positions,
    epsilon: meta.need("attention.layer_norm_epsilon"),
    activation: isNomic ? "silu" : "gelu",
    rope: isNomic ? { dim: width / heads, base: meta.number("rope.freq_base") ?? 1000, interleaved: false } : undefined,
  };
  return {
    config,
    weights,
    graph: (head) => transformerEncoder(config, weights, head),
    ...(await saidIn(meta, options)),
    pooling,
    maxTokens: Math.min(trained, positions),
  };
}

/** Tensors by the names that graphs have for them. */
export async function encoderWeights(
  { tensors }: GgufFile<PackedValue>,
  names: readonly (readonly [RegExp, string])[],
  merged: Merged,
  signal?: AbortSignal,
): Promise<Map<string, AnyWeight>> {
  const weights = new Map<string, AnyWeight>();
  for (const tensor of tensors.values()) {
    signal?.throwIfAborted();
    const name = names.reduce((n, [from, to]) => n.replace(from, to), tensor.name);
    const isMatrix = tensor.shape.length === 2 && !dense.test(tensor.name);
    const apart = takenApart(name, merged);
    if (apart) for (const [part, w] of apart(await floatWeight(tensor, signal))) weights.set(part, w);
    else weights.set(name, isMatrix ? fileWeight(tensor) : await floatWeight(tensor, signal));
  }
  return weights;
}

/** What metadata says of texts and heads. */
export async function saidIn(meta: Metadata, options: EncoderOptions) {
  return {
    tokenizer: options.tokenizer ?? (await tokenizerOf(meta)),
    // The rows before RoBERTa's first position are left out of the file.
    firstPosition: 0,
    maskToken: meta.number("tokenizer.ggml.mask_token_id"),
    scoring: (classes: number): Scoring => scoringIn(undefined, classes),
    classActivation: "tanh",
    architectures: [],
  } as const;
}

async function tokenizerOf(meta: Metadata): Promise<Tokenizer> {
  const v = ggufVocabulary(meta);
  if (!v) throw new FormatError(`${meta.name}: there is no vocabulary in it; pass { tokenizer }`);
  if (v.kind !== "unigram") return openTokenizer(v);
  // Encoders put marks around their texts.
  return openTokenizer({ ...v, addBegin: meta.flag("tokenizer.ggml.add_bos_token") ?? true });
}
