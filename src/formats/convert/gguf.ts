/** Models as GGUF files. */
import type { DecoderConfig, Weight } from "../../models/transformer/config.ts";
import { type RopeConfig, ropeFrequencies } from "../../models/transformer/rope.ts";
import type { BlockType } from "../../tensor/blocks/types.ts";
import { UnsupportedOpError } from "../../tensor/errors.ts";
import type { DecoderFile, FileWeight } from "../decoder/file.ts";
import { architectures, configOf, type GgufShapes, type RopeFactors } from "../decoder/gguf.ts";
import { ggufVocabulary, vocabularyMetadata } from "../decoder/gguf-vocabulary.ts";
import { Metadata } from "../decoder/metadata.ts";
import type { TokenizerJson } from "../decoder/vocabulary.ts";
import type { GgufFile, GgufTensor, GgufValue } from "../gguf/index.ts";
import { type GgufValueType, type PackedValue, plainValue } from "../gguf/values.ts";
import { permuteHeads } from "./permute.ts";
import { addsFewerSpaces, trimming, vocabularyOf, wordsAlone } from "./tokenizer-json.ts";

/** A model on its way into a file. */
export interface Contents {
  readonly metadata: Map<string, GgufValue>;
  readonly types: Map<string, GgufValueType>;
  readonly weights: ReadonlyMap<string, FileWeight>;
}

/** A GGUF file as it is: any architecture, whatever its metadata says. Of several files one is made. */
export function contentsOfGguf(file: GgufFile<PackedValue>): Contents {
  const weights = [...file.tensors.values()].map((t): [string, FileWeight] => [
    t.name,
    { shape: t.shape, stored: t.type, read: (signal) => asStored(t, signal) },
  ]);
  const metadata = new Map<string, GgufValue>();
  for (const [key, value] of file.metadata) if (!key.startsWith("split.")) metadata.set(key, plainValue(value));
  return { metadata, types: new Map(file.types), weights: new Map(weights) };
}

async function asStored(t: GgufTensor, signal?: AbortSignal): Promise<Weight> {
  return { type: t.type.toLowerCase() as BlockType, shape: t.shape, bytes: await t.bytes(signal) };
}

/**
 * @param tokenizer whether to take the vocabulary along
 * @throws UnsupportedOpError for what GGUF files of the architecture cannot say
 */
export function contentsOfDecoder(file: DecoderFile, name: string, tokenizer: boolean): Contents {
  const { config } = file;
  const architecture = config.architecture;
  const { metadata, types } = configMetadata(config, name);
  const weights = new Map<string, FileWeight>();
  const interleaved = architectures[architecture].rope === "neighbours";
  for (const [key, w] of file.weights) {
    // Files of some architectures pair neighbours: rows of queries and keys that pair halves change places.
    const permuted = interleaved && config.rope?.interleaved === false && /\.attn_[qk]\.(weight|bias)$/.test(key);
    weights.set(key, permuted ? permuteHeads(w, config.headDim, config.rope!.dim, "neighbours") : w);
  }
  const factors = ropeFactors(config);
  for (const [key, w] of factorWeights(factors)) weights.set(key, w);
  checkConfig(config, { metadata, tensors: weights }, factors, interleaved);
  const up = weights.get("blk.0.ffn_up.weight");
  if (up) {
    // Not in our configuration, which asks the weights; others do. Phi-3's holds the gate too.
    metadata.set(`${architecture}.feed_forward_length`, architecture === "phi3" ? up.shape[0] / 2 : up.shape[0]);
    types.set(`${architecture}.feed_forward_length`, "u32");
  }
  if (tokenizer && file.vocabulary) {
    const { vocabulary } = file;
    // llama.cpp refuses files with another number of tokens than of embeddings.
    const [count] = weights.get("token_embd.weight")!.shape;
    const plain = vocabulary.kind === "tokenizer.json" ? vocabularyOf(vocabulary, count) : vocabulary;
    for (const [key, value] of vocabularyMetadata(plain)) metadata.set(key, value);
    if (vocabulary.kind === "tokenizer.json") warnOfTokens(vocabulary, new Metadata({ metadata }, name));
    if (file.chatTemplate !== undefined) metadata.set("tokenizer.chat_template", file.chatTemplate);
  }
  return { metadata, types, weights };
}

/** Of what no vocabulary in GGUF says, and only some texts hold. */
function warnOfTokens(source: TokenizerJson, written: Metadata): void {
  const warn = (what: string): void => console.warn(`GGUF files cannot say ${what}: there, tokens will differ.`);
  const v = ggufVocabulary(written);
  // Readers know it of Phi-3 alone.
  const trims = v?.kind === "sentencepiece" && v.trimsBut ? [] : trimming(source);
  if (trims.length > 0) warn(`of ${listed(trims)} that they take the white space around them`);
  const alone = wordsAlone(source);
  if (alone.length > 0) warn(`of ${listed(alone)} that they are none within a word`);
  if (addsFewerSpaces(source))
    warn("that texts which begin with a space, or follow a special token, may get none in front");
}

const listed = (names: readonly string[]): string =>
  [...names.slice(0, 3), ...(names.length > 3 ? [`${names.length - 3} others`] : [])].join(", ");

