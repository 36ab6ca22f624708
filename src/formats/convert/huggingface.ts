/** Models as safetensors with `config.json`. */
import type { DecoderConfig } from "../../models/transformer/config.ts";
import type { RopeConfig, RopeScaling } from "../../models/transformer/rope.ts";
import { UnsupportedOpError } from "../../tensor/errors.ts";
import type { DecoderFile, FileWeight } from "../decoder/file.ts";
import { type ModelType, modelTypes, textConfig, transposed } from "../decoder/huggingface.ts";
import { huggingFaceName } from "../decoder/huggingface-names.ts";
import { longRopeMagnitude } from "../decoder/huggingface-rope.ts";
import type { ModelFolder } from "../folder.ts";
import { floats, permuteHeads } from "./permute.ts";
import { tokenizerJsonOf } from "./tokenizer-json.ts";
import type { Quantization } from "./types.ts";

/** The first type that has the architecture and, where there are some, windows. Without such a one the first. */
function typeOfModel({ layers, architecture }: DecoderConfig): [string, ModelType] {
  const types = Object.entries(modelTypes).filter(([, t]) => t.architecture === architecture);
  const windowed = layers.some((l) => l.window !== undefined);
  const found = types.find(([, t]) => !windowed || t.windowed) ?? types[0];
  if (found) return found;
  throw new UnsupportedOpError(`Hugging Face's models of architecture "${architecture}" are not known`, {
    missing: [architecture],
  });
}

/** @throws UnsupportedOpError for an architecture, or a part of the model, without a name there */
export function huggingFaceWeights({ config, weights }: DecoderFile): Map<string, FileWeight> {
  const [name, type] = typeOfModel(config);
  const out = new Map<string, FileWeight>();
  const nameless: string[] = [];
  for (const [key, stored] of weights) {
    // Rotary factors are in the configuration.
    if (key.startsWith("rope_")) continue;
    const theirs = huggingFaceName(key, type.names);
    if (theirs === undefined) nameless.push(key);
    else out.set(theirs, asTheirs(key, stored, config, type));
  }
  if (nameless.length > 0)
    throw new UnsupportedOpError(`"${name}" has no name for ${nameless.join(", ")}`, { missing: nameless });
  return out;
}

const text = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/**
 * The files that belong beside the safetensors of any model.
 * @throws UnsupportedOpError for what they cannot say
 */
export function besideOf(file: DecoderFile, tokenizer: boolean): Map<string, string> {
  const { vocabulary, chatTemplate, config } = file;
  const beside = new Map([["config.json", text(configJson(typeOfModel(config)[0], config, file.weights))]]);
  if (!tokenizer || !vocabulary) return beside;
  const v = vocabulary.kind === "tokenizer.json" ? vocabulary : tokenizerJsonOf(vocabulary);
  beside.set("tokenizer.json", text(v.source));
  beside.set("tokenizer_config.json", text({ ...v.config, chat_template: chatTemplate }));
  const ids = v.end.filter((end) => typeof end === "number");
  if (ids.length > 0) beside.set("generation_config.json", text({ eos_token_id: ids }));
  return beside;
}

const torchTypes: Partial<Record<Quantization, string>> = { f32: "float32", f16: "float16", bf16: "bfloat16" };
const tokenizerFiles = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];

/**
 * The same of a model that is a folder: its own files, as they are but for the type of the weights, and for what sees more than
 * texts, whose weights are left out. They say more than is known here.
 */
export async function besideOfFolder(
  folder: ModelFolder,
  quant: Quantization | undefined,
  tokenizer: boolean,
): Promise<Map<string, string>> {
  const beside = new Map<string, string>();
  for (const name of ["config.json", "generation_config.json", ...(tokenizer ? tokenizerFiles : [])]) {
    const own = await folder.optionalText(name);
    if (own !== undefined) beside.set(name, own);
  }
  const whole = await folder.json("config.json");
  const json = textConfig(folder.name, whole);
  const type = quant && torchTypes[quant];
  const changed = ["torch_dtype", "dtype"].filter((key) => type && json[key] !== undefined && json[key] !== type);
  if (changed.length > 0 || json !== whole)
    beside.set("config.json", text({ ...json, ...Object.fromEntries(changed.map((key) => [key, type])) }));
  return beside;
}

/** The weight as Hugging Face's models have it. */
function asTheirs(key: string, stored: FileWeight, config: DecoderConfig, type: ModelType): FileWeight {
  if (config.rope?.interleaved && /\.attn_[qk]\.(weight|bias)$/.test(key))
    return permuteHeads(stored, config.headDim, config.rope.dim, "halves");
  const { shape } = stored;
  if (type.transposed && shape.length === 2 && key.startsWith("blk."))
    return {
      stored: stored.stored,
      shape: [...shape].reverse(),
      read: async (signal) => transposed({ dtype: "f32", ...floats(await stored.read(signal)) }),
    };
  if (!type.gemma || !key.endsWith("norm.weight")) return stored;
  return {
    stored: stored.stored,
    shape,
    async read(signal) {
      const { data } = floats(await stored.read(signal));
      return { dtype: "f32", shape, data: data.map((v) => v - 1) };
    },
  };
}

