/** What sentence-transformers keeps beside an encoder: against its definitions, on the states of the naive implementation. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { type EmbeddingOptions, type EmbedOptions, embeddings } from "../../src/tasks/embed.ts";
import { FormatError, InputError, UnsupportedOpError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { encodeModel, node } from "../onnx/encode.ts";
import { bertJson, cls, folderOf, naiveOf, separator, shape, tokenizer } from "./encoder-folders.ts";

const options = { device: "wasm", threads: 1 } as const;
const { width } = shape;
const naive = naiveOf("bert");
/** "The cat sat". */
const sentence = [cls, 5, 6, 7, separator];
const states = naive.bert(sentence);
const perElement = (of: (column: number[]) => number, rows: readonly ArrayLike<number>[] = states): number[] =>
  Array.from({ length: width }, (_, j) => of(rows.map((row) => row[j])));
const sum = (column: readonly number[]): number => column.reduce((a, b) => a + b, 0);
const factorial = (n: number): number => (n < 2 ? 1 : n * factorial(n - 1));

const pooled: Record<string, number[]> = {
  cls_token: perElement((c) => c[0]),
  max_tokens: perElement((c) => Math.max(...c)),
  mean_tokens: perElement((c) => sum(c) / 5),
  mean_sqrt_len_tokens: perElement((c) => sum(c) / Math.sqrt(5)),
  weightedmean_tokens: perElement((c) => sum(c.map((x, i) => x * (i + 1))) / 15),
  lasttoken: perElement((c) => c[4]),
};
const flags = (...on: string[]): object => ({
  word_embedding_dimension: width,
  ...Object.fromEntries(Object.keys(pooled).map((name) => [`pooling_mode_${name}`, on.includes(name)])),
});
const close = (got: ArrayLike<number>, want: ArrayLike<number>): void => {
  expect(got.length).toBe(want.length);
  expect(Math.max(...Array.from(got, (x, i) => Math.abs(x - want[i])))).toBeLessThan(1e-4);
};
const module = (kind: string, path = ""): object => ({ type: `sentence_transformers.models.${kind}`, path });
const modules = (...after: object[]): object => [module("Transformer"), ...after];

type Given = Pick<EmbeddingOptions, "pooling" | "normalize">;
async function vectorIn(path: string, given: Given = {}, text = "the cat sat", how: EmbedOptions = {}) {
  using model = await embeddings(path, { ...options, ...given });
  const v = await model.embed(text, how);
  expect(model.width).toBe(v.length);
  return v;
}
const raw = { normalize: false };

/** A graph whose tokens' states are rows of a table: those of "the cat sat" above, each where its token's number is. */
async function exportedOf(files: Record<string, object>): Promise<string> {
  const table = new Float32Array(shape.vocabSize * width);
  for (const [i, id] of sentence.entries()) table.set(states[i], id * width);
  const path = await folderOf("bert", files);
  const graph = encodeModel({
    opset: 17,
    inputs: [{ name: "input_ids", dtype: "i64", shape: ["batch", "tokens"] }],
    nodes: [node("Gather", ["w", "input_ids"], ["last_hidden_state"])],
    outputs: [{ name: "last_hidden_state", dtype: "f32", shape: ["batch", "tokens", width] }],
    initializers: { w: { dtype: "f32", shape: [shape.vocabSize, width], data: table } },
  });
  await mkdir(join(path, "onnx"));
  await writeFile(join(path, "onnx/model.onnx"), graph);
  return join(path, "onnx/model.onnx");
}

