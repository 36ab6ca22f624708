/** Folders of BERT, DistilBERT and RoBERTa with small random weights: vectors, gaps, and what is told of broken ones. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { embeddings } from "../../src/tasks/embed.ts";
import { fillMask } from "../../src/tasks/fill-mask.ts";
import { textClassification } from "../../src/tasks/text-classification.ts";
import { tokenClassification } from "../../src/tasks/token-classification.ts";
import { FormatError, InputError, UnsupportedOpError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import type { Matrices } from "../goldens/decoder.ts";
import { NaiveEncoder } from "../goldens/encoder.ts";
import { randomWeights } from "../models/tiny-encoders.ts";
import { encodeModel, node } from "../onnx/encode.ts";
import {
  bertJson,
  cls,
  config,
  exportedFolder,
  folderOf,
  kinds,
  mask,
  naiveOf,
  separator,
  shape,
  tableGraph,
  tokenizer,
  weights,
  weightsOf,
} from "./encoder-folders.ts";
import { tinyLlama2c } from "./tiny-llama2c.ts";

const options = { device: "wasm", threads: 1 } as const;
const sentence = "The cats sat on the mat.";
const tokens = [cls, 5, 6, 10, 7, 8, 5, 9, 12, separator];

for (const [kind, { first }] of Object.entries(kinds))
  describe(kind, () => {
    const own = naiveOf(kind);

    test("mean and first-token vectors, of length 1 or as they are", async () => {
      const states = own.bert(tokens, first);
      const mean = Array.from({ length: 16 }, (_, j) => states.reduce((sum, s) => sum + s[j] / states.length, 0));
      const unit = (v: ArrayLike<number>): number[] => Array.from(v, (x) => x / Math.hypot(...Array.from(v)));
      for (const [path, given, want] of [
        [await folderOf(kind), {}, unit(mean)],
        [await folderOf(kind), { normalize: false }, mean],
        [await folderOf(kind), { pooling: "cls" }, unit(states[0])],
        [await folderOf(kind, { "1_Pooling/config.json": { pooling_mode_cls_token: true } }), {}, unit(states[0])],
      ] as const) {
        using model = await embeddings(path, { ...options, ...given });
        const got = await model.embed(sentence);
        expect(Math.max(...got.map((v, i) => Math.abs(v - want[i])))).toBeLessThan(1e-4);
      }
    });

    test("words for gaps", async () => {
      using model = await fillMask(await folderOf(kind), options);
      expect(model.mask).toBe("[MASK]");
      const [all] = await model.fill("[MASK]", { count: shape.vocabSize });
      expect(all.find((w) => w.token === separator)!.word).toBe("[SEP]");
      const gaps = await model.fill("The [MASK] sat on the [MASK].", { count: 3 });
      const given = [cls, 5, mask, 7, 8, 5, mask, 12, separator];
      const states = own.bert(given, first);
      [2, 6].forEach((at, i) => {
        const logits = own.word(states[at]);
        const total = logits.reduce((sum, v) => sum + Math.exp(v), 0);
        const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a]).slice(0, 3);
        expect(gaps[i].map((g) => g.token)).toEqual(order);
        gaps[i].forEach(({ probability, token }) => {
          expect(probability).toBeCloseTo(Math.exp(logits[token]) / total, 4);
        });
      });
      await expect(model.fill("There is none.")).rejects.toThrow(InputError);
      await expect(model.fill("[MASK]", { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
      // Of a text that is too long the surroundings of each gap are read, also of one at its end.
      const room = shape.positions - first - 2;
      const long = Array.from({ length: 40 }, (_, i) => ["the", "cat", "sat", "on", "mat"][(i * i) % 5]);
      for (const gap of [17, 39]) long[gap] = "[MASK]";
      const parts = [17 - (room >> 1), 40 - room].map((at) => long.slice(at, at + room).join(" "));
      const each = await Promise.all(parts.map((part) => model.fill(part)));
      expect(await model.fill(long.join(" "))).toEqual(each.flat());
      expect(each.flat()).toHaveLength(2);
      await expect(model.fill("the ".repeat(40))).rejects.toThrow("fillMask: there is no [MASK] in the text");
    });

    test("classes of texts of any lengths together", async () => {
      const labels = ["calm", "glad", "sad"];
      const named = { ...kinds[kind].json, id2label: { 0: "calm", 1: "glad", 2: "sad" } };
      const squash = kind === "distilbert" ? (v: number) => Math.max(0, v) : Math.tanh;
      const logitsOf = (given: number[]) =>
        own.linear("classifier", own.linear("pooler.dense", own.bert(given, first)[0]).map(squash));
      using model = await textClassification(await folderOf(kind, { "config.json": named }), options);
      const results = await model.classify([sentence, "dog"]);
      for (const [i, given] of [tokens, [cls, 11, separator]].entries()) {
        const want = logitsOf(given);
        const total = want.reduce((sum, v) => sum + Math.exp(v), 0);
        expect(results[i].map((r) => r.label).sort()).toEqual(labels);
        for (const { label, score, logit } of results[i]) {
          const at = labels.indexOf(label);
          expect(logit).toBeCloseTo(want[at], 4);
          expect(score).toBeCloseTo(Math.exp(want[at]) / total, 4);
        }
        expect(results[i][0].score).toBe(Math.max(...results[i].map((r) => r.score)));
      }
      for (const [problem_type, score] of [
        ["multi_label_classification", (v: number) => 1 / (1 + Math.exp(-v))],
        ["regression", (v: number) => v],
      ] as const) {
        const said = { "config.json": { ...named, problem_type } };
        using apart = await textClassification(await folderOf(kind, said), options);
        for (const given of await apart.classify("dog")) expect(given.score).toBeCloseTo(score(given.logit), 6);
      }
    });
  });

test("checkpoints that call what norms learned gamma and beta", async () => {
  const path = await folderOf("bert");
  using want = await embeddings(path, options);
  using filler = await fillMask(path, options);
  const old = new Map(
    [...weights]
      .filter(([name]) => !/^(classifier|qa_outputs)/.test(name))
      .map(([name, t]) => [
        (name.startsWith("cls.") ? name : `bert.${name}`)
          .replace("LayerNorm.weight", "LayerNorm.gamma")
          .replace("LayerNorm.bias", "LayerNorm.beta"),
        t,
      ]),
  );
  const oldPath = await folderOf("bert");
  await writeFile(join(oldPath, "model.safetensors"), writeSafetensors(old));
  using got = await embeddings(oldPath, options);
  expect(await got.embed(sentence)).toEqual(await want.embed(sentence));
  using oldFiller = await fillMask(oldPath, options);
  expect(await oldFiller.fill("The [MASK] sat.")).toEqual(await filler.fill("The [MASK] sat."));
});

test.each(["bert", "distilbert", "roberta"])(
  "%s: a projection to words that is not the embedding again",
  async (kind) => {
    const { json, first } = kinds[kind];
    const name = "cls.predictions.decoder.weight";
    const bias = "cls.predictions.decoder.bias";
    const hasBias = kind !== "distilbert";
    const own = randomWeights({
      [name]: [shape.vocabSize, shape.width],
      ...(hasBias && { [bias]: [shape.vocabSize] }),
    });
    const ownBias = own.get(bias);
    const given = [cls, 5, mask, 7, separator];
    for (const [tied, more] of [
      [undefined, []],
      [true, []],
      [false, [...own, ...(ownBias ? ([["cls.predictions.bias", ownBias]] as const) : [])]],
    ] as const) {
      const path = await folderOf(kind, { "config.json": { ...json, tie_word_embeddings: tied } }, own);
      using model = await fillMask(path, options);
      const naive = new NaiveEncoder(config, new Map([...weightsOf(kind), ...more]) as unknown as Matrices);
      const logits = naive.word(naive.bert(given, first)[2]);
      const best = logits.indexOf(Math.max(...logits));
      const [[{ token, probability }]] = await model.fill("The [MASK] sat", { count: 1 });
      expect(token).toBe(best);
      expect(probability).toBeCloseTo(1 / logits.reduce((sum, v) => sum + Math.exp(v - logits[best]), 0), 4);
    }
  },
);

test.each(["bert", "distilbert", "roberta", "xlm-roberta"])("%s: what is before words, by hidden_act", async (kind) => {
  const { json, first } = kinds[kind];
  const act = { hidden_act: "relu", activation: "relu" };
  using model = await fillMask(await folderOf(kind, { "config.json": { ...json, ...act } }), options);
  const naive = (activation: "relu" | "gelu") =>
    new NaiveEncoder({ ...config, activation }, weightsOf(kind) as unknown as Matrices);
  const states = naive("relu").bert([cls, 5, mask, 7, separator], first);
  // RoBERTa's head has gelu, whatever its layers have.
  const logits = naive(first ? "gelu" : "relu").word(states[2]);
  const total = logits.reduce((sum, v) => sum + Math.exp(v), 0);
  const [gap] = await model.fill("The [MASK] sat", { count: shape.vocabSize });
  for (const { token, probability } of gap) expect(probability).toBeCloseTo(Math.exp(logits[token]) / total, 5);
});

test("quantised weights, and tensors of layers that nothing uses, are refused", async () => {
  const query = "encoder.layer.0.attention.self.query";
  const integers = (n: string): HostTensor => {
    const { shape } = weights.get(n)!;
    return { dtype: "i8", shape, data: new Int8Array(shape[0] * shape[1]) };
  };
  const open = async (changed: [string, HostTensor][], more = {}) =>
    embeddings(await folderOf("bert", { "config.json": { ...bertJson, ...more } }, new Map(changed)), options);
  const int8 = open([[`${query}.weight`, integers(`${query}.weight`)]], {
    quantization_config: { quant_method: "bitsandbytes" },
  });
  await expect(int8).rejects.toThrow(UnsupportedOpError);
  await expect(int8).rejects.toThrow(/quantised with bitsandbytes \("bert\.encoder.*query\.weight" is I8\)/);
  const adapter = open([[`${query}.lora_A.weight`, weights.get(`${query}.weight`)!]]);
  await expect(adapter).rejects.toThrow(/query\.lora_A\.weight".*would be left out.*merged/);
  const counted: HostTensor = { dtype: "i64", shape: [1, 2], data: BigInt64Array.of(0n, 1n) };
  (await open([["embeddings.position_ids", counted]])).dispose();
});

test("a pooler beside a classifier with a layer of its own is not used", async () => {
  const changed = (prefix: string) =>
    new Map(
      ["weight", "bias"].map((end) => [
        `${prefix}pooler.dense.${end}`,
        weights.get(`encoder.layer.0.attention.self.query.${end}`)!,
      ]),
    );
  for (const [kind, prefix] of [
    ["roberta", "roberta."],
    ["xlm-roberta", "roberta."],
    ["distilbert", "distilbert."],
  ]) {
    using want = await textClassification(await folderOf(kind), options);
    using got = await textClassification(await folderOf(kind, {}, changed(prefix)), options);
    expect(await got.classify(sentence)).toEqual(await want.classify(sentence));
  }
  const twice = await folderOf("bert", {}, new Map([["model.pooler.dense.bias", weights.get("pooler.dense.bias")!]]));
  const found = textClassification(twice, options);
  await expect(found).rejects.toThrow(FormatError);
  await expect(found).rejects.toThrow(/"(bert|model)\.pooler.dense.bias" and "(bert|model)\..* are both "pooler/);
});

test("folders that lack something, or hold something else, are told", async () => {
  const open = (files: Record<string, object>) => folderOf("bert", files).then((path) => embeddings(path, options));
  await expect(open({ "config.json": { ...bertJson, model_type: "t5" } })).rejects.toThrow(UnsupportedOpError);
  for (const position_embedding_type of ["relative_key", "relative_key_query", "alibi"]) {
    const found = open({ "config.json": { ...bertJson, position_embedding_type } });
    await expect(found).rejects.toThrow(UnsupportedOpError);
    await expect(found).rejects.toThrow(`a "bert" whose positions are "${position_embedding_type}"`);
  }
  await (await open({ "config.json": { ...bertJson, position_embedding_type: "absolute" } })).dispose();
  await expect(open({ "config.json": { ...bertJson, is_decoder: true } })).rejects.toThrow(/is_decoder/);
  const llama2c = embeddings(tinyLlama2c(), options);
  await expect(llama2c).rejects.toThrow(UnsupportedOpError);
  await expect(llama2c).rejects.toThrow(
    /llama2\.c weights are a model that writes texts.*Encoders \(bert, .*config\.json/,
  );
  await expect(open({ "config.json": { ...bertJson, hidden_act: "odd" } })).rejects.toThrow(/activation "odd"/);
  await expect(open({ "config.json": { model_type: "bert" } })).rejects.toThrow(/has no max_position_embeddings/);
  await expect(open({ "tokenizer.json": { model: 1 } })).rejects.toThrow(FormatError);
  const path = await folderOf("bert");
  await rm(join(path, "tokenizer.json"));
  await expect(embeddings(path, options)).rejects.toThrow(/tokenizer\.json/);
  // Weights of an encoder without a head for words.
  const bare = new Map([...weights].filter(([n]) => !n.startsWith("cls.")));
  await writeFile(join(path, "model.safetensors"), writeSafetensors(bare));
  await writeFile(join(path, "tokenizer.json"), JSON.stringify(tokenizer));
  await expect(fillMask(path, options)).rejects.toThrow(/cls\.predictions/);
  const headless = new Map([...bare].filter(([n]) => !n.startsWith("classifier")));
  await writeFile(join(path, "model.safetensors"), writeSafetensors(headless));
  await expect(textClassification(path, options)).rejects.toThrow(/no classifier/);
});

test("words for gaps of an exported graph", async () => {
  const w = Float32Array.from({ length: 13 * 13 }, (_, i) => Math.sin(i * i));
  const path = await exportedFolder(tableGraph(w, 13, "logits"));
  const logits = [...w.slice(mask * 13, (mask + 1) * 13)];
  const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a]);
  const total = logits.reduce((sum, v) => sum + Math.exp(v), 0);
  for (const model of [path, join(path, "onnx/model.onnx")]) {
    using filler = await fillMask(model, options);
    const [first, second] = await filler.fill("The [MASK] sat on the [MASK].", { count: 2 });
    expect(first.map((g) => g.token)).toEqual(order.slice(0, 2));
    expect(first[0].probability).toBeCloseTo(Math.exp(logits[order[0]]) / total, 6);
    expect(second).toEqual(first);
    expect(filler.mask).toBe("[MASK]");
  }
  const judge = { ...bertJson, architectures: ["BertForSequenceClassification"] };
  const config = { "config.json": judge };
  for (const other of [await exportedFolder(tableGraph(w, 13, "logits"), config), await folderOf("bert", config)]) {
    await expect(fillMask(other, options)).rejects.toThrow(InputError);
    await expect(fillMask(other, options)).rejects.toThrow(
      /is a BertForSequenceClassification; this task takes one "ForMaskedLM"/,
    );
  }
});

test("classes of an exported graph are its logits, whatever else it gives", async () => {
  const w = Float32Array.from({ length: 13 * 2 }, (_, i) => Math.sin(i * i));
  const judge = (states: string, logits: string, shape?: (string | number)[]) =>
    encodeModel({
      opset: 17,
      inputs: [{ name: "input_ids", dtype: "i64", shape: ["batch", "tokens"] }],
      nodes: [
        node("Gather", ["w", "input_ids"], [states]),
        node("ReduceMean", [states], [logits], { axes: { ints: [1] }, keepdims: { int: 0 } }),
      ],
      outputs: [
        { name: states, dtype: "f32", shape },
        { name: logits, dtype: "f32", shape: ["batch", 2] },
      ],
      initializers: { w: { dtype: "f32", shape: [13, 2], data: w } },
    });
  using model = await textClassification(await exportedFolder(judge("last_hidden_state", "logits")), options);
  const given = [cls, 11, separator];
  for (const { logit, index } of await model.classify("dog"))
    expect(logit).toBeCloseTo(
      given.reduce((sum, id) => sum + w[2 * id + index] / 3, 0),
      5,
    );
  // Of each token, as the graph says or as it turns out.
  const told = await exportedFolder(judge("logits", "mean", ["batch", "tokens", 2]));
  await expect(textClassification(told, options)).rejects.toThrow(UnsupportedOpError);
  await expect(textClassification(told, options)).rejects.toThrow(
    /gives logits \[batch, tokens, 2\]: classes of each token/,
  );
  using silent = await textClassification(await exportedFolder(judge("logits", "mean")), options);
  await expect(silent.classify("dog")).rejects.toThrow(/gives logits \[1, 3, 2\]: classes of each token/);
});

test("graphs that say nothing of each token's word are told by what they look like", async () => {
  /** The mean of the tokens' rows: a classifier of whole texts. */
  const meanGraph = (width: number, shape?: (string | number)[]): Uint8Array =>
    encodeModel({
      opset: 17,
      inputs: [{ name: "input_ids", dtype: "i64", shape: ["batch", "tokens"] }],
      nodes: [
        node("Gather", ["w", "input_ids"], ["rows"]),
        node("ReduceMean", ["rows"], ["logits"], { axes: { ints: [1] }, keepdims: { int: 0 } }),
      ],
      outputs: [{ name: "logits", dtype: "f32", shape }],
      initializers: { w: { dtype: "f32", shape: [13, width], data: new Float32Array(13 * width) } },
    });
  const texts = /looks like a classifier of whole texts \(textClassification\)/;
  const ofTokens = /looks like a classifier of tokens \(tokenClassification\)/;
  const judging = await exportedFolder(meanGraph(2, ["batch", 2]));
  for (const open of [fillMask, tokenClassification]) {
    await expect(open(judging, options)).rejects.toThrow(InputError);
    await expect(open(judging, options)).rejects.toThrow(texts);
  }
  // One that does not say what it gives.
  const silent = await exportedFolder(meanGraph(2));
  const filled = async () => {
    using model = await fillMask(silent, options);
    return await model.fill("The [MASK] sat.");
  };
  await expect(filled()).rejects.toThrow(texts);
  const tagged = async () => {
    using model = await tokenClassification(silent, options);
    return await model.classify("the cat sat");
  };
  await expect(tagged()).rejects.toThrow(texts);
  const table = (width: number, name: string) => exportedFolder(tableGraph(new Float32Array(13 * width), width, name));
  await expect(fillMask(await table(5, "logits"), options)).rejects.toThrow(ofTokens);
  const vectors = await table(13, "last_hidden_state");
  await expect(fillMask(vectors, options)).rejects.toThrow(/gives last_hidden_state \[.*makes vectors \(embeddings\)/);
  (await tokenClassification(await table(5, "logits"), options)).dispose();
});