function configMetadata(c: DecoderConfig, name: string) {
  const { architecture: arch, rope } = c;
  const { scaling } = rope ?? {};
  const yarn = scaling?.kind === "yarn" ? scaling : undefined;
  const stretched = scaling?.kind === "linear" ? scaling : yarn;
  const paired = scaling?.kind === "factors" ? scaling : yarn;
  // Of YaRN's own magnitude readers multiply this in.
  const magnitude = paired?.magnitude && paired.magnitude / (yarn ? 0.1 * Math.log(yarn.factor) + 1 : 1);
  const factors: [string, number | undefined][] = [
    ["embedding_scale", c.embeddingScale],
    ["residual_scale", c.residualScale],
    ["attention.scale", c.attentionScale],
    ["logit_scale", c.logitDivisor],
  ];
  const integers: [string, number | undefined][] = [
    ["vocab_size", c.vocabSize],
    ["context_length", c.contextLength],
    ["embedding_length", c.width],
    ["block_count", c.layers.length],
    ["attention.head_count", c.heads],
    ["attention.head_count_kv", c.kvHeads],
    ["attention.key_length", c.headDim],
    ["attention.value_length", c.headDim],
    ["rope.dimension_count", rope?.dim],
    ["attention.sliding_window", c.layers.find((l) => l.window)?.window],
    ["rope.scaling.original_context_length", paired?.originalContext],
  ];
  const floats: [string, number | undefined][] = [
    [`attention.layer_norm_${c.norm.kind === "rms" ? "rms_" : ""}epsilon`, c.norm.epsilon],
    ["rope.freq_base", rope?.base],
    ["rope.scaling.factor", stretched?.factor],
    ["rope.scaling.attn_factor", magnitude],
    ["rope.scaling.yarn_beta_fast", yarn?.betaFast],
    ["rope.scaling.yarn_beta_slow", yarn?.betaSlow],
    ["attn_logit_softcapping", c.attentionSoftcap],
    ["final_logit_softcapping", c.logitSoftcap],
    ...(architectures[arch].scaled ? factors : []),
  ];
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", arch],
    ["general.name", name],
  ]);
  const types = new Map<string, GgufValueType>();
  const put = (entries: [string, number | undefined][], type: GgufValueType) => {
    for (const [key, value] of entries)
      if (value !== undefined) {
        metadata.set(`${arch}.${key}`, value);
        types.set(`${arch}.${key}`, type);
      }
  };
  put(integers, "u32");
  put(floats, "f32");
  const kind = stretched?.kind ?? (paired?.longFactors && "longrope");
  if (kind) metadata.set(`${arch}.rope.scaling.type`, kind);
  return { metadata, types };
}

/** Divisors for each pair are tensors, among them those that Llama 3's scaling comes to. */
function ropeFactors({ rope }: DecoderConfig): RopeFactors {
  const scaling = rope?.scaling;
  if (scaling?.kind === "llama3") {
    const { frequencies } = ropeFrequencies(rope!);
    const plain = ropeFrequencies({ ...rope!, scaling: undefined }).frequencies;
    return { factors: Float32Array.from(frequencies, (f, i) => plain[i] / f) };
  }
  if (scaling?.kind !== "factors" && scaling?.kind !== "yarn") return {};
  const list = (factors?: ArrayLike<number>) => factors && Float32Array.from(factors);
  return { factors: list(scaling.factors), longFactors: list(scaling.longFactors) };
}

function factorWeights({ factors, longFactors }: RopeFactors): Map<string, FileWeight> {
  const named = longFactors ? { factors_short: factors, factors_long: longFactors } : { freqs: factors };
  const weights = new Map<string, FileWeight>();
  for (const [name, data] of Object.entries(named))
    if (data) {
      const shape = [data.length];
      weights.set(`rope_${name}.weight`, { shape, stored: "F32", read: async () => ({ dtype: "f32", shape, data }) });
    }
  return weights;
}

/** Reads the metadata back: what it cannot express would be lost without a word. */
function checkConfig(config: DecoderConfig, shapes: GgufShapes, factors: RopeFactors, interleaved: boolean): void {
  const got = configOf(shapes, "", factors, { contextLength: config.contextLength });
  const comparable = (c: DecoderConfig): Record<string, unknown> => ({
    ...c,
    attentionScale: (c.attentionScale ?? 1 / Math.sqrt(c.headDim)).toFixed(9),
    rope: c.rope && { ...c.rope, interleaved: c.rope.interleaved || interleaved, scaling: undefined },
  });
  const [want, have] = [comparable(config), comparable(got)];
  const lost = Object.keys({ ...want, ...have }).filter((k) => JSON.stringify(want[k]) !== JSON.stringify(have[k]));
  if (config.rope && got.rope && !turnAlike(config.rope, got.rope)) lost.push("rope.scaling");
  if (lost.length > 0)
    throw new UnsupportedOpError(
      `GGUF files of architecture "${config.architecture}" cannot say this of the model: ${lost.join(", ")}`,
      { missing: lost },
    );
}

/** Whether texts of any length are turned by the same angles, as far as f32 says them. */
function turnAlike(a: RopeConfig, b: RopeConfig): boolean {
  const near = (x: number, y: number): boolean => Math.abs(x - y) <= 1e-6 * Math.abs(x);
  return [1, Infinity].every((length) => {
    const [x, y] = [ropeFrequencies(a, length), ropeFrequencies(b, length)];
    return near(x.magnitude, y.magnitude) && x.frequencies.every((f, i) => near(f, y.frequencies[i]));
  });
}
