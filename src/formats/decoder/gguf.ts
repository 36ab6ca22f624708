/** GGUF files as decoders: what their metadata and tensor names mean, architecture by architecture. */
import type { DecoderConfig, DecoderLayer } from "../../models/transformer/config.ts";
import type { RopeConfig, RopeScaling } from "../../models/transformer/rope.ts";
import { UnsupportedOpError } from "../../tensor/errors.ts";
import type { GgufFile } from "../gguf/index.ts";
import type { PackedValue } from "../gguf/values.ts";
import type { ByteSource } from "../source.ts";
import { checkLayers, checkSizes, contextOf, type DecoderFile, type FileWeight, type ReadOptions } from "./file.ts";
import { readGgufParts } from "./gguf-parts.ts";
import { ggufVocabulary } from "./gguf-vocabulary.ts";
import { fileWeight } from "./gguf-weight.ts";
import { Metadata } from "./metadata.ts";
import type { DecoderVocabulary } from "./vocabulary.ts";

/** What metadata does not say, or not in every file. */
interface Architecture {
  /** Rotary pairs: neighbours, half a head apart, or none (learned positions). */
  readonly rope: "neighbours" | "halves" | "none";
  readonly norm?: "layer";
  readonly norms?: Pick<DecoderConfig["norm"], "behind" | "acrossHeads">;
  /** Layers with a window have the rotary base of the others, without their scaling. */
  readonly plainWindows?: boolean;
  readonly activation?: DecoderConfig["activation"];
  /** Embeddings are multiplied by the square root of the width. */
  readonly scaledEmbedding?: boolean;
  /** Tokens see those behind them, of a window half. */
  readonly bidirectional?: boolean;
  /** Embeddings, scores, halves of layers and logits have factors. */
  readonly scaled?: boolean;
  /** Of this many layers positions are not turned in the last. */
  readonly unturnedEvery?: number;
  /** No layer has a window, whatever the metadata says. */
  readonly windowless?: boolean;
  /** Numbers for keys that a file lacks: the first of an architecture's files were written before there were names for all. */
  readonly defaults?: Readonly<Record<string, number>>;
}

/** Of this many layers the last sees everything, those before it the window. Without it all have the window. */
const windowPattern = "attention.sliding_window_pattern";
/** Rotary base of layers with a window, where it is not that of the others. */
const localBase = "rope.freq_base_swa";

const gemma3: Architecture = {
  rope: "halves",
  activation: "geluTanh",
  scaledEmbedding: true,
  defaults: { [windowPattern]: 6, [localBase]: 10000 },
};
export const architectures: Readonly<Record<string, Architecture>> = {
  llama: { rope: "neighbours" },
  qwen2: { rope: "halves" },
  qwen3: { rope: "halves" },
  phi3: { rope: "halves" },
  gemma: { rope: "halves", activation: "geluTanh", scaledEmbedding: true },
  gemma2: {
    rope: "halves",
    activation: "geluTanh",
    scaledEmbedding: true,
    defaults: {
      [windowPattern]: 2,
      "attention.sliding_window": 4096,
      attn_logit_softcapping: 50,
      final_logit_softcapping: 30,
    },
  },
  gemma3,
  "gemma-embedding": { ...gemma3, bidirectional: true },
  gpt2: { rope: "none", norm: "layer", activation: "geluTanh" },
  smollm3: { rope: "neighbours", unturnedEvery: 4, windowless: true },
  granite: { rope: "neighbours", scaled: true, windowless: true },
  olmo2: {
    rope: "halves",
    norms: { behind: true, acrossHeads: true },
    plainWindows: true,
    defaults: { [windowPattern]: 4 },
  },
};

/**
 * @throws FormatError for metadata or tensors that are missing or contradict each other, UnsupportedOpError for an
 * architecture that is not known
 */
export async function readGgufDecoder(source: ByteSource, options: ReadOptions = {}): Promise<DecoderFile> {
  return decoderIn(await readGgufParts(source), source.name, options);
}

