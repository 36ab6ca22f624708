/** A GGUF file with everything: a random decoder, a vocabulary, a chat template. */
import { type GgufValue, writeGguf } from "../../src/formats/gguf/index.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { build } from "../models/tiny.ts";
import { byteLevelPieces } from "./vocabularies.ts";

const template =
  "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

export function tinyGguf({
  contextLength = 64,
  chat = true,
  chatTemplate = template,
  addEnd = false,
} = {}): Uint8Array {
  const specials = ["<|begin|>", "<|end|>", "<|user|>", "<|assistant|>"];
  const pieces = [...byteLevelPieces, ...specials];
  const { config, weights } = build({
    vocabSize: pieces.length,
    contextLength,
    rope: { dim: 8, base: 10000, interleaved: true },
  });
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", "llama"],
    ["llama.block_count", config.layers.length],
    ["llama.context_length", config.contextLength],
    ["llama.embedding_length", config.width],
    ["llama.attention.head_count", config.heads],
    ["llama.attention.head_count_kv", config.kvHeads],
    ["llama.attention.layer_norm_rms_epsilon", config.norm.epsilon],
    ["tokenizer.ggml.model", "gpt2"],
    ["tokenizer.ggml.pre", "gpt-2"],
    ["tokenizer.ggml.tokens", pieces],
    ["tokenizer.ggml.token_type", Int32Array.from(pieces, (_, i) => (i < 256 ? 1 : 3))],
    ["tokenizer.ggml.merges", ["t h"]],
    ["tokenizer.ggml.bos_token_id", 256],
    ["tokenizer.ggml.eos_token_id", 257],
    ["tokenizer.ggml.add_bos_token", true],
    ["tokenizer.ggml.add_eos_token", addEnd],
  ]);
  if (chat) metadata.set("tokenizer.chat_template", chatTemplate);
  const tensors = new Map(
    [...(weights as unknown as Map<string, HostTensor>)].map(([name, t]) => [
      name,
      { type: "F32" as const, shape: t.shape, bytes: new Uint8Array((t.data as Float32Array).slice().buffer) },
    ]),
  );
  return writeGguf({ metadata, tensors });
}
