/** What `config.json` says, and what it need not say, against the naive float64 decoder. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { convert } from "../../src/formats/convert/index.ts";
import { readDecoder } from "../../src/formats/decoder/read.ts";
import { openSource } from "../../src/formats/source.ts";
import { FormatError, UnsupportedOpError } from "../../src/index.ts";
import type { DecoderConfig, DecoderLayer } from "../../src/models/transformer/config.ts";
import { NaiveDecoder } from "../goldens/decoder.ts";
import { build, text, type Variant, variants } from "../models/tiny.ts";
import { ggufFile, halves } from "../tasks/gguf-files.ts";
import { edit, logits, savedIn, worst } from "./converted.ts";

const root = await mkdtemp(join(tmpdir(), "forwardpass-config-"));
afterAll(() => rm(root, { recursive: true }));

const neighbours = { ...halves, interleaved: true };
const threeOfFour = (window: number): DecoderLayer[] => [{ window }, { window }, { window }, {}];
const models: Record<string, [arch: string, Variant]> = {
  llama: ["llama", { rope: neighbours }],
  mistral: ["llama", { rope: neighbours, layers: [{ window: 5 }, { window: 5 }] }],
  gemma: ["gemma", variants["gemma"]],
  gemma2: ["gemma2", { ...variants["gemma2"], attentionScale: undefined }],
  gemma3_text: ["gemma3", { ...variants["gemma3"], layers: [{ window: 6 }, { window: 6 }], rope: halves }],
  qwen2: ["qwen2", variants["qwen2"]],
  qwen3: ["qwen3", variants["qwen3"]],
  phi3: ["phi3", { rope: halves }],
  gpt2: ["gpt2", variants["gpt2"]],
  granite: ["granite", { ...variants["granite"], rope: neighbours }],
  olmo2: ["olmo2", variants["olmo2"]],
  olmo3: ["olmo2", { ...variants["olmo2"], layers: threeOfFour(6), localRope: halves }],
  smollm3: ["smollm3", { rope: neighbours, layers: [{}, {}, {}, { rope: false }] }],
};

/** A folder of the type whose configuration has these fields, and its weights by GGUF's names. */
async function folderOf(type: string, fields: object, change: Variant = {}) {
  const [arch, variant] = models[type];
  const { config, weights } = build({ ...variant, ...change });
  const path = await savedIn(root, await convert(ggufFile(arch, config, weights), { to: "safetensors" }));
  // Pairs that are neighbours lie half a head apart there: the same model.
  return { path: await edit(path, { ...fields, model_type: type }), config, weights };
}

/** What a decoder of this configuration says after each of `count` tokens. */
function wanted({ config, weights }: ReturnType<typeof build>, count: number): number[] {
  const naive = new NaiveDecoder(config, weights, count);
  return text(count).flatMap((t) => [...naive.next(t)]);
}

const configOf = async (path: string): Promise<DecoderConfig> => (await readDecoder(await openSource(path))).config;

