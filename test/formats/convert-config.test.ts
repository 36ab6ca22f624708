/** What configurations say goes along from format to format, or is refused. Against the naive float64 decoder. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { convert } from "../../src/formats/convert/index.ts";
import { readDecoder } from "../../src/formats/decoder/read.ts";
import { type GgufValue, readGguf } from "../../src/formats/gguf/index.ts";
import { bytesSource } from "../../src/formats/source.ts";
import { FormatError, type HostTensor, UnsupportedOpError } from "../../src/index.ts";
import type { RopeScaling } from "../../src/models/transformer/rope.ts";
import { NaiveDecoder } from "../goldens/decoder.ts";
import { build, text, type Variant, variants } from "../models/tiny.ts";
import { ggufFile, halves, metadataOf, written } from "../tasks/gguf-files.ts";
import { bytesOf, edit, jsonOf, logits, savedIn, worst } from "./converted.ts";

const root = await mkdtemp(join(tmpdir(), "forwardpass-convert-config-"));
afterAll(() => rm(root, { recursive: true }));

const neighbours = { ...halves, interleaved: true };
type Model = ReturnType<typeof build>;

const toFolder = async (source: Uint8Array | string) => savedIn(root, await convert(source, { to: "safetensors" }));
const toGguf = async (source: Uint8Array | string) => bytesOf(await convert(source, { to: "gguf" }));

async function expectSays(source: Uint8Array | string, { config, weights }: Model, counts = [12]): Promise<void> {
  for (const n of counts) {
    const naive = new NaiveDecoder(config, weights, n);
    const want = text(n).flatMap((t) => [...naive.next(t)]);
    expect(worst(await logits(source, text(n)), want)).toBeLessThan(2e-4);
  }
}

const withScaling = (variant: Variant, scaling: RopeScaling): Model => {
  const { config, weights } = build(variant);
  return { config: { ...config, rope: { ...config.rope!, scaling } }, weights };
};

describe("YaRN", () => {
  const yarn = { kind: "yarn", factor: 4, originalContext: 32 } as const;
  const own = 0.1 * Math.log(4) + 1;
  const base = { rope: { ...neighbours, base: 100 } };
  const rope_scaling = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32 };
  test.each<[object, Partial<Extract<RopeScaling, { kind: "yarn" }>>]>([
    [{}, {}],
    [
      { beta_fast: 3, beta_slow: 0.5 },
      { betaFast: 3, betaSlow: 0.5 },
    ],
    [{ attention_factor: 1.3 }, { magnitude: 1.3 }],
    [{ mscale: 0.8, mscale_all_dim: 0.5 }, { magnitude: (0.08 * Math.log(4) + 1) / (0.05 * Math.log(4) + 1) }],
  ])("with %j goes to GGUF and back", async (fields, scaling) => {
    const { config, weights } = build(base);
    const path = await toFolder(ggufFile("llama", config, weights));
    await edit(path, { rope_scaling: { ...rope_scaling, ...fields } });
    const model = withScaling(base, { ...yarn, ...scaling });
    await expectSays(path, model);
    const gguf = await toGguf(path);
    await expectSays(gguf, model);
    const { metadata } = await readGguf(bytesSource(gguf));
    const factor = metadata.get("llama.rope.scaling.attn_factor") as number | undefined;
    if (scaling.magnitude) expect(factor).toBeCloseTo(scaling.magnitude / own, 6);
    else expect(factor).toBeUndefined();
    await expectSays(await toFolder(gguf), model);
  });

  test("the betas of a GGUF file are read", async () => {
    const model = withScaling(base, { ...yarn, betaFast: 3, betaSlow: 0.5 });
    const stretched = { "rope.scaling.type": "yarn", "rope.scaling.factor": 4 };
    const context = { "rope.scaling.original_context_length": 32 };
    const betas = { "rope.scaling.yarn_beta_fast": 3, "rope.scaling.yarn_beta_slow": 0.5 };
    await expectSays(ggufFile("llama", model.config, model.weights, { ...stretched, ...context, ...betas }), model);
  });

  test("what neither can say of it is refused", async () => {
    const { config, weights } = build(base);
    const path = await toFolder(ggufFile("llama", config, weights));
    // GGUF readers take a factor of 1 for none.
    await edit(path, { rope_scaling: { ...rope_scaling, factor: 1, attention_factor: 1.5 } });
    await expect(toGguf(path)).rejects.toThrow(/cannot say this of the model: rope\.scaling/);
    const divided = new Map(weights as unknown as Map<string, HostTensor>);
    divided.set("rope_freqs.weight", { dtype: "f32", shape: [4], data: Float32Array.of(1, 2, 3, 4) });
    const stretched = { "rope.scaling.type": "yarn", "rope.scaling.factor": 4 };
    await expect(toFolder(written(metadataOf("llama", config, stretched), divided))).rejects.toThrow(
      /a factor for each pair cannot be written/,
    );
  });
});

describe("LongRoPE", () => {
  const lists = { rope_factors_short: [1, 1.25, 1.5, 2], rope_factors_long: [1.25, 3, 7, 20] };
  const magnitude = Math.fround(Math.sqrt(1 + Math.log(300 / 20) / Math.log(20)));
  const scaling = {
    kind: "factors",
    factors: lists.rope_factors_short,
    longFactors: lists.rope_factors_long,
    originalContext: 20,
    magnitude,
  } as const;
  const file = (arch: string, rope: Variant["rope"], extra: Record<string, GgufValue> = {}) => {
    const model = withScaling({ rope }, scaling);
    const stored = new Map(model.weights as unknown as Map<string, HostTensor>);
    for (const [name, list] of Object.entries(lists))
      stored.set(`${name}.weight`, { dtype: "f32", shape: [4], data: Float32Array.from(list) });
    const metadata = { "rope.scaling.original_context_length": 20, "rope.scaling.attn_factor": magnitude, ...extra };
    return { model, bytes: ggufFile(arch, model.config, stored, metadata) };
  };
  const counts = [12, 20, 21, 40];

  test.each([
    ["phi3", halves],
    ["llama", neighbours],
  ] as const)("%s from GGUF to safetensors and back", async (arch, rope) => {
    const { model, bytes } = file(arch, rope);
    await expectSays(bytes, model, counts);
    const path = await toFolder(bytes);
    // Phi 3's class takes these three, and the context beside them.
    expect(await jsonOf(path)).toMatchObject({
      rope_scaling: { type: "longrope", short_factor: scaling.factors, long_factor: scaling.longFactors },
      original_max_position_embeddings: 20,
    });
    expect(Object.keys((await jsonOf(path))["rope_scaling"] as object)).toHaveLength(3);
    await expectSays(path, model, counts);
    const again = await toGguf(path);
    await expectSays(again, model, counts);
    const { tensors, metadata } = await readGguf(bytesSource(again));
    expect([...tensors.keys()].filter((name) => name.startsWith("rope_"))).toEqual(
      Object.keys(lists).map((name) => `${name}.weight`),
    );
    expect(metadata.get(`${arch}.rope.scaling.original_context_length`)).toBe(20);
  });

  test("a magnitude of its own goes along", async () => {
    const { model, bytes } = file("llama", neighbours, { "rope.scaling.attn_factor": 1.5 });
    const own = {
      config: { ...model.config, rope: { ...model.config.rope!, scaling: { ...scaling, magnitude: 1.5 } } },
    };
    for (const source of [bytes, await toFolder(bytes), await toGguf(await toFolder(bytes))])
      await expectSays(source, { ...own, weights: model.weights }, [12, 40]);
  });

  test("a file without the list of short texts is told", async () => {
    const { config, weights } = build({ rope: halves });
    const stored = new Map(weights as unknown as Map<string, HostTensor>);
    stored.set("rope_factors_long.weight", { dtype: "f32", shape: [4], data: Float32Array.of(1, 2, 3, 4) });
    const found = readDecoder(bytesSource(ggufFile("phi3", config, stored)));
    await expect(found).rejects.toThrow(FormatError);
    await expect(found).rejects.toThrow(/rope_factors_short\.weight" is missing/);
  });
});

test("of heads that are rotated in part only that part changes places", async () => {
  const model = build({ headDim: 16, rope: { ...neighbours, dim: 8 }, biases: ["attn_q", "attn_k"] });
  const bytes = ggufFile("llama", model.config, model.weights);
  await expectSays(bytes, model);
  const path = await toFolder(bytes);
  expect(await jsonOf(path)).toMatchObject({ partial_rotary_factor: 0.5 });
  await expectSays(path, model);
  await expectSays(await toGguf(path), model);
});

describe("config.json", () => {
  const fields = async (arch: string, variant: Variant, extra?: Record<string, GgufValue>) => {
    const { config, weights } = build(variant);
    return jsonOf(await toFolder(ggufFile(arch, config, weights, extra)));
  };

  test("says of which matrices there are biases", async () => {
    const attention = ["attn_q", "attn_k", "attn_v", "attn_output"];
    const mlp = ["ffn_gate", "ffn_up", "ffn_down"];
    const of = async (arch: string, biases: string[]) => {
      const rope = arch === "llama" ? neighbours : halves;
      const { attention_bias, mlp_bias } = await fields(arch, { rope, biases });
      return [attention_bias, mlp_bias];
    };
    expect(await of("llama", [])).toEqual([undefined, undefined]);
    expect(await of("llama", attention)).toEqual([true, undefined]);
    expect(await of("llama", [...attention, ...mlp])).toEqual([true, true]);
    expect(await of("qwen3", attention)).toEqual([true, undefined]);
    expect(await of("qwen2", attention.slice(0, 3))).toEqual([undefined, undefined]);
  });

  test("says that Gemma 2 has no caps", async () => {
    const none = { attn_logit_softcapping: 0, final_logit_softcapping: 0 };
    const variant = { ...variants["gemma2"], attentionScale: undefined };
    const json = await fields("gemma2", { ...variant, attentionSoftcap: undefined, logitSoftcap: undefined }, none);
    expect(json).toMatchObject({
      attn_logit_softcapping: null,
      final_logit_softcapping: null,
      hidden_activation: "gelu_pytorch_tanh",
    });
    expect(await fields("gemma2", variant)).toMatchObject({ attn_logit_softcapping: 5, final_logit_softcapping: 3 });
  });

  test("has no windows for Gemma", async () => {
    const windows = fields("gemma", { ...variants["gemma"], layers: [{ window: 5 }, { window: 5 }] });
    await expect(windows).rejects.toThrow(UnsupportedOpError);
    await expect(windows).rejects.toThrow(/layers of "gemma" have no windows/);
  });
});

test("OLMo 3 has a base for layers with a window, which GGUF files do not", async () => {
  const { config, weights } = build({ ...variants["olmo3"], layers: [{ window: 6 }], rope: halves });
  const path = await toFolder(ggufFile("olmo2", config, weights));
  const { model_type, rope_parameters } = await jsonOf(path);
  const both = rope_parameters as Record<string, object>;
  expect([model_type, both["sliding_attention"]]).toEqual(["olmo3", { rope_type: "default", rope_theta: 10000 }]);
  await edit(path, { rope_parameters: { ...both, sliding_attention: { rope_theta: 500 } } });
  await expectSays(path, { config: { ...config, localRope: { ...halves, base: 500 } }, weights });
  await expect(toGguf(path)).rejects.toThrow(/cannot say this of the model: localRope/);
});

const unturned = { rope: false } as const;
const smollm3 = { rope: neighbours, layers: [{}, {}, {}, unturned] };

test("SmolLM3's GGUF files have no windows", async () => {
  const { config, weights } = build(smollm3);
  await expectSays(ggufFile("smollm3", config, weights, { "attention.sliding_window": 3 }), { config, weights });
});

describe("GGUF has no words for", () => {
  const gemma2 = { ...variants["gemma2"], attentionScale: undefined };
  test.each<[string, Variant, object, RegExp]>([
    ["gpt2", variants["gpt2"], { scale_attn_weights: false }, /attentionScale/],
    ["gpt2", variants["gpt2"], { scale_attn_by_inverse_layer_idx: true }, /layers/],
    ["gemma2", gemma2, { hidden_activation: "silu" }, /activation/],
    ["smollm3", smollm3, { no_rope_layers: [1, 0, 1, 0] }, /layers/],
    ["smollm3", smollm3, { sliding_window: 3, layer_types: Array(4).fill("sliding_attention") }, /layers/],
  ])("%s, %#", async (arch, variant, change, message) => {
    const { config, weights } = build(variant);
    const path = await edit(await toFolder(ggufFile(arch, config, weights)), change);
    await expect(toGguf(path)).rejects.toThrow(UnsupportedOpError);
    await expect(toGguf(path)).rejects.toThrow(message);
  });
});
