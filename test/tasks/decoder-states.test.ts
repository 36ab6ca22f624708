/** Decoders whose states become vectors of texts, against the naive implementation. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { convert } from "../../src/formats/convert/index.ts";
import { gemma2Names, huggingFaceName, llamaNames } from "../../src/formats/decoder/huggingface-names.ts";
import type { GgufValue } from "../../src/formats/gguf/index.ts";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { compile, load, openDevice } from "../../src/index.ts";
import type { DecoderConfig } from "../../src/models/transformer/config.ts";
import { decoder, decoderStates, statelessDecoder } from "../../src/models/transformer/decoder.ts";
import { embeddings, textGeneration } from "../../src/tasks/index.ts";
import { UnsupportedOpError } from "../../src/tensor/errors.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { type Matrices, NaiveDecoder } from "../goldens/decoder.ts";
import { build, type Variant, variants } from "../models/tiny.ts";
import { cls, separator, tokenizer, words } from "./encoder-folders.ts";
import { ggufFile, halves } from "./gguf-files.ts";

const root = await mkdtemp(join(tmpdir(), "forwardpass-states-"));
afterAll(() => rm(root, { recursive: true }));

const options = { device: "wasm", threads: 1 } as const;
const close = (got: ArrayLike<number>, want: ArrayLike<number>): void => {
  expect(got.length).toBe(want.length);
  expect(Math.max(...Array.from(got, (x, i) => Math.abs(x - want[i])))).toBeLessThan(2e-4);
};
const mean = (rows: readonly Float64Array[]): Float64Array =>
  rows[0].map((_, j) => rows.reduce((sum, r) => sum + r[j], 0) / rows.length);

const both: Variant = { ...variants["gemma3"], layers: [{ window: 3 }, { window: 2 }, {}], bidirectional: true };

describe.each(["cpu", "wasm"] as const)("states of texts that are filled up, on %s", (device) => {
  const models: Record<string, Variant> = { ...variants, "gemma3 in both directions": both };
  const causal = ["llama 2", "mistral", "qwen3", "gemma3", "gpt2"];
  test.each([...causal, "gemma3 in both directions"])("%s", async (name) => {
    const { config, weights } = build(models[name]);
    using session = await compile(decoderStates(config, weights), { device: await openDevice(device, { threads: 1 }) });
    const texts = [
      [3, 1, 4, 1, 5, 9, 2, 6, 5],
      [7, 8],
    ];
    const [count, length] = [texts.length, 12];
    const tokens = new Int32Array(count * length);
    const [pool, mask] = [new Float32Array(count * length), new Uint8Array(count * length)];
    texts.forEach((ids, b) => {
      tokens.set(ids, b * length);
      pool.fill(1 / ids.length, b * length, b * length + ids.length);
      mask.fill(1, b * length, b * length + ids.length);
    });
    const given: Record<string, HostTensor> = {
      tokens: hostTensor(tokens, { shape: [count, length] }),
      pool: hostTensor(pool, { shape: [count, 1, length] }),
    };
    if (config.bidirectional) given["mask"] = { dtype: "bool", shape: [count, 1, 1, length], data: mask };
    const { hidden, pooled } = await session.run(given);
    texts.forEach((ids, b) => {
      const states = new NaiveDecoder(config, weights as unknown as Matrices).states(ids);
      const at = b * length * config.width;
      states.forEach((state, t) => {
        const from = at + t * config.width;
        close((hidden.data as Float32Array).subarray(from, from + config.width), state);
      });
      close((pooled.data as Float32Array).subarray(b * config.width, (b + 1) * config.width), mean(states));
    });
  });
});

/** One token a letter, and marks. */
const pieces = ["<s>", "</s>", "a", "b", "c", "\u0120"];
const vocabulary: Record<string, GgufValue> = {
  "tokenizer.ggml.model": "gpt2",
  "tokenizer.ggml.pre": "gpt-2",
  "tokenizer.ggml.tokens": pieces,
  "tokenizer.ggml.token_type": Int32Array.of(3, 3, 1, 1, 1, 1),
  "tokenizer.ggml.merges": ["a b"],
  "tokenizer.ggml.bos_token_id": 0,
  "tokenizer.ggml.eos_token_id": 1,
  "tokenizer.ggml.add_bos_token": true,
  "tokenizer.ggml.add_eos_token": true,
};
const small = (v: Variant) => build({ ...v, vocabSize: pieces.length, contextLength: 40 });
const naive = ({ config, weights }: ReturnType<typeof build>, ids: readonly number[]) =>
  new NaiveDecoder(config, weights as unknown as Matrices).states(ids);

