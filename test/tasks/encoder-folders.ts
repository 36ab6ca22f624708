/** Folders of BERT, DistilBERT, RoBERTa and XLM-RoBERTa with small random weights and a few words. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import type { Matrices } from "../goldens/decoder.ts";
import { NaiveEncoder } from "../goldens/encoder.ts";
import { bertWeights, randomWeights } from "../models/tiny-encoders.ts";
import { encodeModel, node } from "../onnx/encode.ts";

const root = await mkdtemp(join(tmpdir(), "forwardpass-encoders-"));
afterAll(() => rm(root, { recursive: true }));

export const words = [
  "[PAD]",
  "[UNK]",
  "[CLS]",
  "[SEP]",
  "[MASK]",
  "the",
  "cat",
  "sat",
  "on",
  "mat",
  "##s",
  "dog",
  ".",
];
export const cls = 2;
export const [separator, mask] = [3, 4];
export const tokenizer = {
  version: "1.0",
  added_tokens: words.slice(0, 5).map((content, id) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  })),
  normalizer: {
    type: "BertNormalizer",
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  pre_tokenizer: { type: "BertPreTokenizer" },
  post_processor: {
    type: "TemplateProcessing",
    single: [
      { SpecialToken: { id: "[CLS]", type_id: 0 } },
      { Sequence: { id: "A", type_id: 0 } },
      { SpecialToken: { id: "[SEP]", type_id: 0 } },
    ],
    pair: [
      { SpecialToken: { id: "[CLS]", type_id: 0 } },
      { Sequence: { id: "A", type_id: 0 } },
      { SpecialToken: { id: "[SEP]", type_id: 0 } },
      { Sequence: { id: "B", type_id: 1 } },
      { SpecialToken: { id: "[SEP]", type_id: 1 } },
    ],
    special_tokens: {
      "[CLS]": { id: "[CLS]", ids: [cls], tokens: ["[CLS]"] },
      "[SEP]": { id: "[SEP]", ids: [separator], tokens: ["[SEP]"] },
    },
  },
  decoder: { type: "WordPiece", prefix: "##", cleanup: true },
  model: {
    type: "WordPiece",
    unk_token: "[UNK]",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(words.map((w, i) => [w, i])),
  },
};

export const shape = { vocabSize: words.length, width: 16, heads: 2, hidden: 24, layers: 2, positions: 12 };
export const config = { ...shape, epsilon: 1e-5, activation: "gelu" } as const;
export const weights = randomWeights({
  ...bertWeights(config, 3),
  "qa_outputs.weight": [2, shape.width],
  "qa_outputs.bias": [2],
});

export const bertJson = {
  model_type: "bert",
  vocab_size: shape.vocabSize,
  hidden_size: shape.width,
  num_attention_heads: shape.heads,
  intermediate_size: shape.hidden,
  num_hidden_layers: shape.layers,
  max_position_embeddings: shape.positions,
  layer_norm_eps: config.epsilon,
  hidden_act: "gelu",
};
/** Names as their checkpoints have them. */
export const kinds: Record<string, { json: object; name: (bert: string) => string; first: number; types: number }> = {
  bert: {
    json: bertJson,
    name: (n) => (/^(embeddings|encoder|pooler)/.test(n) ? `bert.${n}` : n),
    first: 0,
    types: 2,
  },
  distilbert: {
    json: {
      model_type: "distilbert",
      vocab_size: shape.vocabSize,
      dim: shape.width,
      n_heads: shape.heads,
      hidden_dim: shape.hidden,
      n_layers: shape.layers,
      max_position_embeddings: shape.positions,
      layer_norm_eps: config.epsilon,
      activation: "gelu",
    },
    name: (n) =>
      n
        .replace(/^embeddings/, "distilbert.embeddings")
        .replace(/^encoder\.layer\.(\d)\.attention\.self\.(.)\w+/, "distilbert.transformer.layer.$1.attention.$2_lin")
        .replace(/^encoder\.layer\.(\d)\.attention\.output\.dense/, "distilbert.transformer.layer.$1.attention.out_lin")
        .replace(/^encoder\.layer\.(\d)\.attention\.output\.LayerNorm/, "distilbert.transformer.layer.$1.sa_layer_norm")
        .replace(/^encoder\.layer\.(\d)\.intermediate\.dense/, "distilbert.transformer.layer.$1.ffn.lin1")
        .replace(/^encoder\.layer\.(\d)\.output\.dense/, "distilbert.transformer.layer.$1.ffn.lin2")
        .replace(/^encoder\.layer\.(\d)\.output\.LayerNorm/, "distilbert.transformer.layer.$1.output_layer_norm")
        .replace("cls.predictions.transform.dense", "vocab_transform")
        .replace("cls.predictions.transform.LayerNorm", "vocab_layer_norm")
        .replace(/^cls\.predictions\.(decoder\.)?(weight|bias)/, "vocab_projector.$2")
        .replace(/^pooler\.dense/, "pre_classifier"),
    first: 0,
    types: 0,
  },
  roberta: {
    json: { ...bertJson, model_type: "roberta", pad_token_id: 1 },
    name: (n) =>
      (/^(embeddings|encoder)/.test(n) ? `roberta.${n}` : n)
        .replace("cls.predictions.transform.dense", "lm_head.dense")
        .replace("cls.predictions.transform.LayerNorm", "lm_head.layer_norm")
        .replace("cls.predictions.bias", "lm_head.bias")
        .replace("cls.predictions.decoder", "lm_head.decoder")
        .replace(/^classifier/, "classifier.out_proj")
        .replace(/^pooler\.dense/, "classifier.dense"),
    first: 2,
    types: 2,
  },
};
// Positions as RoBERTa's, and one type.
kinds["xlm-roberta"] = {
  ...kinds["roberta"],
  json: { ...bertJson, model_type: "xlm-roberta", pad_token_id: 1 },
  types: 1,
};

