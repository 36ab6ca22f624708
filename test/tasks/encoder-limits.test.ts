/** How much of a text encoders read. */
import { expect, test } from "vitest";
import { embeddings } from "../../src/tasks/embed.ts";
import { encodeModel, node } from "../onnx/encode.ts";
import { bertJson, exportedFolder, folderOf, shape, tableGraph } from "./encoder-folders.ts";

const options = { device: "wasm", threads: 1 } as const;

test("texts are cut where sentence_bert_config.json says, also those of an exported graph", async () => {
  const more = { "sentence_bert_config.json": { max_seq_length: 4, do_lower_case: false } };
  const w = Float32Array.from({ length: 13 * 4 }, (_, i) => Math.sin(i * i));
  const graph = await exportedFolder(tableGraph(w, 4, "last_hidden_state"), more);
  for (const path of [graph, await folderOf("bert", more)]) {
    using model = await embeddings(path, options);
    const [long, cut, short] = await model.embed(["The cat sat on the mat.", "The cat", "The"]);
    expect(long).toEqual(cut);
    expect(short).not.toEqual(cut);
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
