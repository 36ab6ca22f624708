/** Hugging Face folders as decoders: what `config.json` and tensor names mean, model type by model type. */
import type { DecoderConfig, DecoderLayer } from "../../models/transformer/config.ts";
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import { activationOf } from "../activation.ts";
import { checkTensors } from "../checkpoint.ts";
import { asF32, type Json, type ModelFolder } from "../folder.ts";
import { isObject } from "../is-object.ts";
import type { SafetensorsTensor } from "../safetensors.ts";
import { Fields } from "./config-fields.ts";
import { checkLayers, checkSizes, contextOf, type DecoderFile, type FileWeight, type ReadOptions } from "./file.ts";
import {
  gemma2Names,
  ggufName,
  gpt2Names,
  hasNoEffect,
  llamaNames,
  type Names,
  olmo2Names,
  phi3Names,
} from "./huggingface-names.ts";
import { ropesOf } from "./huggingface-rope.ts";
import type { TokenizerJson } from "./vocabulary.ts";
import type { F32Weight } from "./weights.ts";

export interface ModelType {
  /** GGUF's name of it. */
  readonly architecture: string;
  readonly names: Names;
  /** Where the configuration names none. Default: silu. */
  readonly activation?: DecoderConfig["activation"];
  /** Numbers of Hugging Face's class for keys that a configuration lacks. `null` there stands for none. */
  readonly defaults?: Readonly<Record<string, number>>;
  /** Norms multiply by 1 + weight, and embeddings by the square root of the width. */
  readonly gemma?: boolean;
  /** Queries and keys have a norm of their own. */
  readonly headNorms?: boolean;
  /** Where norms are, unless they are before the halves of layers, and of each head. */
  readonly norms?: Pick<DecoderConfig["norm"], "behind" | "acrossHeads">;
  /** Matrices are stored [inputs, outputs], and norms have biases. */
  readonly transposed?: boolean;
  /** Whether layer n has the window where `layer_types` does not say it. Without it none has, whatever the configuration says. */
  readonly windowed?: (n: number, config: Fields) => boolean;
  /** There is a window only with `use_sliding_window`. */
  readonly choosesWindow?: boolean;
  /** With `use_bidirectional_attention` half of the window lies behind a token. */
  readonly halvesWindow?: boolean;
  /** Whether positions are turned in layer n. Default: in all. */
  readonly turned?: (n: number, config: Fields) => boolean;
  /** Embeddings, scores, halves of layers and logits have factors. */
  readonly scaled?: boolean;
  /** It sees more than texts: the configuration of what reads and writes them, `text_config`, is that of this type. */
  readonly text?: string;
  /** Where the configuration does not say it, the embeddings are the output projection. */
  readonly tied?: boolean;
}

const llama: ModelType = { architecture: "llama", names: llamaNames };
const qwen: Omit<ModelType, "architecture"> = {
  names: llamaNames,
  choosesWindow: true,
  defaults: { sliding_window: 4096 },
  windowed: (n, config) => n >= (config.number("max_window_layers") ?? 28),
};
const gemma: ModelType = {
  architecture: "gemma",
  names: llamaNames,
  activation: "geluTanh",
  gemma: true,
  tied: true,
  defaults: { head_dim: 256 },
};
function smollm3Turns(n: number, config: Fields): boolean {
  const list = config.json["no_rope_layers"] ?? undefined;
  if (list === undefined) return (n + 1) % (config.positive("no_rope_layer_interval") ?? 4) !== 0;
  const turns: unknown = Array.isArray(list) ? list[n] : undefined;
  return turns === 0 || turns === 1 ? turns === 1 : config.wrong("no_rope_layers", "a list of 1 or 0 for each layer");
}
const olmo2: ModelType = {
  architecture: "olmo2",
  names: olmo2Names,
  headNorms: true,
  norms: { behind: true, acrossHeads: true },
  defaults: { rms_norm_eps: 1e-5 },
};
const gemma2Defaults = { head_dim: 256, query_pre_attn_scalar: 256, sliding_window: 4096 };
const gemma3: ModelType = {
  ...gemma,
  architecture: "gemma3",
  headNorms: true,
  halvesWindow: true,
  names: gemma2Names,
  // Inside of another one a configuration lists only what differs from the class.
  defaults: {
    ...gemma2Defaults,
    vocab_size: 262208,
    hidden_size: 2304,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    max_position_embeddings: 131072,
    rope_theta: 1e6,
    rope_local_base_freq: 1e4,
  },
  windowed: (n, config) => (n + 1) % (config.number("sliding_window_pattern") ?? 6) !== 0,
};
export const modelTypes: Readonly<Record<string, ModelType>> = {
  llama,
  mistral: { ...llama, windowed: () => true, defaults: { sliding_window: 4096 } },
  qwen2: { ...qwen, architecture: "qwen2" },
  qwen3: { ...qwen, architecture: "qwen3", headNorms: true, defaults: { ...qwen.defaults, head_dim: 128 } },
  phi3: {
    names: phi3Names,
    architecture: "phi3",
    windowed: () => true,
    defaults: { rms_norm_eps: 1e-5, original_max_position_embeddings: 4096 },
  },
  gemma,
  gemma2: {
    ...gemma,
    architecture: "gemma2",
    names: gemma2Names,
    windowed: (n) => n % 2 === 0,
    defaults: { ...gemma2Defaults, attn_logit_softcapping: 50, final_logit_softcapping: 30 },
  },
  gemma3_text: gemma3,
  gemma3: { ...gemma3, text: "gemma3_text" },
  gpt2: { architecture: "gpt2", names: gpt2Names, activation: "geluTanh", transposed: true, tied: true },
  smollm3: {
    ...llama,
    architecture: "smollm3",
    tied: true,
    defaults: { rope_theta: 2e6 },
    turned: smollm3Turns,
    windowed: (n, config) => config.json["use_sliding_window"] === true && !smollm3Turns(n, config),
  },
  granite: {
    ...llama,
    architecture: "granite",
    scaled: true,
    defaults: { embedding_multiplier: 1, residual_multiplier: 1, attention_multiplier: 1, logits_scaling: 1 },
  },
  olmo2,
  olmo3: {
    ...olmo2,
    // Layers with a window have a base of their own, and no scaling.
    defaults: { ...olmo2.defaults, sliding_window: 4096, rope_theta: 5e5, rope_local_base_freq: 5e5 },
    windowed: (n) => (n + 1) % 4 !== 0,
  },
};