describe("GGUF files", () => {
  const pooling = { pooling_type: 3 };

  test("are pooled as they say, with the mark behind texts", async () => {
    const model = small({ ...variants["qwen3"], rope: { ...halves, dim: 16 } });
    using encoder = await embeddings(
      ggufFile("qwen3", model.config, model.weights, { ...pooling, ...vocabulary }),
      options,
    );
    const [first, second] = await encoder.embed(["abc", "c"]);
    const unit = (v: Float64Array) => v.map((x) => x / Math.hypot(...v));
    close(first, unit(naive(model, [0, 2, 3, 4, 1]).at(-1)!));
    close(second, unit(naive(model, [0, 4, 1]).at(-1)!));
    // Longer than the model's texts, which no number of steps fills.
    const cut = Array.from({ length: model.config.contextLength - 2 }, (_, i) => 2 + (i % 3));
    close(await encoder.embed("abc".repeat(20)), unit(naive(model, [0, ...cut, 1]).at(-1)!));
    using others = await embeddings(ggufFile("qwen3", model.config, model.weights, vocabulary), {
      ...options,
      normalize: false,
    });
    close(await others.embed("abc"), mean(naive(model, [0, 2, 3, 4, 1])));
  });

  test("SentencePiece's vocabulary has a mark behind texts, too", async () => {
    const model = small({ rope: { ...halves, interleaved: true } });
    const scored: Record<string, GgufValue> = {
      ...vocabulary,
      "tokenizer.ggml.model": "llama",
      "tokenizer.ggml.tokens": ["<s>", "</s>", "a", "b", "c", "\u2581"],
      "tokenizer.ggml.scores": new Float32Array(pieces.length),
      "tokenizer.ggml.add_space_prefix": false,
    };
    const file = ggufFile("llama", model.config, model.weights, { ...pooling, ...scored });
    using encoder = await embeddings(file, { ...options, normalize: false });
    close(await encoder.embed("ba"), naive(model, [0, 3, 2, 1]).at(-1)!);
    // Texts that are gone on with have none.
    using generator = await textGeneration(file, options);
    expect(generator.tokenizer!.encode("ba")).toEqual([0, 3, 2]);
  });

  test("EmbeddingGemma: half of the window behind a token, and its layers after pooling", async () => {
    const model = small({ ...both, layers: [{ window: 3 }, { window: 3 }, {}], rope: { ...halves, base: 1e6 } });
    const { width } = model.config;
    const dense = Float32Array.from({ length: 3 * width }, (_, i) => Math.sin(i));
    const weights = new Map<string, unknown>([
      ...model.weights,
      ["dense_2.weight", { dtype: "f32", shape: [3, width], data: dense }],
    ]);
    const metadata = { ...vocabulary, pooling_type: 1, "attention.sliding_window": 4 };
    const pattern = { "attention.sliding_window_pattern": [true, true, false] };
    const file = ggufFile("gemma-embedding", model.config, weights, { ...metadata, ...pattern });
    using encoder = await embeddings(file, { ...options, normalize: false });
    const v = mean(naive(model, [0, 2, 3, 4, 4, 3, 2, 1]));
    const wanted = [0, 1, 2].map((i) => v.reduce((sum, x, j) => sum + x * dense[i * width + j], 0));
    close(await encoder.embed("abccba"), wanted);
    expect(encoder.width).toBe(3);
    await expect(textGeneration(file, options)).rejects.toThrow(/sees what comes behind/);
    await expect(convert(file, { to: "safetensors" })).rejects.toThrow(UnsupportedOpError);
  });

  test("mistakes are told", async () => {
    const { config, weights } = small({ ...variants["mistral"], rope: { ...halves, interleaved: true } });
    const open = (more: Record<string, GgufValue>, arch = "llama") =>
      embeddings(ggufFile(arch, config, weights, { ...vocabulary, ...more }), options);
    await expect(open({ "attention.causal": false })).rejects.toThrow(/windows of a model that is not causal/);
    await expect(open({ pooling_type: 4 })).rejects.toThrow(/pooling_type 4 is not supported/);
    await expect(open({ "tokenizer.ggml.model": "none" })).rejects.toThrow(/no vocabulary in it/);
    await expect(open({}, "rwkv")).rejects.toThrow(/"rwkv" are not supported; known: bert.*llama, /);
  });
});

