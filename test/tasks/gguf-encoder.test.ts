/** Encoders in GGUF files: the vectors of the same weights in a folder, and of the naive implementation. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { vocabularyMetadata } from "../../src/formats/decoder/gguf-vocabulary.ts";
import type { GgufValue } from "../../src/formats/gguf/index.ts";
import { embeddings } from "../../src/tasks/embed.ts";
import { FormatError, UnsupportedOpError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import type { Matrices } from "../goldens/decoder.ts";
import { NaiveEncoder } from "../goldens/encoder.ts";
import { readUnigramModel } from "../goldens/sentencepiece-model.ts";
import { bertWeights, randomWeights } from "../models/tiny-encoders.ts";
import { bertGguf, bertMetadata, wordPieceMetadata } from "./bert-gguf.ts";
import { config, folderOf, shape, weights, words } from "./encoder-folders.ts";

const options = { device: "wasm", threads: 1 } as const;

const wordPieces = wordPieceMetadata(words);
const metadataOf = (c: typeof shape, more: Record<string, GgufValue>) =>
  bertMetadata({ ...c, epsilon: config.epsilon }, more);

describe("BERT", () => {
  test("gives the folder's vectors, pooled as the file says", async () => {
    const texts = ["The cats sat on the mat.", "dog"];
    for (const [poolingType, pooling] of [
      [1, "mean"],
      [2, "cls"],
      [3, "lasttoken"],
    ] as const) {
      using folder = await embeddings(await folderOf("bert"), { ...options, pooling });
      const bytes = bertGguf(metadataOf(shape, { ...wordPieces, "bert.pooling_type": poolingType }), weights);
      const path = join(await folderOf("bert"), "bert.gguf");
      await writeFile(path, bytes);
      using model = await embeddings(path, options);
      expect(await model.embed(texts)).toEqual(await folder.embed(texts));
    }
  });

  test("mistakes are told", async () => {
    const open = (more: Record<string, GgufValue>, all: ReadonlyMap<string, HostTensor> = weights) =>
      embeddings(bertGguf(metadataOf(shape, { ...wordPieces, ...more }), all), options);
    await expect(open({ "general.architecture": "t5" })).rejects.toThrow(/"t5" are not supported; known: bert/);
    await expect(open({ "bert.pooling_type": 5 })).rejects.toThrow(UnsupportedOpError);
    await expect(open({ "tokenizer.ggml.model": "none" })).rejects.toThrow(/no vocabulary in it/);
    await expect(open({}, new Map([...weights].filter(([n]) => !n.includes("position"))))).rejects.toThrow(FormatError);
  });
});

test("RoBERTa: a byte-level vocabulary with marks around the text", async () => {
  const pieces = ["<s>", "<pad>", "</s>", "<unk>", "a", "b", "Ġ", "c", "<mask>", "Ġa"];
  const c = { ...config, vocabSize: pieces.length };
  const own = randomWeights(bertWeights(c, 1));
  const metadata = metadataOf(c, {
    "bert.pooling_type": 1,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "roberta-bpe",
    "tokenizer.ggml.tokens": pieces,
    "tokenizer.ggml.token_type": Int32Array.of(3, 3, 3, 3, 1, 1, 1, 1, 3, 1),
    "tokenizer.ggml.merges": ["Ġ a"],
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.add_bos_token": true,
    "tokenizer.ggml.add_eos_token": true,
  });
  using model = await embeddings(bertGguf(metadata, own), { ...options, normalize: false });
  const states = new NaiveEncoder(c, own as unknown as Matrices).bert([0, 5, 9, 2]);
  const got = await model.embed("b a");
  got.forEach((x, j) => {
    expect(x).toBeCloseTo(
      states.reduce((sum, s) => sum + s[j] / states.length, 0),
      4,
    );
  });
});

test("XLM-RoBERTa: a unigram vocabulary with marks around the text, one type, positions from the first row", async () => {
  const v = readUnigramModel(fileURLToPath(new URL("../goldens/unigram-rules.model", import.meta.url)));
  const c = { ...config, vocabSize: v.pieces.length, positions: 20 };
  const own = randomWeights(bertWeights(c, 1));
  const types = own.get("embeddings.token_type_embeddings.weight")!;
  own.set("embeddings.token_type_embeddings.weight", {
    dtype: "f32",
    shape: [1, c.width],
    data: (types.data as Float32Array).slice(0, c.width),
  });
  const marked = Object.fromEntries(vocabularyMetadata({ ...v, addBegin: true, addEnd: true }));
  using model = await embeddings(bertGguf(metadataOf(c, { ...marked, "bert.pooling_type": 2 }), own), options);
  const naive = new NaiveEncoder(c, own as unknown as Matrices);
  const id = (piece: string): number => v.pieces.indexOf(piece);
  const [the, of] = [id("▁the"), id("▁of")];
  expect(Math.min(the, of)).toBeGreaterThan(0);
  const [state] = naive.bert([id("<s>"), the, of, the, id("</s>")]);
  const want = [...state].map((x) => x / Math.hypot(...state));
  const got = await model.embed("  the  of\tthe ");
  expect(Math.max(...got.map((x, i) => Math.abs(x - want[i])))).toBeLessThan(1e-4);
});
