/** Hugging Face folders as they come: what is in them is used, or refused by its name. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { convert } from "../../src/formats/convert/index.ts";
import { readDecoder } from "../../src/formats/decoder/read.ts";
import { readSafetensors, writeSafetensors } from "../../src/formats/safetensors.ts";
import { bytesSource, openSource } from "../../src/formats/source.ts";
import { FormatError, type HostTensor, InputError, UnsupportedOpError } from "../../src/index.ts";
import { renderChat } from "../../src/tasks/language/chat.ts";
import { openTokenizer } from "../../src/tasks/tokenizers/open.ts";
import { text as anyText, build, variants } from "../models/tiny.ts";
import { ggufCases, ggufFile } from "../tasks/gguf-files.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";
import { bytesOf, jsonOf, logits, savedIn, worst } from "./converted.ts";

const root = await mkdtemp(join(tmpdir(), "forwardpass-huggingface-"));
afterAll(() => rm(root, { recursive: true }));

interface Folder {
  readonly config: Record<string, unknown>;
  readonly tensors: Map<string, HostTensor>;
}

async function folderOf(arch: string, variant: Parameters<typeof build>[0]): Promise<Folder> {
  const { config, weights } = build(variant);
  const model = await convert(ggufFile(arch, config, weights), { to: "safetensors" });
  const parts: Uint8Array[] = [];
  for await (const chunk of model.chunks) parts.push(chunk);
  const file = await readSafetensors(bytesSource(Buffer.concat(parts)));
  const tensors = new Map<string, HostTensor>();
  for (const [name, t] of file.tensors) tensors.set(name, await t.read());
  return { config: JSON.parse(model.beside.get("config.json")!), tensors };
}
const halves = { dim: 8, base: 10000, interleaved: true };
const llama = await folderOf("llama", { rope: halves, untied: true });
const qwen = await folderOf("qwen2", { rope: { ...halves, interleaved: false } });

/** @param config written as it is where it is a text */
async function saved(f: Folder, config: object | string, tensors: Record<string, HostTensor> = {}): Promise<string> {
  const path = await mkdtemp(join(root, "f-"));
  await writeFile(
    join(path, "model.safetensors"),
    writeSafetensors(new Map([...f.tensors, ...Object.entries(tensors)])),
  );
  const json = typeof config === "string" ? config : JSON.stringify({ ...f.config, ...config });
  await writeFile(join(path, "config.json"), json);
  return path;
}
const configOf = async (f: Folder, config: object | string, tensors?: Record<string, HostTensor>) =>
  (await readDecoder(await openSource(await saved(f, config, tensors)))).config;

const ones = (...shape: number[]): HostTensor => {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1);
  return { dtype: "f32", shape, data };
};

const tokens = anyText(12);