describe("folders", () => {
  /** By Hugging Face's names, without what makes logits. */
  async function folderOf(
    { config, weights }: { config: DecoderConfig; weights: ReadonlyMap<string, unknown> },
    json: object,
    files: Record<string, object> = {},
  ): Promise<string> {
    const path = await mkdtemp(join(root, "f-"));
    const names = "model_type" in json && json.model_type === "gemma3_text" ? gemma2Names : llamaNames;
    const stored = new Map(
      [...(weights as ReadonlyMap<string, HostTensor>)].map(([name, t]): [string, HostTensor] => {
        const raised = names === gemma2Names && name.endsWith("norm.weight");
        const data = raised ? (t.data as Float32Array).map((x) => x - 1) : t.data;
        return [huggingFaceName(name, names)!.replace(/^model\./, ""), { ...t, data }];
      }),
    );
    await writeFile(join(path, "model.safetensors"), writeSafetensors(stored));
    const own = {
      vocab_size: config.vocabSize,
      hidden_size: config.width,
      num_hidden_layers: config.layers.length,
      num_attention_heads: config.heads,
      num_key_value_heads: config.kvHeads,
      head_dim: config.headDim,
      rms_norm_eps: config.norm.epsilon,
      max_position_embeddings: config.contextLength,
      tie_word_embeddings: false,
    };
    const all = { "config.json": { ...own, ...json }, "tokenizer.json": tokenizer, ...files };
    for (const [file, content] of Object.entries(all)) {
      await mkdir(join(path, file, ".."), { recursive: true });
      await writeFile(join(path, file), JSON.stringify(content));
    }
    return path;
  }
  const modules = ["Transformer", "Pooling", "Normalize"].map((kind, i) => ({
    type: `sentence_transformers.models.${kind}`,
    path: i ? `${i}_${kind}` : "",
  }));
  const sentences = { "modules.json": modules, "1_Pooling/config.json": { pooling_mode_lasttoken: true } };
  const ids = [cls, 5, 6, 7, separator];
  const worded = (v: Variant) => build({ ...v, vocabSize: words.length, contextLength: 40 });

  test("of sentence-transformers: pooled as modules.json says, the prompt in front, and no output projection", async () => {
    const model = worded({ ...variants["qwen2"], rope: halves });
    const prompts = { prompts: { query: "the " }, default_prompt_name: null };
    const path = await folderOf(
      model,
      { model_type: "qwen2" },
      { ...sentences, "config_sentence_transformers.json": prompts },
    );
    using encoder = await embeddings(path, options);
    const last = naive(model, ids).at(-1)!;
    const unit = last.map((x) => x / Math.hypot(...last));
    close(await encoder.embed("the cat sat"), unit);
    close(await encoder.embed("cat sat", { prompt: "query" }), unit);
    await expect(convert(path, { to: "gguf" })).rejects.toThrow(/modules\.json/);
  });

  test("in both directions, with half of the window behind a token", async () => {
    const model = worded({ ...both, layers: [{ window: 3 }, { window: 3 }], rope: { ...halves, base: 1e6 } });
    const json = {
      model_type: "gemma3_text",
      sliding_window: 4,
      query_pre_attn_scalar: model.config.headDim,
      use_bidirectional_attention: true,
    };
    const path = await folderOf(model, json);
    using encoder = await embeddings(path, { ...options, normalize: false });
    close(await encoder.embed("the cat sat"), mean(naive(model, ids)));
    await expect(textGeneration(path, options)).rejects.toThrow(/tie_word_embeddings/);
    const tied = await folderOf(model, { ...json, tie_word_embeddings: true });
    for (const open of [() => textGeneration(tied, options), () => load(tied), () => convert(tied, { to: "gguf" })])
      await expect(open()).rejects.toThrow(UnsupportedOpError);
  });

  test("in both directions where config.json says that they are not causal, but for windows", async () => {
    const model = worded({ rope: halves });
    const json = { model_type: "mistral", is_causal: false, sliding_window: null };
    using encoder = await embeddings(await folderOf(model, json), { ...options, normalize: false });
    close(
      await encoder.embed("the cat sat"),
      mean(naive({ ...model, config: { ...model.config, bidirectional: true } }, ids)),
    );
    for (const more of [{ sliding_window: 4 }, { use_bidirectional_attention: true }])
      await expect(embeddings(await folderOf(model, { ...json, ...more }), options)).rejects.toThrow(
        UnsupportedOpError,
      );
  });

  test("other types are told with those that are known", async () => {
    const path = await folderOf(worded({ rope: halves }), { model_type: "mamba" });
    await expect(embeddings(path, options)).rejects.toThrow(/"mamba" are not supported; known: bert.*llama, mistral/);
  });
});

test("a model that sees what comes behind a token writes no texts", () => {
  const { config, weights } = build(both);
  for (const make of [decoder, statelessDecoder]) expect(() => make(config, weights)).toThrow(UnsupportedOpError);
});