describe.each([
  ["safetensors", (files: Record<string, object>) => folderOf("bert", files)],
  ["an exported graph", exportedOf],
])("pooling of %s", (_, folder) => {
  const configured = (json: object) => folder({ "1_Pooling/config.json": json });

  test.each(Object.keys(pooled))("%s", async (name) => {
    close(await vectorIn(await configured(flags(name)), raw), pooled[name]);
  });

  test("of several ways, one behind the other, by flags, names or options", async () => {
    const all = Object.values(pooled).flat();
    close(await vectorIn(await configured(flags(...Object.keys(pooled))), raw), all);
    const two = [...pooled["cls_token"], ...pooled["mean_tokens"]];
    close(await vectorIn(await configured(flags("mean_tokens", "cls_token")), raw), two);
    close(await vectorIn(await configured({ pooling_mode: ["cls", "mean"] }), raw), two);
    const turned = [...pooled["mean_tokens"], ...pooled["cls_token"]];
    close(await vectorIn(await configured({ pooling_mode: ["mean", "cls"] }), raw), turned);
    for (const name of ["lasttoken", "mean_sqrt_len_tokens"])
      close(await vectorIn(await configured({ pooling_mode: name }), raw), pooled[name]);
    const path = await configured(flags("max_tokens"));
    close(await vectorIn(path, { ...raw, pooling: ["mean", "cls"] }), two);
    close(await vectorIn(path, { ...raw, pooling: "mean_sqrt_len" }), pooled["mean_sqrt_len_tokens"]);
  });

  test("texts of several lengths together are each alone", async () => {
    using model = await embeddings(await configured(flags(...Object.keys(pooled))), options);
    const texts = ["the cat sat", "dog", "the cat sat on the mat.", ""];
    const together = await model.embed(texts);
    for (const [i, text] of texts.entries()) close(together[i], await model.embed(text));
  });
});

test("ways that are not known are refused, and none at all", async () => {
  const open = async (json: object) => embeddings(await folderOf("bert", { "1_Pooling/config.json": json }), options);
  await expect(open({ ...flags("cls_token"), pooling_mode_odd_tokens: true })).rejects.toThrow(UnsupportedOpError);
  await expect(open({ pooling_mode: "first" })).rejects.toThrow(
    /pooling by first is not supported; pass \{ pooling \}/,
  );
  await expect(open(flags())).rejects.toThrow(/none of the ways to pool is true/);
});

