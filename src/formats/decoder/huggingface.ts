/** Hugging Face folders as decoders: what `config.json` and tensor names mean, model type by model type. */
import type { DecoderConfig, DecoderLayer } from "../../models/transformer/config.ts";
import type { RopeConfig, RopeScaling } from "../../models/transformer/rope.ts";
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import { activationOf } from "../activation.ts";
import { asF32, type Json, type ModelFolder } from "../folder.ts";
import { checkLayers, checkSizes, contextOf, type DecoderFile, type FileWeight, type ReadOptions } from "./file.ts";
import { gemma2Names, ggufName, gpt2Names, llamaNames, type Names, phi3Names } from "./huggingface-names.ts";
import type { TokenizerJson } from "./vocabulary.ts";
import type { F32Weight } from "./weights.ts";

export interface ModelType {
  /** GGUF's name of it. */
  readonly architecture: string;
  readonly names: Names;
  readonly activation?: DecoderConfig["activation"];
  /** Norms multiply by 1 + weight, and embeddings by the square root of the width. */
  readonly gemma?: boolean;
  /** Matrices are stored [inputs, outputs]. */
  readonly transposed?: boolean;
  /** Whether layer n has the window. Default: as `layer_types` says, else all where there is a window. */
  readonly windowed?: (n: number, json: Json) => boolean;
}

const llama: ModelType = { architecture: "llama", names: llamaNames };
const qwen: Omit<ModelType, "architecture"> = {
  names: llamaNames,
  windowed: (_, json) => json["use_sliding_window"] === true,
};
const gemma: ModelType = { architecture: "gemma", names: llamaNames, activation: "geluTanh", gemma: true };
export const modelTypes: Readonly<Record<string, ModelType>> = {
  llama,
  mistral: llama,
  qwen2: { ...qwen, architecture: "qwen2" },
  qwen3: { ...qwen, architecture: "qwen3" },
  phi3: { names: phi3Names, architecture: "phi3" },
  gemma,
  gemma2: { ...gemma, architecture: "gemma2", names: gemma2Names, windowed: (n) => n % 2 === 0 },
  gemma3_text: {
    ...gemma,
    architecture: "gemma3",
    names: gemma2Names,
    windowed: (n, json) => (n + 1) % ((json["sliding_window_pattern"] as number) || 6) !== 0,
  },
  gpt2: { architecture: "gpt2", names: gpt2Names, activation: "geluTanh", transposed: true },
};

/**
 * @throws FormatError for a configuration or tensors that are missing or contradict each other, UnsupportedOpError for a model
 * type that is not known
 */
export async function readHuggingFaceDecoder(folder: ModelFolder, options: ReadOptions = {}): Promise<DecoderFile> {
  const json = await folder.json("config.json");
  const name = String(json["model_type"]);
  const type = Object.hasOwn(modelTypes, name) ? modelTypes[name] : undefined;
  if (!type)
    throw new UnsupportedOpError(
      `${folder.name}: model type "${name}" is not known; known: ${Object.keys(modelTypes).join(", ")}`,
      { missing: [name] },
    );
  const weights = await weightsOf(folder, type);
  const config = new ConfigReader(folder.name, json, type, options).read(weights.size);
  checkSizes(config, weights, folder.name);
  return { format: "safetensors", config, weights, ...(await readVocabulary(folder, json)) };
}

class ConfigReader {
  constructor(
    private readonly file: string,
    private readonly json: Json,
    private readonly type: ModelType,
    private readonly options: ReadOptions,
  ) {}

  read(tensors: number): DecoderConfig {
    const { json, type } = this;
    const learned = type.transposed === true;
    const width = this.need("hidden_size", "n_embd");
    const heads = this.need("num_attention_heads", "n_head");
    const headDim = this.number("head_dim") ?? width / heads;
    const trained = this.need("max_position_embeddings", "n_positions");
    const contextLength = learned ? trained : contextOf(trained, this.options);
    const layers = this.layers(checkLayers(this.need("num_hidden_layers", "n_layer"), tensors, this.file));
    const rope = learned ? undefined : this.rope(headDim, contextLength);
    const scalar = this.number("query_pre_attn_scalar");
    const act = json["hidden_activation"] ?? json["hidden_act"] ?? json["activation_function"];
    const localBase = this.number("rope_local_base_freq");
    return {
      architecture: type.architecture,
      vocabSize: this.need("vocab_size"),
      width,
      heads,
      kvHeads: this.number("num_key_value_heads") ?? heads,
      headDim,
      contextLength,
      norm: learned
        ? { kind: "layer", epsilon: this.number("layer_norm_epsilon") ?? 1e-5 }
        : { kind: "rms", epsilon: this.number("rms_norm_eps") ?? 1e-6 },
      activation: type.activation ?? activationOf(this.file, act ?? "silu"),
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
      case "dynamic":
        return { kind, factor, originalContext: original };
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

async function weightsOf(folder: ModelFolder, type: ModelType): Promise<Map<string, FileWeight>> {
  const weights = new Map<string, FileWeight>();
  for (const t of (await folder.weights()).tensors.values()) {
    const name = ggufName(t.name, type.names);
    if (name === undefined || !t.dtype) continue;
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

export function transposed({ shape: [rows, columns], data }: F32Weight): F32Weight {
  const out = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j];
  return { dtype: "f32", shape: [columns, rows], data: out };
}

/** The tokenizer of a folder and its chat template, as far as they are there. */
export async function readVocabulary(
  folder: ModelFolder,
  model: Json,
): Promise<{ vocabulary?: TokenizerJson; chatTemplate?: string }> {
  const source = await folder.optionalJson("tokenizer.json");
  if (!source) return {};
  const config = (await folder.optionalJson("tokenizer_config.json")) ?? {};
  const generation = (await folder.optionalJson("generation_config.json")) ?? {};
  /** A token's name, written out or as an object. */
  const nameOf = (v: unknown): string | undefined =>
    typeof v === "string" ? v : ((v as { content?: string } | null | undefined)?.content ?? undefined);
  const ends = [nameOf(config["eos_token"]), generation["eos_token_id"] ?? model["eos_token_id"]].flat();
  const end = ends.filter((v) => typeof v === "string" || typeof v === "number");
  const inside = config["chat_template"];
  const chatTemplate = typeof inside === "string" ? inside : await folder.optionalText("chat_template.jinja");
  return {
    vocabulary: { kind: "tokenizer.json", source, config, begin: nameOf(config["bos_token"]), end },
    chatTemplate,
  };
}