test("vectors of an exported graph are pooled as the folder says", async () => {
  const width = 4;
  const w = Float32Array.from({ length: 13 * width }, (_, i) => ((i * 7) % 11) - 5);
  const onnx = tableGraph(w, width, "last_hidden_state");
  const row = (id: number): number[] => [...w.slice(id * width, (id + 1) * width)];
  const given = [cls, 11, 12, separator];
  const mean = row(0).map((_, j) => given.reduce((sum, id) => sum + row(id)[j] / given.length, 0));
  using model = await embeddings(await exportedFolder(onnx), { ...options, normalize: false });
  expect(model.width).toBe(width);
  const [dog, longer] = await model.embed(["Dog.", "the cat sat on the mat"]);
  [...dog].forEach((v, j) => {
    expect(v).toBeCloseTo(mean[j], 5);
  });
  expect(longer).not.toEqual(dog);
  const first = await exportedFolder(onnx, { "1_Pooling/config.json": { pooling_mode_cls_token: true } });
  using byFirst = await embeddings(first, { ...options, normalize: false });
  expect([...(await byFirst.embed("Dog."))]).toEqual(row(cls));
  const other = tableGraph(w, width, "logits");
  await expect(exportedFolder(other).then((path) => embeddings(path, options))).rejects.toThrow(
    /gives logits; vectors are made of last_hidden_state/,
  );
});