describe("modules.json", () => {
  test("says where pooling is, and whether vectors get length 1", async () => {
    const files = { "2_Pooling/config.json": flags("cls_token"), "1_Pooling/config.json": flags("mean_tokens") };
    const pooling = module("Pooling", "2_Pooling");
    const apart = await folderOf("bert", { ...files, "modules.json": modules(pooling) });
    close(await vectorIn(apart), pooled["cls_token"]);
    const unit = pooled["cls_token"].map((x) => x / Math.hypot(...pooled["cls_token"]));
    close(await vectorIn(apart, { normalize: true }), unit);
    const scaled = {
      ...files,
      "modules.json": modules(pooling, module("Dropout"), module("Normalize", "3_Normalize")),
    };
    close(await vectorIn(await folderOf("bert", scaled)), unit);
    close(await vectorIn(await folderOf("bert", scaled), raw), pooled["cls_token"]);
    // Where there is none, they do.
    close(await vectorIn(await folderOf("bert", { "1_Pooling/config.json": flags("cls_token") })), unit);
  });

  const f32 = (dims: number[], of: (i: number) => number): HostTensor => ({
    dtype: "f32",
    shape: dims,
    data: Float32Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => of(i)),
  });
  const weight = f32([3, width], (i) => Math.sin(i * i));
  const bias = f32([3], (i) => i / 4);
  const dense = async (json: object, tensors: Record<string, HostTensor>, after: object[] = []) => {
    const path = await folderOf("bert", {
      "1_Pooling/config.json": flags("mean_tokens"),
      "2_Dense/config.json": { in_features: width, out_features: 3, ...json },
      "modules.json": modules(module("Pooling", "1_Pooling"), module("Dense", "2_Dense"), ...after),
    });
    await writeFile(join(path, "2_Dense/model.safetensors"), writeSafetensors(new Map(Object.entries(tensors))));
    return path;
  };
  const both = { "linear.weight": weight, "linear.bias": bias };
  const lines = (v: readonly number[], offset: boolean): number[] =>
    [0, 1, 2].map((i) => sum(v.map((x, j) => x * Math.fround(Math.sin((i * width + j) ** 2)))) + (offset ? i / 4 : 0));

  test("a Dense layer after pooling, with its activation", async () => {
    const mean = pooled["mean_tokens"];
    const named = (name: string) => ({ bias: true, activation_function: `torch.nn.modules.activation.${name}` });
    close(await vectorIn(await dense(named("Tanh"), both)), lines(mean, true).map(Math.tanh));
    close(await vectorIn(await dense({}, both)), lines(mean, true).map(Math.tanh));
    close(
      await vectorIn(await dense(named("ReLU"), both)),
      lines(mean, true).map((x) => Math.max(0, x)),
    );
    // By its series; from 4 on it is 1 to seven digits.
    const erf = (x: number): number =>
      Math.abs(x) > 4
        ? Math.sign(x)
        : (2 / Math.sqrt(Math.PI)) *
          sum(Array.from({ length: 80 }, (_, n) => ((-1) ** n * x ** (2 * n + 1)) / (factorial(n) * (2 * n + 1))));
    close(
      await vectorIn(await dense(named("GELU"), both)),
      lines(mean, true).map((x) => (x / 2) * (1 + erf(x / Math.SQRT2))),
    );
    const identity = { bias: false, activation_function: "torch.nn.modules.linear.Identity" };
    const plain = await dense(identity, { "linear.weight": weight }, [module("Normalize", "3_Normalize")]);
    const want = lines(mean, false);
    close(await vectorIn(plain, raw), want);
    close(
      await vectorIn(plain),
      want.map((x) => x / Math.hypot(...want)),
    );
    close(await vectorIn(plain, { ...raw, pooling: "cls" }), lines(pooled["cls_token"], false));
    await expect(vectorIn(plain, { pooling: ["cls", "mean"] })).rejects.toThrow(
      /"2_Dense" takes vectors of 16 elements and gets 32/,
    );
  });

  test("a Dense layer adds to what it is given where it says so", async () => {
    const mean = pooled["mean_tokens"];
    const adds = { bias: false, use_residual: true };
    const square = f32([width, width], (i) => (i % (width + 1) === 0 ? 2 : 0));
    const doubled = await dense({ ...adds, out_features: width }, { "linear.weight": square });
    close(
      await vectorIn(doubled, raw),
      mean.map((x) => Math.tanh(2 * x) + x),
    );
    const projected = { "linear.weight": weight, "residual.weight": f32([3, width], (i) => Math.cos(i)) };
    const residual = [0, 1, 2].map((i) => sum(mean.map((x, j) => x * Math.cos(i * width + j))));
    close(
      await vectorIn(await dense(adds, projected), raw),
      lines(mean, false).map((x, i) => Math.tanh(x) + residual[i]),
    );
    await expect(embeddings(await dense(adds, { "linear.weight": weight }), options)).rejects.toThrow(
      /has use_residual, and no residual\.weight \[3, 16\]/,
    );
  });

  test("what can't be done is refused by name", async () => {
    const odd = dense({ activation_function: "torch.nn.modules.activation.Mish" }, both);
    await expect(embeddings(await odd, options)).rejects.toThrow(
      /2_Dense\/config\.json: a layer of Mish is not supported/,
    );
    const tokens = dense({ module_input_name: "token_embeddings" }, both);
    await expect(embeddings(await tokens, options)).rejects.toThrow(UnsupportedOpError);
    await expect(embeddings(await dense({ bias: true }, { "linear.weight": weight }), options)).rejects.toThrow(
      FormatError,
    );
    const open = async (list: unknown, more: Record<string, object> = {}) =>
      embeddings(await folderOf("bert", { "modules.json": list as object, ...more }), options);
    const pooling = { "1_Pooling/config.json": flags("mean_tokens") };
    const pool = module("Pooling", "1_Pooling");
    await expect(open(modules(pool, module("CNN", "2_CNN")), pooling)).rejects.toThrow(
      /the module "CNN" of modules\.json/,
    );
    await expect(open(modules(module("Normalize"), pool), pooling)).rejects.toThrow(
      /the module "Pooling".*one Pooling, then/,
    );
    await expect(
      open(modules(pool, module("Dense", "2_Dense")), { ...pooling, "2_Dense/config.json": {} }),
    ).rejects.toThrow(/no 2_Dense\/model\.safetensors; weights in pytorch_model\.bin are not read/);
    await expect(open([module("Transformer", "0_Transformer"), pool], pooling)).rejects.toThrow(
      /begins with "Transformer" in "0_/,
    );
    await expect(open([module("WordEmbeddings")], pooling)).rejects.toThrow(UnsupportedOpError);
    await expect(open(modules(pool))).rejects.toThrow(InputError);
    await expect(open(modules(module("Normalize")))).rejects.toThrow(
      /modules\.json has no Pooling; pass \{ pooling \}/,
    );
    for (const broken of [{}, [1], [{ type: 5 }]]) await expect(open(broken)).rejects.toThrow(/is no list of modules/);
    await expect(open(modules(module("Pooling", "../outside")))).rejects.toThrow(/outside its own folder/);
  });
});