/**
 * @throws FormatError for a configuration or tensors that are missing or contradict each other, UnsupportedOpError for a model
 * type that is not known, quantised weights, and tensors that the type does not have
 */
export async function readHuggingFaceDecoder(folder: ModelFolder, options: ReadOptions = {}): Promise<DecoderFile> {
  const json = await folder.json("config.json");
  return {
    ...(await decoderIn(folder, json, options)),
    ...(await readVocabulary(folder, textConfig(folder.name, json))),
  };
}

/**
 * The same without a vocabulary.
 * @param headless it is read for its states: what would make logits of them is left out
 */
export async function decoderIn(
  folder: ModelFolder,
  json: Json,
  options: ReadOptions,
  headless = false,
): Promise<DecoderFile> {
  if (!isObject(json)) throw new FormatError(`${folder.name}: config.json is no object`);
  if (json["model_type"] === undefined)
    throw new FormatError(`${folder.name}: config.json has no model_type: it is not that of a language model`);
  const name = String(json["model_type"]);
  const type = Object.hasOwn(modelTypes, name) ? modelTypes[name] : undefined;
  if (!type)
    throw new UnsupportedOpError(
      `${folder.name}: model type "${name}" is not known; known: ${Object.keys(modelTypes).join(", ")}`,
      { missing: [name] },
    );
  const text = textConfig(folder.name, json);
  const weights = await weightsOf(folder, type, text, headless);
  const config = configOf(new Fields(folder.name, { ...type.defaults, ...text }), type, weights.size, options);
  checkSizes(config, weights, folder.name);
  const count = config.layers.length;
  const beyond = [...weights.keys()].find((key) => Number(/^blk\.(\d+)\./.exec(key)?.[1] ?? -1) >= count);
  if (beyond)
    throw new FormatError(`${folder.name}: config.json gives ${count} layers, but there are more weights: "${beyond}"`);
  return { format: "safetensors", config, weights };
}

/**
 * The configuration of what reads and writes texts: mostly all of it.
 * @throws FormatError for one that is no object
 */
export function textConfig(file: string, json: Json): Json {
  const name = String(json["model_type"]);
  const type = Object.hasOwn(modelTypes, name) ? modelTypes[name].text : undefined;
  if (type === undefined) return json;
  const text = new Fields(file, json).object("text_config")?.json ?? {};
  const { quantization_config, tie_word_embeddings, eos_token_id } = json;
  return {
    ...text,
    model_type: type,
    quantization_config,
    tie_word_embeddings,
    eos_token_id: eos_token_id ?? text["eos_token_id"],
    // Hugging Face's classes for more than texts have no cap.
    final_logit_softcapping: null,
  };
}

