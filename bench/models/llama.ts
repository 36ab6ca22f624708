/** A Llama in a GGUF file with random weights: the shape of SmolLM-135M with the vocabulary of Llama 2, untied. */
import {
  type GgufType,
  type GgufValue,
  type QuantizableType,
  quantize,
  writeGguf,
} from "../../src/formats/gguf/index.ts";
import { type LlamaShape, llama } from "./llama-shape.ts";
import { randomNumbers } from "./onnx-writer.ts";

/** Q4_K: with matrices in Q6_K as in llama.cpp's mixture Q4_K_M. */
export type LlamaType = "F32" | "Q8_0" | "Q4_0" | "Q4_K";

export interface Matrix {
  readonly name: string;
  readonly type: QuantizableType;
  readonly rows: number;
  readonly columns: number;
}

/** All matrices of the model. */
export function llamaMatrices(type: LlamaType, shape: LlamaShape): Matrix[] {
  const { width, layers, heads, kvHeads, hidden, vocabulary } = shape;
  const kvWidth = (width / heads) * kvHeads;
  const better = type === "Q4_K" ? "Q6_K" : type;
  const matrix = (name: string, rows: number, columns: number, as: QuantizableType = type): Matrix => ({
    name,
    type: as,
    rows,
    columns,
  });
  const layer = (n: number): Matrix[] => {
    // The first and the last eighth of the layers, and every third of the others.
    const eighth = Math.floor(layers / 8);
    const some = n < eighth || n >= layers - eighth || (n - eighth) % 3 === 2 ? better : type;
    const part = (name: string): string => `blk.${n}.${name}`;
    return [
      matrix(part("attn_q"), width, width),
      matrix(part("attn_k"), kvWidth, width),
      matrix(part("attn_v"), kvWidth, width, some),
      matrix(part("attn_output"), width, width),
      matrix(part("ffn_gate"), hidden, width),
      matrix(part("ffn_up"), hidden, width),
      matrix(part("ffn_down"), width, hidden, some),
    ];
  };
  return [
    matrix("token_embd", vocabulary, width),
    ...Array.from({ length: layers }, (_, n) => layer(n)).flat(),
    matrix("output", vocabulary, width, better),
  ];
}

/** Pieces of SentencePiece's kind: control tokens, bytes, and made-up words. */
function vocabulary(): [string, GgufValue][] {
  const hex = (b: number): string => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`;
  const control = ["<unk>", "<s>", "</s>"];
  const pieces = Array.from({ length: llama.vocabulary }, (_, i) =>
    i < 3 ? control[i] : i < 259 ? hex(i - 3) : `\u2581w${i}`,
  );
  return [
    ["tokenizer.ggml.model", "llama"],
    ["tokenizer.ggml.tokens", pieces],
    ["tokenizer.ggml.scores", Float32Array.from(pieces, (_, i) => -i)],
    ["tokenizer.ggml.token_type", Int32Array.from(pieces, (_, i) => (i === 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1))],
    ["tokenizer.ggml.bos_token_id", 1],
    ["tokenizer.ggml.eos_token_id", 2],
    ["tokenizer.ggml.unknown_token_id", 0],
  ];
}

/** The file's bytes: matrices of the type, norms in f32. */
export function llamaGguf(type: LlamaType, shape: LlamaShape = llama): Uint8Array {
  const { width, layers, heads, kvHeads, hidden, context } = shape;
  const next = randomNumbers(1);
  const tensors = new Map<string, { type: GgufType; shape: number[]; bytes: Uint8Array }>();
  // Matrices of one type and shape are equal: to quantise all 143 million weights takes half a minute.
  const made = new Map<string, Uint8Array>();
  for (const { name, type: as, rows, columns } of llamaMatrices(type, shape)) {
    const key = `${as} ${rows} ${columns}`;
    if (!made.has(key)) {
      const scale = Math.sqrt(3 / columns);
      const values = new Float32Array(rows * columns).map(() => next() * scale);
      made.set(key, quantize(as, values));
    }
    tensors.set(`${name}.weight`, { type: as, shape: [rows, columns], bytes: made.get(key)! });
  }
  const norms = Array.from({ length: layers }, (_, n) => [`blk.${n}.attn_norm`, `blk.${n}.ffn_norm`]).flat();
  for (const name of [...norms, "output_norm"]) {
    const bytes = quantize("F32", new Float32Array(width).fill(1));
    tensors.set(`${name}.weight`, { type: "F32", shape: [width], bytes });
  }
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", "llama"],
    ["general.name", "random"],
    ["llama.block_count", layers],
    ["llama.context_length", context],
    ["llama.embedding_length", width],
    ["llama.feed_forward_length", hidden],
    ["llama.attention.head_count", heads],
    ["llama.attention.head_count_kv", kvHeads],
    ["llama.rope.dimension_count", width / heads],
    ["llama.rope.freq_base", 10_000],
    ["llama.attention.layer_norm_rms_epsilon", 1e-5],
    ...vocabulary(),
  ]);
  const types = new Map([
    ["llama.attention.layer_norm_rms_epsilon", "f32" as const],
    ["llama.rope.freq_base", "f32" as const],
  ]);
  return writeGguf({ metadata, types, tensors });
}
