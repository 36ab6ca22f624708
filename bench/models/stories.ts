/** stories15M, a trained Llama of the llama2.c project, as a GGUF file. */

import { readDecoder } from "../../src/formats/decoder/read.ts";
import type { SentencePieceVocabulary } from "../../src/formats/decoder/vocabulary.ts";
import { type GgufType, type GgufValue, quantize, writeGguf } from "../../src/formats/gguf/index.ts";
import { openSource } from "../../src/formats/source.ts";
import type { LlamaType } from "./llama.ts";

const kinds = { normal: 1, unknown: 2, control: 3, user: 4, unused: 5, byte: 6 } as const;

/** @param path of the weights with the tokenizer behind them. Matrices become the type, norms stay f32. */
export async function storiesGguf(path: string, type: LlamaType): Promise<Uint8Array> {
  const { config, weights, vocabulary } = await readDecoder(await openSource(path));
  const tensors = new Map<string, { type: GgufType; shape: readonly number[]; bytes: Uint8Array }>();
  for (const [name, stored] of weights) {
    const { data, shape } = (await stored.read()) as { data: Float32Array; shape: readonly number[] };
    const own = shape.length === 2 ? type : "F32";
    tensors.set(name, { type: own, shape, bytes: quantize(own, data.slice()) });
  }
  const { pieces, scores, kinds: kindOf } = vocabulary as SentencePieceVocabulary;
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", "llama"],
    ["general.name", "stories15M"],
    ["llama.block_count", config.layers.length],
    ["llama.context_length", config.contextLength],
    ["llama.embedding_length", config.width],
    ["llama.feed_forward_length", weights.get("blk.0.ffn_up.weight")!.shape[0]],
    ["llama.attention.head_count", config.heads],
    ["llama.attention.head_count_kv", config.kvHeads],
    ["llama.rope.dimension_count", config.headDim],
    ["llama.attention.layer_norm_rms_epsilon", config.norm.epsilon],
    ["tokenizer.ggml.model", "llama"],
    ["tokenizer.ggml.tokens", [...pieces]],
    ["tokenizer.ggml.scores", Float32Array.from(scores)],
    ["tokenizer.ggml.token_type", Int32Array.from(kindOf, (k) => kinds[k])],
    ["tokenizer.ggml.bos_token_id", 1],
    ["tokenizer.ggml.eos_token_id", 2],
    ["tokenizer.ggml.unknown_token_id", 0],
  ]);
  const types = new Map([["llama.attention.layer_norm_rms_epsilon", "f32" as const]]);
  return writeGguf({ metadata, types, tensors });
}