function configOf(fields: Fields, type: ModelType, tensors: number, options: ReadOptions): DecoderConfig {
  const { json, file } = fields;
  const learned = type.transposed === true;
  const width = fields.need("hidden_size", "n_embd");
  const heads = fields.need("num_attention_heads", "n_head");
  const headDim = fields.number("head_dim") ?? width / heads;
  const trained = fields.need("max_position_embeddings", "n_positions");
  const { rope, localRope } = learned ? {} : ropesOf(fields, headDim);
  const layers = layersOf(fields, type, checkLayers(fields.need("num_hidden_layers", "n_layer"), tensors, file));
  // Gemma's first configurations have a `hidden_act` that was never used.
  const act = type.gemma ? json["hidden_activation"] : (json["hidden_act"] ?? json["activation_function"]);
  const factor = (key: string): number | undefined => (type.scaled ? fields.needPositive(key) : undefined);
  const scalar = fields.positive("query_pre_attn_scalar");
  const unscaled = learned && json["scale_attn_weights"] === false;
  const attentionScale = unscaled ? 1 : (factor("attention_multiplier") ?? (scalar && 1 / Math.sqrt(scalar)));
  const byLayer = learned && json["scale_attn_by_inverse_layer_idx"] === true;
  const scaleOf = (n: number): number => (attentionScale ?? 1 / Math.sqrt(headDim)) / (n + 1);
  return {
    architecture: type.architecture,
    vocabSize: fields.need("vocab_size"),
    width,
    heads,
    kvHeads: fields.number("num_key_value_heads") ?? heads,
    headDim,
    contextLength: learned ? trained : contextOf(trained, options),
    norm: learned
      ? { kind: "layer", epsilon: fields.positive("layer_norm_epsilon") ?? 1e-5 }
      : { kind: "rms", epsilon: fields.positive("rms_norm_eps") ?? 1e-6, ...type.norms },
    activation: (act ?? undefined) === undefined ? (type.activation ?? "silu") : activationOf(file, act),
    layers: byLayer ? layers.map((l, n) => ({ ...l, attentionScale: scaleOf(n) })) : layers,
    rope,
    localRope,
    attentionScale,
    attentionSoftcap: fields.number("attn_logit_softcapping"),
    logitSoftcap: fields.number("final_logit_softcapping"),
    embeddingScale: type.gemma ? Math.sqrt(width) : factor("embedding_multiplier"),
    residualScale: factor("residual_multiplier"),
    logitDivisor: factor("logits_scaling"),
    bidirectional: isBidirectional(fields, type, layers) || undefined,
  };
}

/** @throws UnsupportedOpError where it is not known what that makes of the model, or of its windows */
function isBidirectional({ json, file }: Fields, type: ModelType, layers: readonly DecoderLayer[]): boolean {
  const own = json["use_bidirectional_attention"] ?? false;
  if (own === false && json["is_causal"] !== false) return false;
  if (own === false ? layers.every((l) => l.window === undefined) : own === true && type.halvesWindow) return true;
  const key = own === false ? "is_causal" : "use_bidirectional_attention";
  throw new UnsupportedOpError(`${file}: "${key}": ${json[key]} of such a model is not supported`, { missing: [key] });
}

function layersOf(fields: Fields, type: ModelType, count: number): DecoderLayer[] {
  const { json, file } = fields;
  const chosen = type.windowed && (!type.choosesWindow || json["use_sliding_window"] === true);
  const given = (chosen && fields.number("sliding_window")) || undefined;
  const halved = type.halvesWindow && json["use_bidirectional_attention"] === true;
  const window = given && halved ? Math.floor(given / 2) + 1 : given;
  const types = json["layer_types"] ?? undefined;
  if (types !== undefined && (!Array.isArray(types) || types.length !== count))
    fields.fail(`layer_types in config.json is no list of ${count} types, one for each layer`);
  const isLocal = (n: number): boolean => {
    const kind = (types as unknown[] | undefined)?.[n];
    if (kind === undefined) return type.windowed?.(n, fields) ?? false;
    if (kind !== "sliding_attention" && kind !== "full_attention")
      throw new UnsupportedOpError(`${file}: layers of type ${JSON.stringify(kind)} are not known`, {
        missing: [String(kind)],
      });
    return kind === "sliding_attention";
  };
  return Array.from({ length: count }, (_, n) => ({
    ...(isLocal(n) && window !== undefined ? { window } : {}),
    ...(type.turned?.(n, fields) === false ? { rope: false } : {}),
  }));
}

async function weightsOf(
  folder: ModelFolder,
  type: ModelType,
  json: Json,
  headless: boolean,
): Promise<Map<string, FileWeight>> {
  const weights = new Map<string, FileWeight>();
  const { tensors } = await folder.weights();
  const counting = [...tensors.values()].filter((t) => !hasNoEffect(t.name));
  checkTensors(folder.name, counting, (t) => nameOf(t.name, type) !== undefined, json);
  const isTied = headless || (await checkHead(folder.name, [...tensors.values()], type, json));
  for (const t of tensors.values()) {
    const name = nameOf(t.name, type);
    if (name === undefined || (isTied && /^output\.(weight|bias)$/.test(name))) continue;
    const flip = type.transposed && t.shape.length === 2 && name.startsWith("blk.");
    const raise = type.gemma && name.endsWith("norm.weight");
    weights.set(name, {
      shape: flip ? [...t.shape].reverse() : t.shape,
      stored: t.dtype === "f16" ? "F16" : t.dtype === "bf16" ? "BF16" : "F32",
      async read(signal) {
        const w = asF32(await t.read(signal));
        if (flip) return transposed(w);
        return raise ? { ...w, data: w.data.map((v) => v + 1) } : w;
      },
    });
  }
  return weights;
}