describe("a field changes what is computed", () => {
  const unscaled = { scale_attn_weights: false };
  const byLayer = { scale_attn_by_inverse_layer_idx: true };
  const scaled = (first: number) => ({ layers: [{ attentionScale: first }, { attentionScale: first / 2 }] });
  const none = [{}, {}];
  const unturned = { rope: false } as const;
  const listed = { no_rope_layers: [1, 0, 1, 1], no_rope_layer_interval: 3 };
  const interval = { no_rope_layers: undefined, no_rope_layer_interval: 2 };
  const windowed = { use_sliding_window: true, sliding_window: 3, layer_types: undefined };
  const types = { sliding_window: 3, layer_types: ["sliding_attention", ...Array(3).fill("full_attention")] };
  test.each<[string, object, Partial<DecoderConfig>]>([
    ["gpt2", unscaled, { attentionScale: 1 }],
    ["gpt2", byLayer, scaled(1 / Math.sqrt(8))],
    ["gpt2", { ...unscaled, ...byLayer }, scaled(1)],
    ["gemma2", { hidden_activation: "silu" }, { activation: "silu" }],
    ["gemma3_text", { hidden_activation: "gelu" }, { activation: "gelu" }],
    ["gemma2", { query_pre_attn_scalar: 20 }, { attentionScale: 1 / Math.sqrt(20) }],
    ["mistral", { sliding_window: 3 }, { layers: [{ window: 3 }, { window: 3 }] }],
    ["mistral", { sliding_window: null, layer_types: undefined }, { layers: none }],
    ["gemma2", { attn_logit_softcapping: null }, { attentionSoftcap: undefined }],
    ["gemma2", { final_logit_softcapping: null }, { logitSoftcap: undefined }],
    ["granite", { embedding_multiplier: 3 }, { embeddingScale: 3 }],
    ["granite", { residual_multiplier: 0.7 }, { residualScale: 0.7 }],
    ["granite", { attention_multiplier: 0.7 }, { attentionScale: 0.7 }],
    ["granite", { logits_scaling: 3 }, { logitDivisor: 3 }],
    ["olmo3", { sliding_window: 3 }, { layers: threeOfFour(3) }],
    ["olmo3", { sliding_window: null }, { layers: [{}, {}, {}, {}], localRope: undefined }],
    ["olmo3", { layer_types: types.layer_types }, { layers: [{ window: 6 }, {}, {}, {}] }],
    ["smollm3", listed, { layers: [{}, unturned, {}, {}] }],
    ["smollm3", interval, { layers: [{}, unturned, {}, unturned] }],
    ["smollm3", windowed, { layers: [{}, {}, {}, { ...unturned, window: 3 }] }],
    ["smollm3", types, { layers: [{ window: 3 }, {}, {}, unturned] }],
  ])("%s with %j", async (type, fields, change) => {
    const { path, config, weights } = await folderOf(type, fields);
    const got = await logits(path, text(12));
    expect(worst(got, wanted({ config: { ...config, ...change }, weights }, 12))).toBeLessThan(2e-4);
    expect(worst(got, wanted({ config, weights }, 12))).toBeGreaterThan(1e-3);
  });
});

describe("a field that Hugging Face's class does not know changes nothing", () => {
  test.each<[string, object]>([
    ["llama", { sliding_window: 3 }],
    ["gemma", { sliding_window: 3 }],
    ["llama", { no_rope_layers: [0, 0], no_rope_layer_interval: 1 }],
    ["llama", { embedding_multiplier: 3, residual_multiplier: 3, attention_multiplier: 3, logits_scaling: 3 }],
    ["granite", { query_pre_attn_scalar: 3, sliding_window: 3 }],
    ["olmo2", { sliding_window: 3, layer_types: ["sliding_attention", "full_attention"] }],
    ["smollm3", { sliding_window: 3 }],
    ["gemma", { hidden_act: "gelu" }],
    ["gemma2", { hidden_act: "silu" }],
    ["gemma2", { hidden_activation: null }],
    ["llama", { scale_attn_weights: false, scale_attn_by_inverse_layer_idx: true, hidden_activation: "gelu" }],
  ])("%s with %j", async (type, fields) => {
    const folder = await folderOf(type, fields);
    expect(worst(await logits(folder.path, text(12)), wanted(folder, 12))).toBeLessThan(2e-4);
  });
});