describe("weights that are more than their elements", () => {
  const q = "model.layers.0.self_attn.q_proj.weight";
  const bytes = { i8: Int8Array, f8e4m3fn: Uint8Array } as const;
  test.each(["i8", "f8e4m3fn"] as const)("%s with scales is refused by the name of the method", async (dtype) => {
    const { shape } = llama.tensors.get(q)!;
    const data = new bytes[dtype](shape[0] * shape[1]).fill(7);
    const weights = { [q]: { dtype, shape, data } as HostTensor, [`${q}_scale`]: ones(1) };
    const quantised = configOf(llama, { quantization_config: { quant_method: "fp8" } }, weights);
    await expect(quantised).rejects.toThrow(UnsupportedOpError);
    await expect(quantised).rejects.toThrow(/quantised with fp8 \("model\.layers\.0.*take a GGUF file/);
    // Without the field it is the scale that is not known.
    await expect(configOf(llama, {}, weights)).rejects.toThrow(/tensor "model.*q_proj\.weight_scale"/);
    // Floats of 8 bits alone are plain weights.
    if (dtype === "f8e4m3fn") await configOf(llama, {}, { [q]: weights[q] });
  });

  test("floats in a file that says that it was quantised are read", async () => {
    await configOf(llama, { quantization_config: { quant_method: "none" } });
  });

  test.each([
    "model.layers.0.self_attn.q_proj.qweight",
    "model.layers.0.self_attn.q_proj.lora_A.weight",
    "model.layers.0.self_attn.sinks",
    "model.layers.0.mlp.experts.0.up_proj.weight",
    "model.layers.1.self_attn.rotary.bias",
    "model.layers.0.input_layernorm.bias",
    "model.layers.0.self_attn.q_norm.weight",
    "model.embed_tokens.bias",
    "score.weight",
  ])("%s is refused by its name", async (name) => {
    const found = configOf(llama, {}, { [name]: ones(8), "z.other": ones(1) });
    await expect(found).rejects.toThrow(UnsupportedOpError);
    await expect(found).rejects.toThrow(`tensor "${name}" and 1 more of a model of type "llama" would be left out`);
    await expect(found).rejects.toMatchObject({ missing: [name, "z.other"] });
  });

  test("what older files keep besides is left out", async () => {
    const buffers = {
      "model.layers.0.self_attn.rotary_emb.inv_freq": ones(4),
      "model.rotary_emb.inv_freq": ones(4),
      "model.embeddings.position_ids": ones(1, 8),
      "transformer.h.0.attn.bias": ones(1, 1, 8, 8),
      "h.0.attn.masked_bias": ones(1),
    };
    await configOf(llama, { quantization_config: null }, buffers);
  });
});

describe("the output projection", () => {
  const embeddings = llama.tensors.get("model.embed_tokens.weight")!;
  const weightsOf = async (config: object, tensors: Record<string, HostTensor> = {}) =>
    (await readDecoder(await openSource(await saved(llama, config, tensors)))).weights;

  test("of a file that says that it is the embeddings is left out where it is, and refused where not", async () => {
    const tied = { tie_word_embeddings: true };
    expect((await weightsOf(tied, { "lm_head.weight": embeddings })).has("output.weight")).toBe(false);
    await expect(weightsOf(tied)).rejects.toThrow(UnsupportedOpError);
    await expect(weightsOf(tied)).rejects.toThrow(/"lm_head.weight" differs from the embeddings/);
    for (const tie_word_embeddings of [false, undefined, null])
      expect((await weightsOf({ tie_word_embeddings })).has("output.weight")).toBe(true);
  });

  test("is the embeddings where the file does not say it and Hugging Face's class has it so", async () => {
    const unsaid = { model_type: "smollm3", tie_word_embeddings: undefined };
    await expect(weightsOf(unsaid)).rejects.toThrow(/"lm_head.weight" differs from the embeddings/);
    expect((await weightsOf(unsaid, { "lm_head.weight": embeddings })).has("output.weight")).toBe(false);
  });

  test("has its bias, which alone is refused", async () => {
    const bias = { "lm_head.bias": ones(embeddings.shape[0]) };
    expect((await weightsOf({ tie_word_embeddings: false }, bias)).has("output.bias")).toBe(true);
    await expect(weightsOf({ tie_word_embeddings: true }, { ...bias, "lm_head.weight": embeddings })).rejects.toThrow(
      /"lm_head.bias" belongs to .* would be left out/,
    );
    const biased = new Map([...qwen.tensors, ...Object.entries(bias)]);
    await expect(configOf({ ...qwen, tensors: biased }, {})).rejects.toThrow(UnsupportedOpError);
  });

  test("is missed where the file says that it is its own", async () => {
    await expect(configOf(qwen, { tie_word_embeddings: false })).rejects.toThrow(/there is no lm_head\.weight/);
  });
});

describe("rotary positions", () => {
  const old = { rope_theta: undefined, rope_scaling: undefined };
  test("as Transformers 5 writes them", async () => {
    const half = { rope_type: "default", rope_theta: 500, partial_rotary_factor: 0.5 };
    const { rope } = await configOf(llama, { ...old, rope_parameters: half });
    expect(rope).toEqual({ dim: 4, base: 500, interleaved: false, scaling: undefined });
    const before = await configOf(llama, { rope_theta: 500, partial_rotary_factor: 0.5 });
    expect(before.rope).toEqual(rope);
  });

  test("of each type of layer", async () => {
    const gemma = await folderOf("gemma3", {
      ...variants["gemma3"],
      layers: [{}, {}],
      localRope: undefined,
      rope: { ...halves, interleaved: false },
    });
    const parameters = {
      full_attention: { rope_type: "linear", factor: 8, rope_theta: 1e6 },
      sliding_attention: { rope_type: "default", rope_theta: 1e4 },
    };
    const c = await configOf(gemma, { ...old, rope_local_base_freq: undefined, rope_parameters: parameters });
    expect(c.rope).toMatchObject({ base: 1e6, scaling: { kind: "linear", factor: 8 } });
    expect(c.localRope).toMatchObject({ base: 1e4, scaling: undefined });
  });

  test.each<[object, number | undefined]>([
    [{}, undefined],
    [{ attention_factor: 1.5, mscale: 2, mscale_all_dim: 1 }, 1.5],
    [{ mscale: 2, mscale_all_dim: 1 }, (0.2 * Math.log(4) + 1) / (0.1 * Math.log(4) + 1)],
    [{ mscale: 0.7, mscale_all_dim: 0.7 }, 1],
    [{ mscale: 2 }, undefined],
    [{ mscale: 2, mscale_all_dim: 0 }, undefined],
  ])("of YaRN with %j", async (fields, magnitude) => {
    const { rope } = await configOf(llama, { rope_scaling: { rope_type: "yarn", factor: 4, ...fields } });
    expect(rope?.scaling).toMatchObject({ kind: "yarn", magnitude });
  });

  test("of YaRN that does not round is refused", async () => {
    const rope_scaling = { rope_type: "yarn", factor: 4, truncate: false };
    await expect(configOf(llama, { rope_scaling })).rejects.toThrow(UnsupportedOpError);
  });

  test.each<[object, RegExp]>([
    [{ rope_type: "llama3", factor: 8 }, /no rope_scaling\.low_freq_factor/],
    [
      { rope_type: "llama3", factor: 8, low_freq_factor: 4, high_freq_factor: 4 },
      /rope_scaling\.high_freq_factor .* is 4, not above/,
    ],
    [{ type: "linear" }, /no rope_scaling\.factor/],
    [{ rope_type: "yarn", factor: 4, beta_fast: "x" }, /rope_scaling\.beta_fast in config\.json is "x", not a number/],
    [{ rope_type: "yarn", factor: -4 }, /rope_scaling\.factor in config\.json is -4, not a number above 0/],
    [{ rope_type: "longrope", short_factor: 5, long_factor: 5 }, /rope_scaling\.short_factor .* is 5, not a list/],
    [{ rope_type: "longrope", short_factor: [1, 1, 0, 1], long_factor: [] }, /gives 0 as the rotary factor of pair 2/],
  ])("%j is told by the field", async (rope_scaling, message) => {
    const found = configOf(llama, { rope_scaling });
    await expect(found).rejects.toThrow(FormatError);
    await expect(found).rejects.toThrow(message);
  });
});

describe("windows", () => {
  const windows = async (config: object) =>
    (await configOf(qwen, { sliding_window: 5, layer_types: undefined, ...config })).layers.map((l) => l.window ?? 0);
  test("from a layer on", async () => {
    const use_sliding_window = true;
    expect(await windows({ use_sliding_window, max_window_layers: 0 })).toEqual([5, 5]);
    expect(await windows({ use_sliding_window, max_window_layers: 1 })).toEqual([0, 5]);
    expect(await windows({ use_sliding_window, max_window_layers: 2 })).toEqual([0, 0]);
    // The default of Transformers is 28.
    expect(await windows({ use_sliding_window })).toEqual([0, 0]);
    expect(await windows({ use_sliding_window: false, max_window_layers: 0 })).toEqual([0, 0]);
  });

  test("by the types of the layers, which decide", async () => {
    const layer_types = ["sliding_attention", "full_attention"];
    expect(await windows({ use_sliding_window: true, max_window_layers: 1, layer_types })).toEqual([5, 0]);
    await expect(windows({ layer_types: ["full_attention"] })).rejects.toThrow(/layer_types .* no list of 2 types/);
    await expect(windows({ layer_types: ["full_attention", "chunked_attention"] })).rejects.toThrow(UnsupportedOpError);
  });
});

describe("Gemma 3 that sees pictures", async () => {
  const plain = await folderOf("gemma3", {
    ...variants["gemma3"],
    layers: [{ window: 6 }, { window: 6 }],
    rope: { ...halves, interleaved: false },
  });
  const { tie_word_embeddings: _, ...text } = plain.config;
  const outer = { model_type: "gemma3", vision_config: { hidden_size: 4 }, hidden_size: 4, sliding_window: 1 };
  const whole = (text_config: unknown, fields: object = {}): string =>
    JSON.stringify({ ...outer, text_config, ...fields });
  const seeing = (prefix: string, before = ""): Folder => ({
    config: {},
    tensors: new Map([
      ...[...plain.tensors].map(([name, t]): [string, HostTensor] => [name.replace("model.", prefix), t]),
      [`${before}vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight`, ones(4, 4)],
      [`${before}multi_modal_projector.mm_input_projection_weight`, ones(4, 32)],
    ]),
  });
  const folder = seeing("language_model.model.");
  const fileOf = async (json: string) => readDecoder(await openSource(await saved(folder, json)));

  test.each([
    ["language_model.model.", ""],
    ["model.language_model.", "model."],
  ])("is read and converted as its text part, %s", async (prefix, before) => {
    const want = await logits(await saved(plain, {}), tokens);
    const path = await saved(seeing(prefix, before), whole(text, { torch_dtype: "float32", eos_token_id: [1, 7] }));
    expect(worst(await logits(path, tokens), want)).toBe(0);
    expect(worst(await logits(await bytesOf(await convert(path, { to: "gguf" })), tokens), want)).toBeLessThan(1e-5);
    const again = await savedIn(root, await convert(path, { to: "safetensors" }));
    expect(worst(await logits(again, tokens), want)).toBe(0);
    const json = await jsonOf(again);
    expect(json).toMatchObject({ ...text, model_type: "gemma3_text", eos_token_id: [1, 7] });
    expect(json).not.toHaveProperty("vision_config");
  });

  test("has its cap of logits, tie, ends and quantisation where Hugging Face's classes look for them", async () => {
    const inner = { ...text, final_logit_softcapping: 3, tie_word_embeddings: false };
    expect((await fileOf(whole(inner))).config.logitSoftcap).toBeUndefined();
    await expect(fileOf(whole(text, { tie_word_embeddings: false }))).rejects.toThrow(/there is no lm_head\.weight/);
    const quantised = whole(text, { quantization_config: { quant_method: "fp8" } });
    const q = "language_model.model.layers.0.self_attn.q_proj.weight";
    const bytes = { dtype: "i8", shape: [32, 32], data: new Int8Array(1024) } as HostTensor;
    await expect(configOf(folder, quantised, { [q]: bytes })).rejects.toThrow(/quantised with fp8/);
    for (const [fields, end] of [
      [{ eos_token_id: 5 }, [5]],
      [{}, [9]],
    ] as const) {
      const path = await saved(folder, whole({ ...text, eos_token_id: 9 }, fields));
      await writeFile(join(path, "tokenizer.json"), "{}");
      expect((await readDecoder(await openSource(path))).vocabulary).toMatchObject({ end });
    }
  });

  test("lists only what differs from Hugging Face's class", async () => {
    const wide = await folderOf("gemma3", {
      ...variants["gemma3"],
      layers: [{ window: 6 }, { window: 6 }],
      ...{ heads: 8, kvHeads: 4, headDim: 256, rope: { ...halves, interleaved: false, dim: 256 } },
    });
    for (const text_config of [{}, null, undefined])
      expect(await configOf(wide, whole(text_config))).toMatchObject({
        ...{ vocabSize: 262208, width: 2304, heads: 8, kvHeads: 4, headDim: 256, contextLength: 8192 },
        ...{ norm: { epsilon: 1e-6 }, activation: "geluTanh", attentionScale: 1 / 16 },
        layers: Array.from({ length: 26 }, (_, n) => ((n + 1) % 6 ? { window: 4096 } : {})),
        ...{ rope: { base: 1e6 }, localRope: { base: 1e4 } },
      });
    for (const text_config of ["x", []])
      await expect(configOf(wide, whole(text_config))).rejects.toThrow(
        /text_config in config\.json is .* not an object/,
      );
  });
});

describe("configurations that say nothing", () => {
  test.each<[object | string, RegExp]>([
    ["null", /config\.json has no model_type/],
    ["[]", /config\.json is no object/],
    ["5", /config\.json is no object/],
    [{ rms_norm_eps: -1 }, /rms_norm_eps in config\.json is -1, not a number above 0/],
    [{ rms_norm_eps: "1e-5" }, /rms_norm_eps in config\.json is "1e-5", not a number/],
    [{ rope_theta: "10000" }, /rope_theta in config\.json is "10000", not a number/],
    [{ query_pre_attn_scalar: -8 }, /query_pre_attn_scalar in config\.json is -8/],
    [{ final_logit_softcapping: -8 }, /-8 as logitSoftcap/],
    [{ num_hidden_layers: 1 }, /gives 1 layers, but there are more weights: "blk\.1\./],
    [{ rope_scaling: "linear" }, /rope_scaling in config\.json is "linear", not an object/],
  ])("%j", async (config, message) => {
    const found = configOf(llama, config);
    await expect(found).rejects.toThrow(FormatError);
    await expect(found).rejects.toThrow(message);
  });

  test.each(["tokenizer.json", "tokenizer_config.json", "generation_config.json"])(
    "%s that is no object",
    async (name) => {
      const path = await saved(llama, {});
      await writeFile(join(path, "tokenizer.json"), "{}");
      await writeFile(join(path, name), "[1]");
      await expect(openSource(path).then((s) => readDecoder(s))).rejects.toThrow(`${name} is no object`);
    },
  );
});

describe("the chat template", () => {
  const templateOf = async (inside: unknown, file?: string) => {
    const path = await saved(llama, {});
    await writeFile(join(path, "tokenizer.json"), "{}");
    await writeFile(join(path, "tokenizer_config.json"), JSON.stringify({ chat_template: inside }));
    if (file !== undefined) await writeFile(join(path, "chat_template.jinja"), file);
    return (await readDecoder(await openSource(path))).chatTemplate;
  };
  const named = (...names: string[]) => names.map((name) => ({ name, template: `of ${name}` }));

  test("in a file of its own comes before that of tokenizer_config.json", async () => {
    expect(await templateOf("inside")).toBe("inside");
    expect(await templateOf("inside", "beside")).toBe("beside");
    expect(await templateOf(named("default"), "beside")).toBe("beside");
    expect(await templateOf(undefined, "beside")).toBe("beside");
    expect(await templateOf(null)).toBeUndefined();
  });

  test("of several is the default; where none is, the names are told once it is used", async () => {
    expect(await templateOf(named("tool_use", "default", "rag"))).toBe("of default");
    const template = await templateOf(named("tool_use", "rag"));
    const messages = [{ role: "user", content: "hello" }];
    const tokenizer = await openTokenizer((await readDecoder(await openSource(tinyGguf()))).vocabulary!);
    const used = renderChat(template!, messages, tokenizer);
    await expect(used).rejects.toThrow(InputError);
    await expect(used).rejects.toThrow(/has templates named tool_use, rag and none named default.*{ chatTemplate }/);
  });
});

test("GPT-2's activation is the one that is named", async () => {
  const [arch, variant] = ggufCases.find(([name]) => name === "gpt2")!;
  const gpt2 = await folderOf(arch, variant);
  expect((await configOf(gpt2, {})).activation).toBe("geluTanh");
  expect((await configOf(gpt2, { activation_function: undefined })).activation).toBe("geluTanh");
  expect((await configOf(gpt2, { activation_function: "relu" })).activation).toBe("relu");
});