/** GGUF's name of a weight that models of the type have. */
function nameOf(tensor: string, type: ModelType): string | undefined {
  const name = ggufName(tensor, type.names);
  if (name === undefined || /^(token|position)_embd\.bias$/.test(name)) return undefined;
  if (!type.transposed && name.endsWith("norm.bias")) return undefined;
  return !type.headNorms && /\.attn_[qk]_norm\./.test(name) ? undefined : name;
}

/**
 * Whether the embeddings are the output projection, too.
 * @throws UnsupportedOpError where the file has both, and which of them counts is not clear, or a bias that nothing adds; FormatError
 * where it has none
 */
async function checkHead(
  file: string,
  tensors: readonly SafetensorsTensor[],
  type: ModelType,
  json: Json,
): Promise<boolean> {
  const find = (name: string) => tensors.find((t) => !hasNoEffect(t.name) && nameOf(t.name, type) === name);
  const [head, bias, embeddings] = ["output.weight", "output.bias", "token_embd.weight"].map(find);
  const said = json["tie_word_embeddings"] ?? undefined;
  if (!head && said === false)
    throw new FormatError(`${file}: "tie_word_embeddings" is false in config.json, but there is no lm_head.weight`);
  const isTied = !head || (said ?? type.tied) === true;
  const refuse = (what: string, t: SafetensorsTensor): never => {
    throw new UnsupportedOpError(`${file}: "${t.name}" ${what}`, { missing: [t.name] });
  };
  if (isTied && bias) refuse("belongs to an output projection that is the embeddings: it would be left out", bias);
  if (isTied && head && embeddings && !(await areEqual(head, embeddings)))
    refuse(
      'differs from the embeddings, of which config.json says that they are the same: set "tie_word_embeddings" to false to use it',
      head,
    );
  return isTied;
}

async function areEqual(a: SafetensorsTensor, b: SafetensorsTensor): Promise<boolean> {
  if (a.storage !== b.storage || a.byteLength !== b.byteLength) return false;
  const [x, y] = [await a.bytes(), await b.bytes()];
  return x.every((v, i) => v === y[i]);
}

export function transposed({ shape: [rows, columns], data }: F32Weight): F32Weight {
  const out = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j];
  return { dtype: "f32", shape: [columns, rows], data: out };
}

/**
 * The tokenizer of a folder and its chat template, as far as they are there.
 * @throws FormatError for files that hold no JSON object
 */
export async function readVocabulary(
  folder: ModelFolder,
  model: Json,
): Promise<{ vocabulary?: TokenizerJson; chatTemplate?: string }> {
  const object = async (name: string): Promise<Json | undefined> => {
    const json = await folder.optionalJson(name);
    if (json !== undefined && !isObject(json)) throw new FormatError(`${folder.name}: ${name} is no object`);
    return json;
  };
  const source = await object("tokenizer.json");
  if (!source) return {};
  const config = (await object("tokenizer_config.json")) ?? {};
  const generation = (await object("generation_config.json")) ?? {};
  /** A token's name, written out or as an object. */
  const nameOf = (v: unknown): string | undefined =>
    typeof v === "string" ? v : ((v as { content?: string } | null | undefined)?.content ?? undefined);
  const ends = [nameOf(config["eos_token"]), generation["eos_token_id"] ?? model["eos_token_id"]].flat();
  const end = ends.filter((v) => typeof v === "string" || typeof v === "number");
  return {
    vocabulary: { kind: "tokenizer.json", source, config, begin: nameOf(config["bos_token"]), end },
    chatTemplate: (await folder.optionalText("chat_template.jinja")) ?? templateOf(config["chat_template"]),
  };
}

/** A template, or the default of a list of them by their names. Where there is none, one that says so when it is used. */
function templateOf(given: unknown): string | undefined {
  if (!Array.isArray(given)) return typeof given === "string" ? given : undefined;
  const named = new Map<unknown, unknown>(given.map((t) => [t?.name, t?.template]));
  const template = named.get("default");
  if (typeof template === "string") return template;
  const message = `tokenizer_config.json has templates named ${[...named.keys()].join(", ")} and none named default`;
  return `{{ raise_exception(${JSON.stringify(message)}) }}`;
}
