/** BERT in GGUF files of f32. */
import { type GgufValue, writeGguf } from "../../src/formats/gguf/index.ts";
import type { EncoderConfig } from "../../src/models/transformer/encoder.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";

/** Names as llama.cpp's converter writes them. */
const ggufName = (name: string): string =>
  name
    .replace("embeddings.word_embeddings", "token_embd")
    .replace("embeddings.position_embeddings", "position_embd")
    .replace("embeddings.token_type_embeddings", "token_types")
    .replace("embeddings.LayerNorm", "token_embd_norm")
    .replace(/encoder\.layer\.(\d+)\./, "blk.$1.")
    .replace("attention.self.qkv", "attn_qkv")
    .replace(/attention\.self\.([qkv])[a-z]+/, "attn_$1")
    .replace("attention.output.dense", "attn_output")
    .replace("attention.output.LayerNorm", "attn_output_norm")
    .replace("intermediate.dense", "ffn_up")
    .replace("intermediate.gate", "ffn_gate")
    .replace("output.dense", "ffn_down")
    .replace("output.LayerNorm", "layer_output_norm");

export const bertMetadata = (
  c: Omit<EncoderConfig, "activation">,
  more: Record<string, GgufValue>,
): Map<string, GgufValue> =>
  new Map<string, GgufValue>([
    ["general.architecture", "bert"],
    ["bert.context_length", c.positions],
    ["bert.embedding_length", c.width],
    ["bert.feed_forward_length", c.hidden],
    ["bert.block_count", c.layers],
    ["bert.attention.head_count", c.heads],
    ["bert.attention.layer_norm_epsilon", c.epsilon],
    ...Object.entries(more),
  ]);

export function bertGguf(metadata: Map<string, GgufValue>, all: ReadonlyMap<string, HostTensor>): Uint8Array {
  const used = [...all].filter(([name]) => /^(embeddings|encoder)/.test(name));
  const tensors = used.map(([name, t]) => {
    const bytes = new Uint8Array((t.data as Float32Array).slice().buffer);
    return [ggufName(name), { type: "F32" as const, shape: t.shape, bytes }] as const;
  });
  return writeGguf({ metadata, tensors: new Map(tensors) });
}

/** Words as GGUF has them: with "▁" in front, those that continue one without "##". */
export const wordPieceMetadata = (words: readonly string[]): Record<string, GgufValue> => {
  const special = (w: string): boolean => /^\[.+\]$/.test(w);
  return {
    "tokenizer.ggml.model": "bert",
    "tokenizer.ggml.tokens": words.map((w) => (special(w) ? w : w.startsWith("##") ? w.slice(2) : `▁${w}`)),
    "tokenizer.ggml.token_type": Int32Array.from(words, (w) => (special(w) ? 3 : 1)),
  };
};
