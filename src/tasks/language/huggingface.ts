/** Hugging Face folders as decoders: what `config.json` and tensor names mean, model type by model type. */
import type { DecoderConfig, DecoderLayer, Weight } from "../../models/transformer/config.ts";
import type { RopeConfig, RopeScaling } from "../../models/transformer/rope.ts";
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import { asF32, type Json, type ModelFolder } from "../folder.ts";
import { HuggingFaceTokenizer } from "../tokenizers/hugging-face.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import type { LanguageModelFile } from "./file.ts";
import { defaultContextLimit, type ReadOptions } from "./read.ts";
import { type F32Weight, splitRows } from "./weights.ts";

/** Names from the model's to ours, in this order; `$n` is the layer. */
type Names = readonly (readonly [RegExp, string])[];

const llamaNames: Names = [
  [/^model\.(language_model\.)?/, ""],
  [/^embed_tokens\./, "token_embd."],
  [/^norm\./, "output_norm."],
  [/^lm_head\./, "output."],
  [/^layers\.(\d+)\.(?:self_attn|mlp)\.|^layers\.(\d+)\./, "blk.$1$2."],
  [/\.([qkv])_proj\./, ".attn_$1."],
  [/\.o_proj\./, ".attn_output."],
  [/\.([qk])_norm\./, ".attn_$1_norm."],
  [/\.qkv_proj\./, ".attn_qkv."],
  [/\.gate_up_proj\./, ".ffn_gate_up."],
  [/\.(gate|up|down)_proj\./, ".ffn_$1."],
  [/\.input_layernorm\./, ".attn_norm."],
];
/** Norms around each half of a layer: the second of Llama's names means another one. */
const gemma2Names: Names = [
  ...llamaNames,
  [/\.post_attention_layernorm\./, ".post_attention_norm."],
  [/\.pre_feedforward_layernorm\./, ".ffn_norm."],
  [/\.post_feedforward_layernorm\./, ".post_ffw_norm."],
];
const plainNames: Names = [...llamaNames, [/\.post_attention_layernorm\./, ".ffn_norm."]];
const gpt2Names: Names = [
  [/^transformer\./, ""],
  [/^wte\./, "token_embd."],
  [/^wpe\./, "position_embd."],
  [/^ln_f\./, "output_norm."],
  [/^lm_head\./, "output."],
  [/^h\.(\d+)\./, "blk.$1."],
  [/\.ln_1\./, ".attn_norm."],
  [/\.ln_2\./, ".ffn_norm."],
  [/\.attn\.c_attn\./, ".attn_qkv."],
  [/\.attn\.c_proj\./, ".attn_output."],
  [/\.mlp\.c_fc\./, ".ffn_up."],
  [/\.mlp\.c_proj\./, ".ffn_down."],
];

interface ModelType {
  readonly names: Names;
  readonly activation?: DecoderConfig["activation"];
  /** Norms multiply by 1 + weight, and embeddings by the square root of the width. */
  readonly gemma?: boolean;
  /** Matrices are stored [inputs, outputs]. */
  readonly transposed?: boolean;
  /** Whether layer n has the window. Default: as `layer_types` says, else all where there is a window. */
  readonly windowed?: (n: number, json: Json) => boolean;
}

const llama: ModelType = { names: plainNames };
const gemma: ModelType = { names: plainNames, activation: "geluTanh", gemma: true };
const modelTypes: Readonly<Record<string, ModelType>> = {
  llama,
  mistral: llama,
  qwen2: { names: plainNames, windowed: (_, json) => json["use_sliding_window"] === true },
  qwen3: { names: plainNames, windowed: (_, json) => json["use_sliding_window"] === true },
  phi3: llama,
  gemma,
  gemma2: { ...gemma, names: gemma2Names, windowed: (n) => n % 2 === 0 },
  gemma3_text: {
    ...gemma,
    names: gemma2Names,
    windowed: (n, json) => (n + 1) % ((json["sliding_window_pattern"] as number) || 6) !== 0,
  },
  gpt2: { names: gpt2Names, activation: "geluTanh", transposed: true },
};

const activations: Readonly<Record<string, DecoderConfig["activation"]>> = {
  silu: "silu",
  gelu: "gelu",
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
  relu: "relu",
};