/** @throws as `readGgufDecoder` */
export async function decoderIn(file: GgufFile<PackedValue>, name: string, options: ReadOptions): Promise<DecoderFile> {
  const meta = new Metadata(file, name);
  const config = configOf(file, name, await ropeFactors(file, options.signal), options);
  return {
    format: "gguf",
    config,
    weights: weightsOf(file),
    vocabulary: vocabularyOf(meta),
    chatTemplate: meta.text("tokenizer.chat_template"),
  };
}

/** Texts that a model goes on with have no end. */
function vocabularyOf(meta: Metadata): DecoderVocabulary | undefined {
  const v = ggufVocabulary(meta);
  if (v?.kind === "wordPiece")
    throw new UnsupportedOpError("word pieces are the vocabulary of an encoder, not of a model that writes texts", {
      missing: ["bert"],
    });
  return v && "addEnd" in v ? { ...v, addEnd: false } : v;
}

/** What a configuration is read from. */
export interface GgufShapes {
  readonly metadata: ReadonlyMap<string, PackedValue>;
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>;
}

/** @throws FormatError, UnsupportedOpError: see `readGgufDecoder` */
export function configOf(
  file: GgufShapes,
  name: string,
  factors: RopeFactors,
  options: ReadOptions = {},
): DecoderConfig {
  const meta = new Metadata(file, name);
  const known = Object.hasOwn(architectures, meta.architecture) ? architectures[meta.architecture] : undefined;
  if (!known)
    throw new UnsupportedOpError(
      `${name}: architecture "${meta.architecture}" is not known; known: ${Object.keys(architectures).join(", ")}`,
      { missing: [meta.architecture] },
    );
  if (meta.number("attention.max_alibi_bias"))
    throw new UnsupportedOpError(`${name}: architecture "${meta.architecture}" with ALiBi positions is not supported`, {
      missing: ["ALiBi"],
    });
  // Of this architecture the key is a switch.
  if (known.scaled && meta.flag("rope.scaling.finetuned") === false)
    throw new UnsupportedOpError(`${name}: "${meta.architecture}" without rotary positions is not supported`, {
      missing: ["rope.scaling.finetuned"],
    });
  /** 0 stands for none. */
  const factor = (key: string): number | undefined => (known.scaled && meta.number(key)) || undefined;
  const optional = (key: string): number | undefined => meta.number(key) ?? known.defaults?.[key];
  const width = meta.need("embedding_length");
  const heads = meta.need("attention.head_count");
  const headDim = meta.number("attention.key_length") ?? width / heads;
  const vocabSize = file.tensors.get("token_embd.weight")?.shape[0] ?? meta.missing("token_embd.weight");
  const trained = meta.need("context_length");
  const base = meta.number("rope.freq_base") ?? 10000;
  const dim = meta.number("rope.dimension_count") ?? headDim;
  const scaling = known.rope === "none" ? undefined : ropeScaling(meta, factors);
  const rope: RopeConfig = { dim, base, interleaved: known.rope === "neighbours", scaling };
  const count = checkLayers(meta.need("block_count"), file.tensors.size, name);
  const bidirectional = known.bidirectional ?? meta.flag("attention.causal") === false;
  const layers = layersOf(meta, known, optional, count);
  if (bidirectional && !known.bidirectional && layers.some((l) => l.window))
    throw new UnsupportedOpError(`${name}: windows of a model that is not causal are not supported`, {
      missing: ["attention.causal"],
    });
  const windowedBase = known.plainWindows ? base : optional(localBase);
  const config: DecoderConfig = {
    architecture: meta.architecture,
    vocabSize,
    width,
    heads,
    kvHeads: meta.number("attention.head_count_kv") ?? heads,
    headDim,
    // Tables of learned positions have their size.
    contextLength: known.rope === "none" ? trained : contextOf(trained, options),
    norm: known.norm
      ? { kind: "layer", epsilon: meta.need("attention.layer_norm_epsilon") }
      : { kind: "rms", epsilon: meta.need("attention.layer_norm_rms_epsilon"), ...known.norms },
    activation: known.activation ?? "silu",
    layers,
    rope: known.rope === "none" ? undefined : rope,
    localRope:
      windowedBase && layers.some((l) => l.window) ? { ...rope, base: windowedBase, scaling: undefined } : undefined,
    attentionScale: factor("attention.scale") ?? attentionScale(meta, layers.length, width, heads, headDim),
    attentionSoftcap: optional("attn_logit_softcapping"),
    logitSoftcap: optional("final_logit_softcapping"),
    embeddingScale: known.scaledEmbedding ? Math.sqrt(width) : factor("embedding_scale"),
    residualScale: factor("residual_scale"),
    logitDivisor: known.scaled ? meta.need("logit_scale") : undefined,
    bidirectional: bidirectional || undefined,
  };
  checkSizes(config, file.tensors, name);
  return config;
}