/** As many types of tokens as a kind has. */
export function weightsOf(kind: string): Map<string, HostTensor> {
  const { types } = kinds[kind];
  const name = "embeddings.token_type_embeddings.weight";
  const own = new Map(weights);
  own.delete(name);
  const table = (weights.get(name)!.data as Float32Array).slice(0, types * shape.width);
  if (types > 0) own.set(name, { dtype: "f32", shape: [types, shape.width], data: table });
  return own;
}

export const naiveOf = (kind: string): NaiveEncoder => new NaiveEncoder(config, weightsOf(kind) as unknown as Matrices);

/**
 * @param more files besides, or in place of, its own
 * @param changed weights besides, or in place of, its own, by BERT's names
 */
export async function folderOf(
  kind: string,
  more: Record<string, object> = {},
  changed: ReadonlyMap<string, HostTensor> = new Map(),
): Promise<string> {
  const path = await mkdtemp(join(root, `${kind}-`));
  const { json, name } = kinds[kind];
  const stored = new Map([...weightsOf(kind), ...changed].map(([n, t]): [string, HostTensor] => [name(n), t]));
  await writeFile(join(path, "model.safetensors"), writeSafetensors(stored));
  const files: Record<string, object> = { "config.json": json, "tokenizer.json": tokenizer, ...more };
  for (const [file, content] of Object.entries(files)) {
    await mkdir(join(path, file, ".."), { recursive: true });
    await writeFile(join(path, file), JSON.stringify(content));
  }
  return path;
}

/** A folder with this graph in place of safetensors. */
export async function exportedFolder(onnx: Uint8Array, more: Record<string, object> = {}): Promise<string> {
  const path = await folderOf("bert", more);
  await rm(join(path, "model.safetensors"));
  await mkdir(join(path, "onnx"));
  await writeFile(join(path, "onnx/model.onnx"), onnx);
  return path;
}

/** Each token's row of a table. */
export const tableGraph = (data: Float32Array, width: number, output: string): Uint8Array =>
  encodeModel({
    opset: 17,
    inputs: ["input_ids", "attention_mask"].map((name) => ({ name, dtype: "i64", shape: ["batch", "tokens"] })),
    nodes: [node("Gather", ["w", "input_ids"], [output])],
    outputs: [{ name: output, dtype: "f32", shape: ["batch", "tokens", width] }],
    initializers: { w: { dtype: "f32", shape: [data.length / width, width], data } },
  });