function configJson(name: string, c: DecoderConfig, weights: DecoderFile["weights"]): Record<string, unknown> {
  const hidden = weights.get("blk.0.ffn_down.weight")?.shape[1];
  const tied = !weights.has("output.weight");
  if (name === "gpt2")
    return {
      model_type: name,
      architectures: ["GPT2LMHeadModel"],
      vocab_size: c.vocabSize,
      n_embd: c.width,
      n_inner: hidden,
      n_head: c.heads,
      n_layer: c.layers.length,
      n_positions: c.contextLength,
      layer_norm_epsilon: c.norm.epsilon,
      activation_function: c.activation === "geluTanh" ? "gelu_new" : c.activation,
      tie_word_embeddings: tied,
    };
  const biased = (parts: RegExp): true | undefined => [...weights.keys()].some((key) => parts.test(key)) || undefined;
  const windows = c.layers.map((l) => l.window);
  const window = windows.find((w) => w !== undefined);
  if (window && !modelTypes[name].windowed)
    throw new UnsupportedOpError(`layers of "${name}" have no windows in config.json`, { missing: ["sliding_window"] });
  const isGemma = name.startsWith("gemma");
  // What Gemma's configurations do not say, some have anyway.
  const none = isGemma ? null : undefined;
  const { scaling } = c.rope ?? {};
  return {
    model_type: name,
    vocab_size: c.vocabSize,
    hidden_size: c.width,
    intermediate_size: hidden,
    num_attention_heads: c.heads,
    num_key_value_heads: c.kvHeads,
    head_dim: c.headDim,
    num_hidden_layers: c.layers.length,
    max_position_embeddings: c.contextLength,
    rms_norm_eps: c.norm.epsilon,
    [isGemma ? "hidden_activation" : "hidden_act"]: c.activation === "geluTanh" ? "gelu_pytorch_tanh" : c.activation,
    // Qwen 2 always has them, and no word for it.
    attention_bias: name === "qwen2" ? undefined : biased(/\.attn_(q|k|v|qkv|output)\.bias$/),
    mlp_bias: biased(/\.ffn_(gate|up|down)\.bias$/),
    tie_word_embeddings: tied,
    rope_theta: c.rope?.base,
    partial_rotary_factor: c.rope && c.rope.dim !== c.headDim ? c.rope.dim / c.headDim : undefined,
    rope_local_base_freq: isGemma ? c.localRope?.base : undefined,
    rope_scaling: scalingJson(scaling, c.contextLength),
    // The only place where OLMo 3 has a base for layers with a window.
    rope_parameters: c.rope && c.localRope && !isGemma ? bothJson(c.rope, c.localRope, c.contextLength) : undefined,
    // Where Phi 3 has it. Those of other scalings are beside their factors.
    original_max_position_embeddings: scaling?.kind === "factors" ? scaling.originalContext : undefined,
    sliding_window: window ?? null,
    layer_types: window && windows.map((w) => (w === undefined ? "full_attention" : "sliding_attention")),
    use_sliding_window: name.startsWith("qwen") ? window !== undefined : undefined,
    no_rope_layers: modelTypes[name].turned && c.layers.map((l) => (l.rope === false ? 0 : 1)),
    ...(modelTypes[name].scaled
      ? {
          embedding_multiplier: c.embeddingScale,
          residual_multiplier: c.residualScale,
          attention_multiplier: c.attentionScale,
          logits_scaling: c.logitDivisor,
        }
      : { query_pre_attn_scalar: c.attentionScale && 1 / c.attentionScale ** 2 }),
    attn_logit_softcapping: c.attentionSoftcap || none,
    final_logit_softcapping: c.logitSoftcap || none,
  };
}

const bothJson = (rope: RopeConfig, local: RopeConfig, contextLength: number): object => ({
  full_attention: { rope_type: "default", ...scalingJson(rope.scaling, contextLength), rope_theta: rope.base },
  sliding_attention: { rope_type: "default", rope_theta: local.base },
});

function scalingJson(s: RopeScaling | undefined, contextLength: number): object | null {
  switch (s?.kind) {
    case undefined:
      return null;
    case "linear":
      return { rope_type: "linear", factor: s.factor };
    case "dynamic":
      return { rope_type: "dynamic", factor: s.factor, original_max_position_embeddings: s.originalContext };
    case "llama3":
      return {
        rope_type: "llama3",
        factor: s.factor,
        low_freq_factor: s.lowFrequency,
        high_freq_factor: s.highFrequency,
        original_max_position_embeddings: s.originalContext,
      };
    case "yarn":
      if (s.factors) refuseFactors();
      return {
        rope_type: "yarn",
        factor: s.factor,
        original_max_position_embeddings: s.originalContext,
        beta_fast: s.betaFast,
        beta_slow: s.betaSlow,
        attention_factor: s.magnitude,
      };
    case "factors": {
      const { factors, longFactors = refuseFactors(), originalContext = refuseFactors(), magnitude = 1 } = s;
      // Phi 3's class takes no other keys than three, and calls the first by its older name.
      const usual = Math.abs(magnitude - longRopeMagnitude(contextLength / originalContext, originalContext)) < 1e-6;
      return {
        type: "longrope",
        short_factor: Array.from(factors),
        long_factor: Array.from(longFactors),
        attention_factor: usual ? undefined : magnitude,
      };
    }
  }
}

function refuseFactors(): never {
  throw new UnsupportedOpError("rotary positions with a factor for each pair cannot be written to config.json", {
    missing: ["rope.scaling"],
  });
}