describe("a field that is missing has the number of Hugging Face's class", () => {
  const scale = 1 / 16;
  const ownBase = { ...halves, base: 5e5 };
  const wide = { heads: 2, kvHeads: 1, headDim: 256, rope: { ...halves, dim: 256 } };
  test.each<[string, readonly string[], Partial<DecoderConfig>, Variant?]>([
    ["gemma2", ["query_pre_attn_scalar"], { attentionScale: scale }],
    ["gemma2", ["attn_logit_softcapping"], { attentionSoftcap: 50 }],
    ["gemma2", ["final_logit_softcapping"], { logitSoftcap: 30 }],
    ["gemma2", ["sliding_window", "layer_types"], { layers: [{ window: 4096 }, {}] }],
    ["gemma3_text", ["query_pre_attn_scalar"], { attentionScale: scale }],
    ["gemma3_text", ["sliding_window"], { layers: [{ window: 4096 }, { window: 4096 }] }],
    // Without types the first five of six layers have a window.
    ["gemma3_text", ["rope_theta", "layer_types"], { rope: { ...halves, base: 1e6 } }],
    ["gemma3_text", ["rope_local_base_freq"], { localRope: halves }, { localRope: { ...halves, base: 500 } }],
    ["gemma3_text", ["num_attention_heads", "num_key_value_heads"], {}, { heads: 8, kvHeads: 4 }],
    ["mistral", ["sliding_window"], { layers: [{ window: 4096 }, { window: 4096 }] }],
    ["phi3", ["rms_norm_eps"], { norm: { kind: "rms", epsilon: 1e-5 } }, { norm: { kind: "rms", epsilon: 0.1 } }],
    ["llama", ["rms_norm_eps"], { norm: { kind: "rms", epsilon: 1e-6 } }, { norm: { kind: "rms", epsilon: 0.1 } }],
    ["granite", ["embedding_multiplier"], { embeddingScale: 1 }],
    ["granite", ["residual_multiplier"], { residualScale: 1 }],
    ["granite", ["attention_multiplier"], { attentionScale: 1 }],
    ["granite", ["logits_scaling"], { logitDivisor: 1 }],
    ["olmo2", ["rms_norm_eps"], {}, { norm: variants["olmo2"].norm }],
    ["olmo3", ["sliding_window", "layer_types"], { layers: threeOfFour(4096) }],
    ["olmo3", ["rope_theta", "rope_parameters"], { rope: ownBase, localRope: ownBase }],
    ["smollm3", ["no_rope_layers"], { layers: [{}, {}, {}, { rope: false }] }],
    ["gemma", ["head_dim"], {}, wide],
    ["gemma2", ["head_dim"], {}, wide],
    ["qwen3", ["head_dim"], {}, { ...wide, headDim: 128, rope: { ...halves, dim: 128 } }],
  ])("%s without %j", async (type, keys, change, variant) => {
    const fields = Object.fromEntries(keys.map((key) => [key, undefined]));
    const { path, config, weights } = await folderOf(type, fields, variant);
    expect(await configOf(path)).toMatchObject(change);
    expect(worst(await logits(path, text(12)), wanted({ config: { ...config, ...change }, weights }, 12))).toBeLessThan(
      2e-4,
    );
  });

  test.each(["qwen2", "qwen3"])("%s with a window of no size", async (type) => {
    const windowed = { use_sliding_window: true, max_window_layers: 1, layer_types: undefined };
    const sizes = async (fields: object) => (await configOf((await folderOf(type, fields)).path)).layers;
    expect(await sizes({ ...windowed, sliding_window: undefined })).toEqual([{}, { window: 4096 }]);
    expect(await sizes({ ...windowed, sliding_window: null })).toEqual([{}, {}]);
    expect(await sizes({ sliding_window: undefined })).toEqual([{}, {}]);
  });
});