/**
 * @throws FormatError for a configuration or tensors that are missing or contradict each other, UnsupportedOpError for a model
 * type that is not known, MissingPeerError where the tokenizer's peer is missing
 */
export async function readHuggingFaceModel(folder: ModelFolder, options: ReadOptions = {}): Promise<LanguageModelFile> {
  const json = await folder.json("config.json");
  const name = String(json["model_type"]);
  const type = Object.hasOwn(modelTypes, name) ? modelTypes[name] : undefined;
  if (!type)
    throw new UnsupportedOpError(
      `${folder.name}: model type "${name}" is not known; known: ${Object.keys(modelTypes).join(", ")}`,
      { missing: [name] },
    );
  const config = new ConfigReader(folder.name, json, type, options).read();
  const weights = await readWeights(folder, config, type, options.signal);
  return { format: "safetensors", config, weights, ...(await readTokenizer(folder, json)) };
}

class ConfigReader {
  constructor(
    private readonly file: string,
    private readonly json: Json,
    private readonly type: ModelType,
    private readonly options: ReadOptions,
  ) {}

  read(): DecoderConfig {
    const { json, type } = this;
    const learned = type.transposed === true;
    const width = this.need("hidden_size", "n_embd");
    const heads = this.need("num_attention_heads", "n_head");
    const headDim = this.number("head_dim") ?? width / heads;
    const trained = this.need("max_position_embeddings", "n_positions");
    const contextLength = learned ? trained : (this.options.contextLength ?? Math.min(trained, defaultContextLimit));
    const layers = this.layers(this.need("num_hidden_layers", "n_layer"));
    const rope = learned ? undefined : this.rope(headDim, contextLength);
    const scalar = this.number("query_pre_attn_scalar");
    const act = json["hidden_activation"] ?? json["hidden_act"] ?? json["activation_function"];
    const localBase = this.number("rope_local_base_freq");
    return {
      architecture: String(json["model_type"]),
      vocabSize: this.need("vocab_size"),
      width,
      heads,
      kvHeads: this.number("num_key_value_heads") ?? heads,
      headDim,
      contextLength,
      norm: learned
        ? { kind: "layer", epsilon: this.number("layer_norm_epsilon") ?? 1e-5 }
        : { kind: "rms", epsilon: this.number("rms_norm_eps") ?? 1e-6 },
      activation:
        type.activation ?? activations[String(act ?? "silu")] ?? this.fail(`activation ${String(act)} is not known`),
      layers,
      rope,
      localRope: rope && localBase ? { ...rope, base: localBase, scaling: undefined } : undefined,
      attentionScale: scalar && 1 / Math.sqrt(scalar),
      attentionSoftcap: this.number("attn_logit_softcapping"),
      logitSoftcap: this.number("final_logit_softcapping"),
      embeddingScale: type.gemma ? Math.sqrt(width) : undefined,
    };
  }

  private layers(count: number): DecoderLayer[] {
    const { json, type } = this;
    const window = this.number("sliding_window") || undefined;
    const types = Array.isArray(json["layer_types"]) ? (json["layer_types"] as unknown[]) : undefined;
    return Array.from({ length: count }, (_, n) => {
      const local = types ? types[n] === "sliding_attention" : (type.windowed?.(n, json) ?? true);
      return window !== undefined && local ? { window } : {};
    });
  }

  private rope(headDim: number, contextLength: number): RopeConfig {
    const parameters = this.json["rope_parameters"] as Json | undefined;
    const base = this.number("rope_theta") ?? (parameters?.["rope_theta"] as number | undefined) ?? 10000;
    const dim = Math.floor(headDim * (this.number("partial_rotary_factor") ?? 1));
    const scaling = (this.json["rope_scaling"] ?? parameters) as Json | null | undefined;
    return { dim, base, interleaved: false, scaling: scaling ? this.scaling(scaling, contextLength) : undefined };
  }