test("vectors that an exported graph made of its states are taken, unless others are asked for", async () => {
  const w = Float32Array.from({ length: 13 * 4 }, (_, i) => Math.sin(i * i));
  const graph = (outputs: readonly string[]): Uint8Array =>
    encodeModel({
      opset: 17,
      inputs: [{ name: "input_ids", dtype: "i64", shape: ["batch", "tokens"] }],
      nodes: [
        node("Gather", ["w", "input_ids"], ["token_embeddings"]),
        node("ReduceMax", ["token_embeddings"], ["most"], { axes: { ints: [1] }, keepdims: { int: 0 } }),
        node("MatMul", ["most", "dense"], ["sentence_embedding"]),
      ],
      outputs: outputs.map((name) => ({
        name,
        dtype: "f32",
        shape: name === "token_embeddings" ? ["batch", "tokens", 4] : ["batch", 2],
      })),
      initializers: {
        w: { dtype: "f32", shape: [13, 4], data: w },
        dense: { dtype: "f32", shape: [4, 2], data: Float32Array.of(1, 0, 1, 0, 0, 1, 0, -1) },
      },
    });
  const rows = [cls, 11, separator].map((id) => w.slice(4 * id, 4 * id + 4));
  const [a, b, c, d] = [0, 1, 2, 3].map((j) => Math.max(...rows.map((row) => row[j])));
  const both = await exportedFolder(graph(["token_embeddings", "sentence_embedding"]));
  const only = await exportedFolder(graph(["sentence_embedding"]));
  for (const path of [both, only]) {
    using model = await embeddings(path, { ...options, normalize: false });
    expect(model.width).toBe(2);
    const [x, y] = await model.embed("dog");
    expect(x).toBeCloseTo(a + b, 5);
    expect(y).toBeCloseTo(c - d, 5);
  }
  using first = await embeddings(both, { ...options, normalize: false, pooling: "cls" });
  expect(first.width).toBe(4);
  expect(await first.embed("dog")).toEqual(rows[0]);
  await expect(embeddings(only, { ...options, pooling: "cls" })).rejects.toThrow(
    /gives sentence_embedding, which is pooled already: leave out \{ pooling \}/,
  );
});
