/** Models written to the formats that others use, and read back: configurations and weights come out as they went in. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readGgufDecoder } from "../../src/formats/decoder/gguf.ts";
import { readHuggingFaceDecoder } from "../../src/formats/decoder/huggingface.ts";
import { readDecoder } from "../../src/formats/decoder/read.ts";
import { ModelFolder } from "../../src/formats/folder.ts";
import type { GgufValue } from "../../src/formats/gguf/index.ts";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { bytesSource } from "../../src/formats/source.ts";
import type { DecoderConfig, Weight } from "../../src/models/transformer/config.ts";
import { textGeneration } from "../../src/tasks/text-generation.ts";
import { FormatError, InputError, UnsupportedOpError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { type Matrix, NaiveDecoder } from "../goldens/decoder.ts";
import { readWeights } from "../models/all-weights.ts";
import { build, text, variants } from "../models/tiny.ts";
import { ggufCases, ggufFile, halves, merge, metadataOf, written } from "./gguf-files.ts";

type Weights = Map<string, Weight & Matrix>;

const folder = await mkdtemp(join(tmpdir(), "forwardpass-models-"));
afterAll(() => rm(folder, { recursive: true }));

function expectSame(got: ReadonlyMap<string, Weight>, want: Weights): void {
  expect([...got.keys()].sort()).toEqual([...want.keys()].sort());
  for (const [name, w] of want) {
    const g = got.get(name) as Matrix;
    expect(g.shape, name).toEqual(w.shape);
    let worst = 0;
    for (let i = 0; i < w.data.length; i++) worst = Math.max(worst, Math.abs(g.data[i] - w.data[i]));
    // 1 + (w - 1) rounds.
    expect(worst, name).toBeLessThan(1e-6);
  }
}

/** As far as a file can say it. */
const comparable = ({ architecture: _, ...c }: DecoderConfig) => ({
  ...c,
  attentionScale: c.attentionScale ?? 1 / Math.sqrt(c.headDim),
  attentionSoftcap: c.attentionSoftcap,
  logitSoftcap: c.logitSoftcap,
  rope: c.rope && { ...c.rope, scaling: c.rope.scaling },
  layers: c.layers.map((l) => ({ window: l.window ?? 0, rope: l.rope })),
});