describe("LongRoPE", () => {
  const lists = { short_factor: [1, 1.1, 1.3, 1.5], long_factor: [1.2, 3, 7, 20] };
  const rope_scaling = { type: "longrope", ...lists };
  const scalingOf = async (type: string, fields: object) => (await configOf((await folderOf(type, fields)).path)).rope;

  test.each(["phi3", "llama"])("%s: a text has the factors of its length", async (type) => {
    const fields = { rope_scaling, original_max_position_embeddings: 20 };
    const { path, config, weights } = await folderOf(type, fields);
    const magnitude = Math.sqrt(1 + Math.log(300 / 20) / Math.log(20));
    const scaling = {
      kind: "factors",
      factors: lists.short_factor,
      longFactors: lists.long_factor,
      originalContext: 20,
      magnitude,
    } as const;
    const model = { config: { ...config, rope: { ...config.rope!, scaling } }, weights };
    for (const n of [12, 20, 21, 40]) expect(worst(await logits(path, text(n)), wanted(model, n))).toBeLessThan(2e-4);
  });

  test("its magnitude comes of the original context, of the factor where that is not said, or is said", async () => {
    const magnitude = (stretch: number, trained: number) => Math.sqrt(1 + Math.log(stretch) / Math.log(trained));
    const original = { original_max_position_embeddings: 30 };
    const factor = { ...rope_scaling, factor: 4 };
    for (const [type, fields, want, context] of [
      ["llama", { rope_scaling: factor }, magnitude(4, 300), 300],
      ["llama", { rope_scaling }, 1, 300],
      ["llama", { rope_scaling: factor, ...original }, magnitude(10, 30), 30],
      ["llama", { rope_scaling: { ...factor, ...original } }, magnitude(10, 30), 30],
      ["llama", { rope_scaling: { ...factor, attention_factor: 1.5 } }, 1.5, 300],
      // Phi 3's class has an original context of 4096.
      ["phi3", { rope_scaling, max_position_embeddings: 8192 }, magnitude(2, 4096), 4096],
    ] as const) {
      const scaling = (await scalingOf(type, fields))?.scaling as { magnitude: number; originalContext: number };
      expect(scaling.magnitude).toBeCloseTo(want, 12);
      expect(scaling.originalContext).toBe(context);
    }
    // Phi 3's own figure for its contexts.
    expect(magnitude(32, 4096)).toBeCloseTo(1.1902380714238083, 12);
  });

  test("a list that is missing, and one for layers with a window, are told", async () => {
    const without = { ...rope_scaling, long_factor: undefined };
    await expect(scalingOf("llama", { rope_scaling: without })).rejects.toThrow(/rope_scaling\.long_factor .* a list/);
    const rope_parameters = { full_attention: { rope_type: "default" }, sliding_attention: rope_scaling };
    const local = scalingOf("gemma3_text", { rope_scaling: undefined, rope_parameters });
    await expect(local).rejects.toThrow(UnsupportedOpError);
    await expect(local).rejects.toThrow(/longrope in layers with a window/);
  });
});

test.each<[string, object, RegExp]>([
  ["smollm3", { no_rope_layers: [1, 0, 1] }, /no_rope_layers .* is \[1,0,1\], not a list of 1 or 0 for each layer/],
  ["smollm3", { no_rope_layers: [1, 0, 2, 1] }, /no_rope_layers .* not a list/],
  ["smollm3", { no_rope_layers: "1011" }, /no_rope_layers .* not a list/],
  [
    "smollm3",
    { no_rope_layers: null, no_rope_layer_interval: 0 },
    /no_rope_layer_interval .* is 0, not a number above 0/,
  ],
  ["granite", { residual_multiplier: 0 }, /residual_multiplier .* is 0, not a number above 0/],
  ["granite", { attention_multiplier: null }, /no attention_multiplier/],
  ["granite", { logits_scaling: "8" }, /logits_scaling .* is "8", not a number/],
])("%s with %j is told by the field", async (type, fields, message) => {
  const found = folderOf(type, fields).then(({ path }) => configOf(path));
  await expect(found).rejects.toThrow(FormatError);
  await expect(found).rejects.toThrow(message);
});

test("SmolLM3 has a rotary base of its own", async () => {
  const { path } = await folderOf("smollm3", { rope_theta: undefined });
  expect(await configOf(path)).toMatchObject({ rope: { base: 2e6 } });
});

test("the rotary base of layers with a window is theirs", async () => {
  const rope_parameters = { full_attention: { rope_type: "default" }, sliding_attention: { rope_type: "default" } };
  const none = { rope_theta: undefined, rope_local_base_freq: undefined, rope_scaling: undefined };
  const { path } = await folderOf("gemma3_text", { ...none, rope_parameters });
  expect(await configOf(path)).toMatchObject({ rope: { base: 1e6 }, localRope: { base: 1e4 } });
});
