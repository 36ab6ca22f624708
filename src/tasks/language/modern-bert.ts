/** ModernBERT from Hugging Face folders and GGUF files. */
import { activationOf } from "../../formats/activation.ts";
import { checkTensors } from "../../formats/checkpoint.ts";
import { Fields } from "../../formats/decoder/config-fields.ts";
import { ropesOf } from "../../formats/decoder/huggingface-rope.ts";
import type { Json, ModelFolder } from "../../formats/folder.ts";
import type { SafetensorsTensor } from "../../formats/safetensors.ts";
import { type ModernBertConfig, modernBert } from "../../models/transformer/modern-bert.ts";
import type { RopeConfig } from "../../models/transformer/rope.ts";
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import { labelsIn, scoringIn } from "../classes.ts";
import { type EncoderFile, type EncoderOptions, maskTokenOf, textRules } from "./encoder.ts";
import { type Merged, readNamed } from "./encoder-weights.ts";

export const mergedInModernBert: Merged = {
  "attn.Wqkv": ["attn.query", "attn.key", "attn.value"],
  "mlp.Wi": ["mlp.gate", "mlp.up"],
};

/** Every so many layers see everything, where `layer_types` does not say it. */
const usualPattern = 3;

const layerParts = "attn_norm|attn\\.Wqkv|attn\\.Wo|mlp_norm|mlp\\.Wi|mlp\\.Wo";
const known = new RegExp(
  `^((embeddings\\.(tok_embeddings|norm)|layers\\.\\d+\\.(${layerParts})|final_norm|head\\.(dense|norm)|decoder|classifier|qa_outputs))\\.(weight|bias)$`,
);

/** @throws FormatError, InputError as the files deserve; UnsupportedOpError for tensors and layers that are not known */
export async function readModernBert(folder: ModelFolder, json: Json, options: EncoderOptions): Promise<EncoderFile> {
  const fields = new Fields(folder.name, json);
  const config = configOf(fields);
  const { tokenizer, longest } = await textRules(folder, options.tokenizer);
  const architectures = Array.isArray(json["architectures"]) ? json["architectures"].map(String) : [];
  const asks = architectures.some((a) => a.endsWith("ForQuestionAnswering"));
  const nameOf = ({ name }: SafetensorsTensor): string => {
    const own = name.replace(/^model\./, "");
    return asks ? own.replace(/^classifier\./, "qa_outputs.") : own;
  };
  const { tensors } = await folder.weights(true);
  // The projection to words is the embedding again, and often in the file, too.
  const isTied = json["tie_word_embeddings"] !== false;
  const counting = [...tensors.values()].filter((t) => !(isTied && nameOf(t) === "decoder.weight"));
  checkTensors(folder.name, counting, (t) => known.test(nameOf(t)), json);
  const weights = await readNamed(folder, counting, nameOf, mergedInModernBert, options.signal);
  return {
    config,
    weights,
    graph: (head) => modernBert(config, weights, head),
    tokenizer,
    maxTokens: Math.min(longest, config.positions),
    firstPosition: 0,
    maskToken: maskTokenOf(tokenizer),
    labels: labelsIn(json),
    scoring: (classes) => scoringIn(json, classes),
    classActivation: "tanh",
    architectures,
  };
}

function configOf(fields: Fields): ModernBertConfig {
  const { json, file } = fields;
  const [width, heads] = [fields.need("hidden_size"), fields.need("num_attention_heads")];
  const pooling = json["classifier_pooling"] ?? "cls";
  if (pooling !== "cls" && pooling !== "mean")
    throw new UnsupportedOpError(`${file}: classifier_pooling ${JSON.stringify(pooling)} is not supported`, {
      missing: [String(pooling)],
    });
  return {
    vocabSize: fields.need("vocab_size"),
    width,
    heads,
    hidden: fields.need("intermediate_size"),
    layers: fields.need("num_hidden_layers"),
    positions: fields.need("max_position_embeddings"),
    epsilon: fields.positive("norm_eps") ?? 1e-5,
    activation: activationOf(file, json["hidden_activation"] ?? "gelu"),
    headActivation: activationOf(file, json["classifier_activation"] ?? "gelu"),
    pooling,
    windows: windowsOf(fields),
    ...ropes(fields, width / heads),
  };
}

/** As many tokens on each side as half of what the configuration gives. */
function windowsOf(fields: Fields): (number | undefined)[] {
  const { json } = fields;
  const layers = fields.need("num_hidden_layers");
  const window = Math.floor((fields.positive("local_attention") ?? 128) / 2);
  const every = fields.positive("global_attn_every_n_layers") ?? usualPattern;
  const types: unknown = json["layer_types"] ?? undefined;
  if (types !== undefined && (!Array.isArray(types) || types.length !== layers))
    fields.fail(`layer_types in config.json is no list of ${layers} types, one for each layer`);
  return Array.from({ length: layers }, (_, n) => {
    const type = (types as unknown[] | undefined)?.[n] ?? (n % every ? "sliding_attention" : "full_attention");
    if (type !== "sliding_attention" && type !== "full_attention")
      throw new UnsupportedOpError(`${fields.file}: layers of type ${JSON.stringify(type)} are not known`, {
        missing: [String(type)],
      });
    return type === "sliding_attention" ? window : undefined;
  });
}

/** Older configurations have their own names for the bases. */
function ropes(fields: Fields, headDim: number): { rope: RopeConfig; localRope: RopeConfig } {
  const { json, file } = fields;
  const { rope, localRope = rope } = ropesOf(
    new Fields(file, {
      rope_theta: json["global_rope_theta"] ?? 160_000,
      rope_local_base_freq: json["local_rope_theta"] ?? 10_000,
      ...json,
    }),
    headDim,
  );
  if (rope.dim !== headDim || localRope.dim !== headDim)
    throw new FormatError(`${file}: heads of ${headDim} elements are rotated by ${rope.dim}`);
  return { rope, localRope };
}