describe("GGUF", () => {
  ggufCases.forEach(([arch, variant, extra], i) => {
    test(`${arch}, ${i}`, async () => {
      const { config, weights } = build(variant);
      const file = await readGgufDecoder(bytesSource(ggufFile(arch, config, weights, extra)));
      expectSame(await readWeights(file), weights);
      // f32 in the file.
      const rounded = { ...config, norm: { ...config.norm, epsilon: file.config.norm.epsilon } };
      expect(comparable(file.config)).toEqual(comparable(rounded));
      expect(Math.abs(file.config.norm.epsilon - config.norm.epsilon)).toBeLessThan(1e-10);
    });
  });

  describe("metadata of some files", () => {
    const layers = [{ window: 6 }, { window: 6 }, {}];
    const read = async (
      arch: string,
      c: Parameters<typeof build>[0],
      extra: Record<string, GgufValue>,
      freqs?: number[],
    ) => {
      const { config, weights } = build({ rope: halves, ...c });
      const data = freqs && Float32Array.from(freqs);
      if (data) weights.set("rope_freqs.weight", { dtype: "f32", shape: [data.length], data } as Weight & Matrix);
      const { config: got } = await readGgufDecoder(bytesSource(ggufFile(arch, config, weights, extra)));
      return { ...got, windows: got.layers.map((l) => l.window ?? 0) };
    };

    test("Gemma 2's first files name neither window nor caps", async () => {
      const c = await read(
        "gemma2",
        { ...variants["gemma2"], attentionSoftcap: undefined, logitSoftcap: undefined, layers: [{}, {}] },
        {},
      );
      expect(c).toMatchObject({ windows: [4096, 0], attentionSoftcap: 50, logitSoftcap: 30, localRope: undefined });
    });

    test("a pattern of windows, as a number and layer by layer, and their rotary base", async () => {
      const three = { "attention.sliding_window_pattern": 3, "rope.freq_base_swa": 500 };
      const number = await read("gemma3", { ...variants["gemma3"], layers }, three);
      expect(number).toMatchObject({ windows: [6, 6, 0], localRope: { base: 500 } });
      const flags = { "attention.sliding_window_pattern": [false, true, true] };
      const list = await read("gemma3", { ...variants["gemma3"], layers }, flags);
      expect(list).toMatchObject({ windows: [0, 6, 6], localRope: { base: 10000 } });
    });

    test("rotary factors of pairs and one of all", async () => {
      const linear = { "rope.scaling.type": "linear", "rope.scaling.factor": 4 };
      const { rope } = await read("qwen2", {}, linear, [1, 2, 3, 8]);
      expect(rope?.scaling).toEqual({ kind: "factors", factors: Float32Array.of(4, 8, 12, 32), magnitude: undefined });
      const long = await read("qwen2", {}, { ...linear, "rope.scaling.type": "longrope" }, [1, 2, 3, 8]);
      expect(long.rope).toEqual(rope);
      const yarn = { "rope.scaling.type": "yarn", "rope.scaling.factor": 4 };
      const both = await read("qwen2", {}, yarn, [1, 2, 3, 8]);
      expect(both.rope?.scaling).toMatchObject({ kind: "yarn", factor: 4, factors: Float32Array.of(1, 2, 3, 8) });
      const betas = { "rope.scaling.yarn_beta_fast": 3, "rope.scaling.yarn_beta_slow": 0.5 };
      const { rope: own } = await read("qwen2", {}, { ...yarn, ...betas });
      expect(own?.scaling).toMatchObject({ kind: "yarn", factor: 4, betaFast: 3, betaSlow: 0.5 });
      for (const [key, neutral] of [
        ["yarn_ext_factor", 1],
        ["yarn_attn_factor", 1],
        ["yarn_log_multiplier", 0],
      ] as const) {
        const other = read("qwen2", {}, { ...yarn, [`rope.scaling.${key}`]: 0.5 });
        await expect(other).rejects.toThrow(UnsupportedOpError);
        await expect(other).rejects.toThrow(`rope scaling with ${key} is not supported`);
        const same = await read("qwen2", {}, { ...yarn, [`rope.scaling.${key}`]: neutral });
        expect(same.rope).toEqual((await read("qwen2", {}, yarn)).rope);
      }
      const { rope: kept } = await read("qwen2", {}, { ...yarn, "rope.scaling.factor": 1 }, [1, 2, 3, 8]);
      expect(kept?.scaling).toMatchObject({ kind: "factors", factors: Float32Array.of(1, 2, 3, 8) });
    });
  });

  test("factors of 0 are none, but for the logits'; without turned positions Granite is refused", async () => {
    const { config, weights } = build(variants["granite"]);
    const read = async (extra: Record<string, GgufValue>) =>
      (await readGgufDecoder(bytesSource(ggufFile("granite", config, weights, extra)))).config;
    const none = await read({ embedding_scale: 0, residual_scale: 0, "attention.scale": 0 });
    expect(none).toMatchObject({
      embeddingScale: undefined,
      residualScale: undefined,
      attentionScale: 1 / Math.sqrt(8),
    });
    await expect(read({ logit_scale: 0 })).rejects.toThrow(/gives 0 as logitDivisor/);
    await expect(read({ residual_scale: -1 })).rejects.toThrow(/gives -1 as residualScale/);
    await expect(read({ "rope.scaling.finetuned": false })).rejects.toThrow(UnsupportedOpError);
    await expect(read({ "rope.scaling.finetuned": false })).rejects.toThrow(/"granite" without rotary positions/);
    expect(await read({ "rope.scaling.finetuned": true })).toEqual(await read({}));
  });

  test("what is missing or unknown is told", async () => {
    const { config, weights } = build({ rope: { ...halves, interleaved: true } });
    const stored = weights as unknown as Map<string, HostTensor>;
    const read = (metadata: Map<string, GgufValue>) => readDecoder(bytesSource(written(metadata, stored)));
    // Among them those whose positions are biases of attention.
    for (const architecture of ["mamba", "bloom", "mpt", "t5", "jina-bert-v2"]) {
      const found = read(metadataOf(architecture, config));
      await expect(found).rejects.toThrow(UnsupportedOpError);
      await expect(found).rejects.toThrow(`architecture "${architecture}" is not known; known: llama`);
    }
    const biased = metadataOf("llama", config).set("llama.attention.max_alibi_bias", 8);
    await expect(read(biased)).rejects.toThrow(/architecture "llama" with ALiBi positions is not supported/);
    const without = metadataOf("llama", config);
    without.delete("llama.block_count");
    await expect(read(without)).rejects.toThrow(/llama\.block_count/);
    await expect(read(new Map())).rejects.toThrow(FormatError);
    // Only asked for: nothing in the file is wrong.
    const far = readDecoder(bytesSource(written(metadataOf("llama", config), stored)), { contextLength: 1e9 });
    await expect(far).rejects.toThrow(/angles of 1000000000 positions take more than a gigabyte/);
    // More layers than there are tensors for.
    const bytes = written(metadataOf("llama", { ...config, layers: [{}, {}, {}] }), stored);
    await expect(textGeneration(bytes, { device: "cpu" })).rejects.toThrow(/blk\.2\.attn_norm\.weight" is missing/);
    // Weights alone continue tokens, not texts.
    using model = await textGeneration(written(metadataOf("llama", config), stored), { device: "cpu" });
    await expect(model.generate("x")).rejects.toThrow(InputError);
    expect((await model.generate([1, 2], { temperature: 0, maxTokens: 4 })).tokens).toHaveLength(4);
  });
});

describe("Hugging Face folders", () => {
  const layerNames: Record<string, string> = {
    attn_q: "self_attn.q_proj",
    attn_k: "self_attn.k_proj",
    attn_v: "self_attn.v_proj",
    attn_output: "self_attn.o_proj",
    attn_q_norm: "self_attn.q_norm",
    attn_k_norm: "self_attn.k_norm",
    attn_qkv: "self_attn.qkv_proj",
    ffn_gate: "mlp.gate_proj",
    ffn_up: "mlp.up_proj",
    ffn_down: "mlp.down_proj",
    ffn_gate_up: "mlp.gate_up_proj",
    attn_norm: "input_layernorm",
  };
  const gemma2Layers = {
    ...layerNames,
    post_attention_norm: "post_attention_layernorm",
    ffn_norm: "pre_feedforward_layernorm",
    post_ffw_norm: "post_feedforward_layernorm",
  };
  const gpt2Layers = {
    attn_norm: "ln_1",
    ffn_norm: "ln_2",
    attn_qkv: "attn.c_attn",
    attn_output: "attn.c_proj",
    ffn_up: "mlp.c_fc",
    ffn_down: "mlp.c_proj",
  };

  function nameOf(name: string, type: string): string {
    const layers =
      type === "gpt2"
        ? gpt2Layers
        : /gemma[23]|olmo/.test(type)
          ? gemma2Layers
          : { ...layerNames, ffn_norm: "post_attention_layernorm" };
    const [, n, part, kind] = /^blk\.(\d+)\.(\w+)\.(\w+)$/.exec(name) ?? [];
    const own = (layers as Record<string, string>)[part];
    if (type === "gpt2")
      return part
        ? `transformer.h.${n}.${own}.${kind}`
        : `transformer.${name.replace("token_embd", "wte").replace("position_embd", "wpe").replace("output_norm", "ln_f")}`;
    if (part) return `model.layers.${n}.${own}.${kind}`;
    return name
      .replace(/^token_embd/, "model.embed_tokens")
      .replace(/^output_norm/, "model.norm")
      .replace(/^output\./, "lm_head.");
  }

  async function write(name: string, type: string, weights: Map<string, HostTensor>, json: object): Promise<string> {
    const { mkdir } = await import("node:fs/promises");
    const path = join(folder, name);
    await mkdir(path, { recursive: true });
    const tensors = new Map(
      [...weights].map(([key, t]): [string, HostTensor] => {
        const data = (t.data as Float32Array).slice();
        if (type.startsWith("gemma") && key.endsWith("norm.weight")) for (let i = 0; i < data.length; i++) data[i] -= 1;
        const [rows, columns] = t.shape;
        const flip = type === "gpt2" && t.shape.length === 2 && key.startsWith("blk.");
        if (flip)
          for (let i = 0; i < rows; i++)
            for (let j = 0; j < columns; j++) data[j * rows + i] = (t.data as Float32Array)[i * columns + j];
        return [nameOf(key, type), { dtype: "f32", shape: flip ? [columns, rows] : t.shape, data }];
      }),
    );
    await writeFile(join(path, "model.safetensors"), writeSafetensors(tensors));
    await writeFile(join(path, "config.json"), JSON.stringify({ model_type: type, ...json }));
    return path;
  }

  const common = (c: DecoderConfig) => ({
    vocab_size: c.vocabSize,
    hidden_size: c.width,
    num_attention_heads: c.heads,
    num_key_value_heads: c.kvHeads,
    head_dim: c.headDim,
    num_hidden_layers: c.layers.length,
    max_position_embeddings: c.contextLength,
    rms_norm_eps: c.norm.epsilon,
    rope_theta: c.rope?.base,
    attn_logit_softcapping: c.attentionSoftcap,
    final_logit_softcapping: c.logitSoftcap,
    query_pre_attn_scalar: c.attentionScale && 1 / c.attentionScale ** 2,
    sliding_window: c.layers.find((l) => l.window)?.window ?? null,
  });

  const halves = { dim: 8, base: 10000, interleaved: false };
  const layer_types = ["full_attention", "full_attention", "sliding_attention", "sliding_attention"];
  const cases: [string, Parameters<typeof build>[0], object?][] = [
    [
      "llama",
      variants["llama 3"],
      {
        rope_scaling: {
          rope_type: "llama3",
          factor: 8,
          low_freq_factor: 1,
          high_freq_factor: 4,
          original_max_position_embeddings: 64,
        },
      },
    ],
    [
      "llama",
      variants["llama with dynamic positions"],
      { rope_scaling: { type: "dynamic", factor: 3, original_max_position_embeddings: 20 } },
    ],
    ["mistral", variants["mistral"]],
    [
      "qwen2",
      { ...variants["qwen2 with yarn"], biases: ["attn_q", "attn_k", "attn_v"] },
      { rope_scaling: { type: "yarn", factor: 4, original_max_position_embeddings: 64 } },
    ],
    ["qwen3", variants["qwen3"]],
    ["gemma", variants["gemma"]],
    ["gemma2", variants["gemma2"]],
    [
      "gemma3_text",
      variants["gemma3"],
      {
        query_pre_attn_scalar: 8,
        rope_local_base_freq: 10000,
        sliding_window_pattern: 3,
        rope_scaling: { rope_type: "linear", factor: 8 },
      },
    ],
    [
      "granite",
      variants["granite"],
      { embedding_multiplier: 6, residual_multiplier: 0.25, attention_multiplier: 0.125, logits_scaling: 0.5 },
    ],
    ["olmo2", { ...variants["olmo2"], biases: ["attn_q", "attn_k", "attn_v", "attn_output"] }],
    [
      "olmo3",
      { ...variants["olmo3"], localRope: { ...halves, base: 500 } },
      {
        layer_types: ["sliding_attention", "full_attention"],
        rope_parameters: {
          full_attention: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 64, rope_theta: 10000 },
          sliding_attention: { rope_type: "default", rope_theta: 500 },
        },
      },
    ],
    [
      "smollm3",
      { ...variants["smollm3"], untied: true },
      { no_rope_layers: [1, 0, 0, 1], layer_types, tie_word_embeddings: false },
    ],
    [
      "phi3",
      {
        ...variants["phi3 with long factors"],
        rope: {
          ...halves,
          dim: 6,
          scaling: {
            kind: "factors",
            factors: [1, 2, 3],
            longFactors: [9, 9, 9],
            originalContext: 300,
            magnitude: 1,
          },
        },
      },
      {
        partial_rotary_factor: 0.5,
        original_max_position_embeddings: 300,
        rope_scaling: { type: "longrope", long_factor: [9, 9, 9], short_factor: [1, 2, 3] },
      },
    ],
  ];
  for (const [type, variant, extra] of cases)
    test(type, async () => {
      const { config, weights } = build(variant);
      const stored = new Map<string, HostTensor>(weights as unknown as Map<string, HostTensor>);
      if (type === "phi3")
        config.layers.forEach((_, n) => {
          merge(
            stored,
            ["q", "k", "v"].map((p) => `blk.${n}.attn_${p}.weight`),
            `blk.${n}.attn_qkv.weight`,
          );
          merge(stored, [`blk.${n}.ffn_gate.weight`, `blk.${n}.ffn_up.weight`], `blk.${n}.ffn_gate_up.weight`);
        });
      const path = await write(type, type, stored, { ...common(config), ...extra });
      const file = await readHuggingFaceDecoder(await ModelFolder.open(path));
      expectSame(await readWeights(file), weights);
      const got = comparable(file.config);
      expect(got.attentionScale).toBeCloseTo(comparable(config).attentionScale, 12);
      expect({ ...got, attentionScale: 0 }).toEqual({ ...comparable(config), attentionScale: 0 });
    });

  test.each(["bloom", "mpt", "falcon", "t5", "baichuan"])("%s is refused by name", async (type) => {
    const { config, weights } = build({ rope: halves });
    const stored = weights as unknown as Map<string, HostTensor>;
    const path = await write(`no-${type}`, type, stored, { ...common(config), alibi: true });
    await expect(textGeneration(path, { device: "cpu" })).rejects.toThrow(UnsupportedOpError);
    await expect(textGeneration(path, { device: "cpu" })).rejects.toThrow(
      `model type "${type}" is not known; known: llama`,
    );
  });

  test("gpt2, whose matrices lie on their side, and the folder as a model", async () => {
    const { config, weights } = build(variants["gpt2"]);
    const stored = new Map<string, HostTensor>(weights as unknown as Map<string, HostTensor>);
    config.layers.forEach((_, n) => {
      for (const kind of ["weight", "bias"])
        merge(
          stored,
          ["q", "k", "v"].map((p) => `blk.${n}.attn_${p}.${kind}`),
          `blk.${n}.attn_qkv.${kind}`,
        );
    });
    const path = await write("gpt2", "gpt2", stored, {
      vocab_size: config.vocabSize,
      n_embd: config.width,
      n_head: config.heads,
      n_layer: 2,
      n_positions: config.contextLength,
      layer_norm_epsilon: 1e-5,
      activation_function: "gelu_new",
    });
    using model = await textGeneration(path, { device: "wasm", threads: 1 });
    expect(comparable(model.decoder.config as DecoderConfig)).toEqual(comparable(config));
    const naive = new NaiveDecoder(config, weights);
    let want = new Float64Array(0);
    for (const t of text(12)) want = naive.next(t) as Float64Array<ArrayBuffer>;
    const got = await model.decoder.sequence().feed(text(12));
    for (let i = 0; i < want.length; i++) expect(Math.abs(got[i] - want[i])).toBeLessThan(2e-4);
  });

  test("unknown types and folders without weights are told", async () => {
    const { weights } = build({});
    const path = await write("odd", "rwkv", weights as unknown as Map<string, HostTensor>, {});
    await expect(textGeneration(path)).rejects.toThrow(UnsupportedOpError);
    await expect(textGeneration(folder)).rejects.toThrow(/no model in it/);
    await expect(textGeneration(join(folder, "nowhere"))).rejects.toThrow(InputError);
    await expect(textGeneration(new Uint8Array(100).fill(65))).rejects.toThrow(FormatError);
    await expect(textGeneration(new Uint8Array(0))).rejects.toThrow(FormatError);
  });
});