describe("prompts", () => {
  const prompts = { prompts: { query: "the cat ", document: "" }, default_prompt_name: "query" };
  const folder = (json: object, pooling: object = flags("mean_tokens")) =>
    folderOf("bert", { "config_sentence_transformers.json": json, "1_Pooling/config.json": pooling });

  test("the default one, another one, or none, is put in front", async () => {
    const path = await folder(prompts);
    const want = pooled["mean_tokens"];
    close(await vectorIn(path, raw, "sat"), want);
    close(await vectorIn(path, raw, "the cat sat", { prompt: "" }), want);
    close(await vectorIn(path, raw, "the cat sat", { prompt: "document" }), want);
    const silent = await folder({ ...prompts, default_prompt_name: null });
    close(await vectorIn(silent, raw), want);
    close(await vectorIn(silent, raw, "sat", { prompt: "query" }), want);
    using model = await embeddings(silent, options);
    expect(model.prompts).toEqual(prompts.prompts);
    for (const prompt of ["passage", 5, "toString"])
      await expect(model.embed("sat", { prompt: prompt as string })).rejects.toThrow(
        new InputError(`embed: the model has no prompt ${JSON.stringify(prompt)}; there are: query, document`),
      );
    await expect(embeddings(await folder({ ...prompts, default_prompt_name: "odd" }), options)).rejects.toThrow(
      FormatError,
    );
  });

  test("is left out of the vector where the model says so", async () => {
    const without = (on: string) => folder(prompts, { ...flags(on), include_prompt: false });
    const rows = states.slice(3);
    for (const [on, want] of [
      ["mean_tokens", perElement((c) => sum(c) / 2, rows)],
      ["max_tokens", perElement((c) => Math.max(...c), rows)],
      ["mean_sqrt_len_tokens", perElement((c) => sum(c) / Math.SQRT2, rows)],
      ["weightedmean_tokens", perElement(([a, b]) => (4 * a + 5 * b) / 9, rows)],
      ["cls_token", pooled["cls_token"]],
    ] as const)
      close(await vectorIn(await without(on), raw, "sat"), want);
  });
});

test("files around the graph in onnx/ count for it", async () => {
  const path = await exportedOf({
    "1_Pooling/config.json": flags("lasttoken"),
    "config.json": bertJson,
    "tokenizer.json": tokenizer,
    "config_sentence_transformers.json": { prompts: { query: "the cat " }, default_prompt_name: "query" },
  });
  close(await vectorIn(path, raw, "sat"), pooled["lasttoken"]);
});