/** The largest Gemmas scale by the width of an even share of the model, not of their heads. */
function attentionScale(meta: Metadata, layers: number, width: number, heads: number, headDim: number) {
  const largest =
    (meta.architecture === "gemma2" && layers === 46) || (meta.architecture === "gemma3" && layers === 62);
  return 1 / Math.sqrt(largest ? width / heads : headDim);
}

function layersOf(
  meta: Metadata,
  { unturnedEvery = Infinity, windowless, bidirectional: halves }: Architecture,
  optional: (key: string) => number | undefined,
  count: number,
): DecoderLayer[] {
  const given = (!windowless && optional("attention.sliding_window")) || undefined;
  const window = given && halves ? Math.floor(given / 2) + 1 : given;
  // Or layer by layer: whether it has the window.
  const flags = meta.flags(windowPattern);
  const every = flags ? undefined : optional(windowPattern);
  return Array.from({ length: count }, (_, n) => {
    const global = flags ? !flags[n] : every !== undefined && n % every === every - 1;
    return {
      ...(window === undefined || global ? {} : { window }),
      ...((n + 1) % unturnedEvery === 0 ? { rope: false } : {}),
    };
  });
}

/** Divisors of rotary pairs, and those of long texts where they are others. */
export interface RopeFactors {
  readonly factors?: Float32Array;
  readonly longFactors?: Float32Array;
}

async function ropeFactors({ tensors }: GgufFile<PackedValue>, signal?: AbortSignal): Promise<RopeFactors> {
  const read = (name: string) => tensors.get(`rope_${name}.weight`)?.dequantize(signal);
  const factors = await read("freqs");
  return factors ? { factors } : { factors: await read("factors_short"), longFactors: await read("factors_long") };
}

/** What llama.cpp knows besides for YaRN: not what it means in every version. The number that changes nothing. */
const unknownYarn = { yarn_ext_factor: 1, yarn_attn_factor: 1, yarn_log_multiplier: 0 };

function ropeScaling(meta: Metadata, { factors, longFactors }: RopeFactors): RopeScaling | undefined {
  const number = (key: string) => meta.number(`rope.scaling.${key}`);
  const originalContext = number("original_context_length") ?? meta.need("context_length");
  const magnitude = number("attn_factor");
  const factor = number("factor") ?? meta.number("rope.scale_linear") ?? 1;
  const kind = meta.text("rope.scaling.type");
  if (longFactors && !factors) meta.missing("rope_factors_short.weight");
  if (kind === "yarn" && factor !== 1) {
    for (const [key, neutral] of Object.entries(unknownYarn))
      if ((number(key) ?? neutral) !== neutral)
        throw new UnsupportedOpError(`rope scaling with ${key} is not supported`, { missing: [key] });
    return {
      kind,
      factor,
      originalContext,
      betaFast: number("yarn_beta_fast"),
      betaSlow: number("yarn_beta_slow"),
      magnitude: (magnitude ?? 1) * (0.1 * Math.log(factor) + 1),
      factors,
      longFactors,
    };
  }
  if (factors) {
    // Positions may be divided besides.
    const divided = (list: Float32Array) => (kind === "none" ? list : list.map((f) => f * factor));
    const long = longFactors && { longFactors: divided(longFactors), originalContext };
    return { kind: "factors", factors: divided(factors), magnitude, ...long };
  }
  if (factor === 1 || kind === "none" || kind === "yarn") return undefined;
  if (kind === undefined || kind === "linear") return { kind: "linear", factor };
  throw new UnsupportedOpError(`rope scaling "${kind}" is not known`, { missing: [kind] });
}

const weightsOf = (file: GgufFile<PackedValue>): Map<string, FileWeight> =>
  new Map([...file.tensors.values()].map((t) => [t.name, fileWeight(t)]));