  private scaling(s: Json, contextLength: number): RopeScaling | undefined {
    const kind = String(s["rope_type"] ?? s["type"]);
    const factor = s["factor"] as number;
    const original =
      (s["original_max_position_embeddings"] as number | undefined) ??
      this.number("original_max_position_embeddings") ??
      this.need("max_position_embeddings");
    switch (kind) {
      case "default":
        return undefined;
      case "linear":
        return { kind, factor };
      case "llama3":
        return {
          kind,
          factor,
          lowFrequency: s["low_freq_factor"] as number,
          highFrequency: s["high_freq_factor"] as number,
          originalContext: original,
        };
      case "yarn":
        return {
          kind,
          factor,
          originalContext: original,
          betaFast: s["beta_fast"] as number | undefined,
          betaSlow: s["beta_slow"] as number | undefined,
          magnitude: s["attention_factor"] as number | undefined,
        };
      case "longrope":
      case "su": {
        const stretch = this.need("max_position_embeddings") / original;
        const magnitude = stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(original));
        const factors = s[contextLength > original ? "long_factor" : "short_factor"] as number[];
        return { kind: "factors", factors, magnitude };
      }
      default:
        throw new UnsupportedOpError(`${this.file}: rope scaling "${kind}" is not known`, { missing: [kind] });
    }
  }

  private number(...keys: string[]): number | undefined {
    return keys.map((k) => this.json[k]).find((v) => typeof v === "number") as number | undefined;
  }

  private need(...keys: string[]): number {
    return this.number(...keys) ?? this.fail(`config.json has no ${keys[0]}`);
  }

  private fail(message: string): never {
    throw new FormatError(`${this.file}: ${message}`);
  }
}

async function readWeights(
  folder: ModelFolder,
  config: DecoderConfig,
  type: ModelType,
  signal?: AbortSignal,
): Promise<Map<string, Weight>> {
  const { heads, kvHeads, headDim } = config;
  const weights = new Map<string, Weight>();
  for (const t of (await folder.weights()).tensors.values()) {
    signal?.throwIfAborted();
    const name = type.names.reduce((n, [from, to]) => n.replace(from, to), t.name);
    if (!/\.(weight|bias)$/.test(name) || !t.dtype) continue;
    let w: F32Weight = asF32(await t.read(signal));
    if (type.transposed && w.shape.length === 2 && name.startsWith("blk.")) w = transposed(w);
    if (type.gemma && name.endsWith("norm.weight")) w = { ...w, data: w.data.map((v) => v + 1) };
    const part = (to: string): string => name.replace(/attn_qkv|ffn_gate_up/, to);
    const parts: [string, number][] = name.includes("attn_qkv")
      ? [
          [part("attn_q"), heads * headDim],
          [part("attn_k"), kvHeads * headDim],
          [part("attn_v"), kvHeads * headDim],
        ]
      : name.includes("ffn_gate_up")
        ? [
            [part("ffn_gate"), w.shape[0] / 2],
            [part("ffn_up"), w.shape[0] / 2],
          ]
        : [[name, w.shape[0]]];
    for (const [key, value] of splitRows(name, w, parts)) weights.set(key, value);
  }
  return weights;
}

function transposed({ shape: [rows, columns], data }: F32Weight): F32Weight {
  const out = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j];
  return { dtype: "f32", shape: [columns, rows], data: out };
}

async function readTokenizer(
  folder: ModelFolder,
  model: Json,
): Promise<{ tokenizer: Tokenizer | undefined; chatTemplate?: string }> {
  const source = await folder.optionalJson("tokenizer.json");
  if (!source) return { tokenizer: undefined };
  const config = (await folder.optionalJson("tokenizer_config.json")) ?? {};
  const generation = (await folder.optionalJson("generation_config.json")) ?? {};
  /** A token's name, written out or as an object. */
  const nameOf = (v: unknown): string | undefined =>
    typeof v === "string" ? v : ((v as { content?: string } | null | undefined)?.content ?? undefined);
  const numbers = [generation["eos_token_id"] ?? model["eos_token_id"]].flat().filter((v) => typeof v === "number");
  const tokenizer = await HuggingFaceTokenizer.open(source, config, {
    begin: nameOf(config["bos_token"]),
    end: [nameOf(config["eos_token"])].filter((n) => n !== undefined),
    endNumbers: numbers as number[],
  });
  const inside = config["chat_template"];
  const chatTemplate = typeof inside === "string" ? inside : await folder.optionalText("chat_template.jinja");
  return { tokenizer, chatTemplate };
}
