/** How much of a text encoders read, in which letters, and at which positions. */
import { expect, test } from "vitest";
import { embeddings } from "../../src/tasks/embed.ts";
import { fillMask } from "../../src/tasks/fill-mask.ts";
import { reranking } from "../../src/tasks/reranking.ts";
import { textClassification } from "../../src/tasks/text-classification.ts";
import { tokenClassification } from "../../src/tasks/token-classification.ts";
import { zeroShotClassification } from "../../src/tasks/zero-shot-classification.ts";
import { InputError } from "../../src/tensor/errors.ts";
import { encodeModel, node } from "../onnx/encode.ts";
import {
  bertJson,
  cls,
  exportedFolder,
  folderOf,
  kinds,
  naiveOf,
  separator,
  shape,
  tableGraph,
  tokenizer,
} from "./encoder-folders.ts";

const options = { device: "wasm", threads: 1 } as const;

/** The same folder with safetensors and as a graph. */
async function bothWith(more: Record<string, object>): Promise<string[]> {
  const w = Float32Array.from({ length: 13 * 4 }, (_, i) => Math.sin(i * i));
  return [await folderOf("bert", more), await exportedFolder(tableGraph(w, 4, "last_hidden_state"), more)];
}

test.each([
  ["sentence_bert_config.json", 4, { max_seq_length: 4, do_lower_case: false }, {}],
  ["tokenizer_config.json", 4, undefined, { model_max_length: 4 }],
  ["the former of both", 4, { max_seq_length: 4 }, { model_max_length: 3 }],
  ["the latter where the former says nothing", 4, { max_seq_length: null }, { model_max_length: 4 }],
  ["config.json of positions", shape.positions, undefined, { model_max_length: 1e30 }],
  ["config.json where more is said", shape.positions, { max_seq_length: 512 }, { model_max_length: 512 }],
])("texts are cut where they are said to be too long, by %s", async (_, room, sentences, tokenizing) => {
  const more = {
    "tokenizer_config.json": tokenizing,
    ...(sentences && { "sentence_bert_config.json": sentences }),
  };
  for (const path of await bothWith(more)) {
    using model = await embeddings(path, options);
    // Besides two marks.
    const [long, cut, shorter] = await model.embed([40, room - 2, room - 3].map((n) => `cat ${"the ".repeat(n - 1)}`));
    expect(long).toEqual(cut);
    expect(shorter).not.toEqual(cut);
  }
});

test.each(["roberta", "distilbert", "xlm-roberta"])("texts are cut by an older name of the file: %s", async (kind) => {
  const [old, other] = [`sentence_${kind}_config.json`, "sentence_albert_config.json"];
  const config = { "config.json": kinds[kind].json };
  const table = Float32Array.from({ length: 13 * 4 }, (_, i) => Math.sin(i * i));
  const graph = tableGraph(table, 4, "last_hidden_state");
  for (const [files, room] of [
    [{ [old]: { max_seq_length: 4 }, [other]: { max_seq_length: 3 } }, 4],
    [{ [old]: { max_seq_length: 4 }, "sentence_bert_config.json": { max_seq_length: 5 } }, 5],
  ] as const)
    for (const path of [await folderOf(kind, files), await exportedFolder(graph, { ...config, ...files })]) {
      using model = await embeddings(path, options);
      const texts = [40, room - 2, room - 3].map((n) => `cat ${"the ".repeat(n - 1)}`);
      const [long, cut, shorter] = await model.embed(texts);
      expect(long).toEqual(cut);
      expect(shorter).not.toEqual(cut);
    }
});

const mark = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
const itself = { Sequence: { id: "A", type_id: 0 } };
test.each([
  ["none", 0, null],
  ["one before it", 1, [mark("[CLS]"), itself]],
  ["one behind it", 1, [itself, mark("[SEP]")]],
  ["two and three", 5, [mark("[CLS]"), mark("[SEP]"), itself, mark("[SEP]"), mark("[CLS]"), mark("[SEP]")]],
])("a text that is too long keeps its beginning and its marks: %s", async (_, marks, single) => {
  const post_processor = single && { ...tokenizer.post_processor, single };
  for (const path of await bothWith({ "tokenizer.json": { ...tokenizer, post_processor } })) {
    const room = shape.positions - marks;
    using model = await embeddings(path, options);
    const [whole, cut] = await model.embed(["the ".repeat(room), `${"the ".repeat(room)} dog sat on mat.`]);
    expect(cut).toEqual(whole);
  }
});

