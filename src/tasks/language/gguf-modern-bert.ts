/** ModernBERT in GGUF files: architecture "modern-bert". */
import type { Metadata } from "../../formats/decoder/metadata.ts";
import type { GgufFile } from "../../formats/gguf/index.ts";
import type { PackedValue } from "../../formats/gguf/values.ts";
import { type ModernBertConfig, modernBert } from "../../models/transformer/modern-bert.ts";
import type { EncoderFile, EncoderOptions } from "./encoder.ts";
import { encoderWeights, ggufPooling, saidIn } from "./gguf-encoder.ts";
import { mergedInModernBert } from "./modern-bert.ts";

/** Names of GGUF's tensors as `modernBert` has them. */
const names: readonly [RegExp, string][] = [
  [/^token_embd\./, "embeddings.tok_embeddings."],
  [/^token_embd_norm\./, "embeddings.norm."],
  [/^blk\.(\d+)\.attn_qkv\./, "layers.$1.attn.Wqkv."],
  [/^blk\.(\d+)\.attn_output\./, "layers.$1.attn.Wo."],
  [/^blk\.(\d+)\.ffn_norm\./, "layers.$1.mlp_norm."],
  [/^blk\.(\d+)\.ffn_up\./, "layers.$1.mlp.Wi."],
  [/^blk\.(\d+)\.ffn_down\./, "layers.$1.mlp.Wo."],
  [/^blk\./, "layers."],
  [/^output_norm\./, "final_norm."],
  [/^cls\.(weight|bias)$/, "head.dense.$1"],
  [/^cls\.norm\./, "head.norm."],
  [/^cls\.output\./, "classifier."],
];

/** Of this many layers the first sees everything. */
const usualPattern = 3;

/** @throws FormatError for metadata that is missing, UnsupportedOpError for a way to pool that is not known */
export async function modernBertIn(
  file: GgufFile<PackedValue>,
  meta: Metadata,
  options: EncoderOptions,
): Promise<EncoderFile> {
  const pooling = ggufPooling(meta, "cls");
  const weights = await encoderWeights(file, names, mergedInModernBert, options.signal);
  const vocabSize = weights.get("embeddings.tok_embeddings.weight")?.shape[0] ?? meta.missing("token_embd.weight");
  const [width, heads] = [meta.need("embedding_length"), meta.need("attention.head_count")];
  const [layers, positions] = [meta.need("block_count"), meta.need("context_length")];
  const flags = meta.flags("attention.sliding_window_pattern");
  const every = (flags ? undefined : meta.number("attention.sliding_window_pattern")) ?? usualPattern;
  const window = Math.floor(meta.need("attention.sliding_window") / 2);
  const rope = { dim: width / heads, base: meta.number("rope.freq_base") ?? 160_000, interleaved: false };
  const config: ModernBertConfig = {
    vocabSize,
    width,
    heads,
    hidden: meta.need("feed_forward_length"),
    layers,
    positions,
    epsilon: meta.need("attention.layer_norm_epsilon"),
    activation: "gelu",
    headActivation: "gelu",
    pooling: pooling === "cls" ? "cls" : "mean",
    windows: Array.from({ length: layers }, (_, n) => ((flags ? flags[n] : n % every) ? window : undefined)),
    rope,
    localRope: { ...rope, base: meta.number("rope.freq_base_swa") ?? 10_000 },
  };
  return {
    config,
    weights,
    graph: (head) => modernBert(config, weights, head),
    ...(await saidIn(meta, options)),
    pooling,
    maxTokens: positions,
  };
}