// All that is but the text: two marks, or three and the other text.
test.each<[task: string, limit: number, run: (path: string) => Promise<unknown>]>([
  ["embeddings", 2, async (path) => (await embeddings(path, options)).embed("the cat")],
  ["textClassification", 2, async (path) => (await textClassification(path, options)).classify("the cat")],
  ["tokenClassification", 2, async (path) => (await tokenClassification(path, options)).classify("the cat")],
  ["fillMask", 2, async (path) => (await fillMask(path, options)).fill("the [MASK]")],
  ["reranking", 4, async (path) => (await reranking(path, options)).rank("cat", ["the cat"])],
  [
    "zeroShotClassification",
    4,
    async (path) => (await zeroShotClassification(path, options)).classify("the cat", ["cat"], { hypothesis: "{}" }),
  ],
])("where there is no room for a text, %s fails", async (_, limit, run) => {
  const id2label = { 0: "contradiction", 1: "neutral", 2: "entailment" };
  const more = { "config.json": { ...bertJson, id2label } };
  for (const least of [limit, 1]) {
    const result = run(await folderOf("bert", { ...more, "tokenizer_config.json": { model_max_length: least } }));
    await expect(result).rejects.toThrow(InputError);
    await expect(result).rejects.toThrow(/leaves? no room/);
  }
});

/** A graph that fails where a position is not in the table: positions count from `first` on. */
const placedGraph = (first: number): Uint8Array =>
  encodeModel({
    opset: 17,
    inputs: [{ name: "input_ids", dtype: "i64", shape: ["batch", "tokens"] }],
    nodes: [
      node("Gather", ["words", "input_ids"], ["found"]),
      node("Shape", ["input_ids"], ["shape"]),
      node("Gather", ["shape", "one"], ["length"]),
      node("Add", ["length", "first"], ["end"]),
      node("Range", ["first", "end", "one"], ["places"]),
      node("Gather", ["table", "places"], ["placed"]),
      node("Add", ["found", "placed"], ["last_hidden_state"]),
    ],
    outputs: [{ name: "last_hidden_state", dtype: "f32", shape: ["batch", "tokens", 4] }],
    initializers: {
      words: { dtype: "f32", shape: [13, 4], data: Float32Array.from({ length: 13 * 4 }, (_, i) => Math.sin(i * i)) },
      table: { dtype: "f32", shape: [shape.positions, 4], data: new Float32Array(shape.positions * 4) },
      one: { dtype: "i64", shape: [], data: BigInt64Array.of(1n) },
      first: { dtype: "i64", shape: [], data: BigInt64Array.of(BigInt(first)) },
    },
  });

test.each([
  ["bert", 0, 0],
  ["roberta", 1, 2],
  ["xlm-roberta-xl", 1, 2],
  ["camembert", 5, 6],
  ["mpnet", 1, 2],
  ["mpnet", undefined, 2],
  ["data2vec-text", 1, 2],
  ["longformer", 1, 2],
  ["xmod", 3, 4],
] as const)("texts of an exported %s whose padding is %s are cut where its positions end", async (kind, pad, first) => {
  const json = { ...bertJson, model_type: kind, pad_token_id: pad };
  using model = await embeddings(await exportedFolder(placedGraph(first), { "config.json": json }), options);
  const room = shape.positions - first - 2;
  const [long, cut, shorter] = await model.embed([40, room, room - 1].map((n) => `cat ${"the ".repeat(n - 1)}`));
  expect(long).toEqual(cut);
  expect(shorter).not.toEqual(cut);
});

test.each(["bert", "roberta", "xlm-roberta"])("%s: padding that stands in a text", async (kind) => {
  const { json, first } = kinds[kind];
  // Of RoBERTa's kind the padding token is at its own position, and not counted.
  const padded = { ...json, pad_token_id: 0 };
  const start = first && 1;
  const texts = ["the [PAD] cat", "sat on the mat", "[PAD] [PAD] dog"];
  const given = [
    [cls, 5, 0, 6, separator],
    [cls, 7, 8, 5, 9, separator],
    [cls, 0, 0, 11, separator],
  ];
  using model = await embeddings(await folderOf(kind, { "config.json": padded }), { ...options, normalize: false });
  const got = await model.embed(texts);
  for (const [i, ids] of given.entries()) {
    const states = naiveOf(kind).bert(ids, start);
    const mean = Array.from({ length: shape.width }, (_, j) => states.reduce((sum, s) => sum + s[j] / ids.length, 0));
    expect(Math.max(...got[i].map((v, j) => Math.abs(v - mean[j])))).toBeLessThan(1e-4);
  }
});
