/** Weights of encoders in Hugging Face folders, by the names that graphs have for them. */
import { checkTensors } from "../../formats/checkpoint.ts";
import { largeWeight, splitRows } from "../../formats/decoder/weights.ts";
import { asF32, f32Weight, type Json, type ModelFolder } from "../../formats/folder.ts";
import type { SafetensorsTensor } from "../../formats/safetensors.ts";
import type { Weight as PlainWeight } from "../../models/transformer/config.ts";
import { wordProjection } from "../../models/transformer/encoder.ts";
import { FormatError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { Elements, Weight } from "../../tensor/weight.ts";

/** Names of DistilBERT, RoBERTa, and Nomic's BERT as its own code and transformers have them, as BERT's. */
const bertNames: readonly [RegExp, string][] = [
  [/^(bert|roberta|distilbert|nomic_bert|model)\./, ""],
  [/^transformer\.layer\.(\d+)\.attention\.([qkv])_lin/, "encoder.layer.$1.attention.self.$2"],
  [/^transformer\.layer\.(\d+)\.attention\.out_lin/, "encoder.layer.$1.attention.output.dense"],
  [/^transformer\.layer\.(\d+)\.sa_layer_norm/, "encoder.layer.$1.attention.output.LayerNorm"],
  [/^transformer\.layer\.(\d+)\.ffn\.lin1/, "encoder.layer.$1.intermediate.dense"],
  [/^transformer\.layer\.(\d+)\.ffn\.lin2/, "encoder.layer.$1.output.dense"],
  [/^transformer\.layer\.(\d+)\.output_layer_norm/, "encoder.layer.$1.output.LayerNorm"],
  [/\.self\.q\./, ".self.query."],
  [/\.self\.k\./, ".self.key."],
  [/\.self\.v\./, ".self.value."],
  [/^(vocab_transform|lm_head\.dense)\./, "cls.predictions.transform.dense."],
  [/^(vocab_layer_norm|lm_head\.layer_norm)\./, "cls.predictions.transform.LayerNorm."],
  [/^(vocab_projector|lm_head)\.bias/, "cls.predictions.bias"],
  [/^vocab_projector\.weight/, "cls.predictions.decoder.weight"],
  [/^lm_head\.decoder\./, "cls.predictions.decoder."],
  [/^(pre_classifier|classifier\.dense)\./, "pooler.dense."],
  [/^classifier\.out_proj\./, "classifier."],
  [/^(encoder\.)?layers\.(\d+)\./, "encoder.layer.$2."],
  [/\.attn\.Wqkv\./, ".attention.self.qkv."],
  [/\.self_attn\.q_proj\./, ".attention.self.query."],
  [/\.self_attn\.k_proj\./, ".attention.self.key."],
  [/\.self_attn\.v_proj\./, ".attention.self.value."],
  [/\.(attn\.out|self_attn\.o)_proj\./, ".attention.output.dense."],
  [/\.(norm1|post_attention_layernorm)\./, ".attention.output.LayerNorm."],
  [/\.mlp\.(fc11|up_proj)\./, ".intermediate.dense."],
  [/\.mlp\.(fc12|gate_proj)\./, ".intermediate.gate."],
  [/\.mlp\.(fc2|down_proj)\./, ".output.dense."],
  [/\.(norm2|post_mlp_layernorm)\./, ".output.LayerNorm."],
  [/^emb_ln\./, "embeddings.LayerNorm."],
  [/\.transform\.layer_norm\./, ".transform.LayerNorm."],
  // Checkpoints that were converted from TensorFlow.
  [/LayerNorm\.gamma$/, "LayerNorm.weight"],
  [/LayerNorm\.beta$/, "LayerNorm.bias"],
];
/** Layers before a classifier that are its own: a pooler that is there too is the encoder's, and not used. */
const classifierDense = /^(pre_classifier|classifier\.dense)\./;
const encoderPooler = /^(\w+\.)?pooler\./;
/** Of these, what graphs use. */
const used = /^(embeddings|encoder|cls\.predictions\.(transform|bias$|decoder\.weight$)|pooler|classifier|qa_outputs)/;
/** All that is below its words and layers. */
const layerParts =
  "attention\\.self\\.(query|key|value|qkv)|attention\\.output\\.(dense|LayerNorm)|intermediate\\.(dense|gate)|" +
  "output\\.(dense|LayerNorm)";
const inside = new RegExp(
  "^(embeddings\\.(word|position|token_type)_embeddings\\.weight|" +
    `(embeddings\\.LayerNorm|encoder\\.layer\\.\\d+\\.(${layerParts}))\\.(weight|bias))$`,
);
/** Numbers that are counted, not learned. */
const isBuffer = (name: string): boolean => /^embeddings\.(position_ids|token_type_ids)$/.test(name);

/** Matrices that stand one below the other in one: the ends of their names for the end of its own. */
export type Merged = Readonly<Record<string, readonly string[]>>;

/** Of Nomic's BERT. */
export const mergedInBert: Merged = { "self.qkv": ["self.query", "self.key", "self.value"] };

/** Equal parts of a merged weight by their names. Undefined for one that is not. */
export function takenApart(name: string, merged: Merged): ((w: PlainWeight) => [string, PlainWeight][]) | undefined {
  const [path, kind] = [name.replace(/\.\w+$/, ""), name.slice(name.lastIndexOf("."))];
  const whole = Object.keys(merged).find((end) => path.endsWith(`.${end}`));
  if (whole === undefined) return undefined;
  const parts = merged[whole];
  const before = path.slice(0, -whole.length);
  return (w) =>
    splitRows(
      name,
      w,
      parts.map((part) => [before + part + kind, w.shape[0] / parts.length]),
    );
}

/**
 * Large ones of files stay there until a device takes them.
 * @throws FormatError for two of one name, or a merged one that has no equal parts
 */
export async function readNamed(
  folder: ModelFolder,
  tensors: readonly SafetensorsTensor[],
  nameOf: (t: SafetensorsTensor) => string,
  merged: Merged,
  signal?: AbortSignal,
): Promise<Map<string, HostTensor>> {
  const weights = new Map<string, HostTensor>();
  /** What each is called in the file. */
  const origins = new Map<string, string>();
  for (const t of tensors) {
    signal?.throwIfAborted();
    const name = nameOf(t);
    const other = origins.get(name);
    if (other !== undefined)
      throw new FormatError(`${folder.name}: "${other}" and "${t.name}" are both "${name}": leave one out of the file`);
    origins.set(name, t.name);
    const apart = takenApart(name, merged);
    if (apart) for (const [part, w] of apart(asF32(await t.read(signal)))) weights.set(part, w as HostTensor);
    else {
      const stored = sizeOf(t.shape) >= largeWeight ? t.stored?.() : undefined;
      const tensor = stored ? new Weight(t.dtype!, t.shape, Elements.stored(stored)) : await t.read(signal);
      weights.set(name, f32Weight(tensor, folder.local === true));
    }
  }
  return weights;
}

/**
 * By BERT's names.
 * @throws as `readNamed`; UnsupportedOpError for quantised ones and those of layers that nothing uses
 */
export async function readBertWeights(
  folder: ModelFolder,
  json: Json,
  signal?: AbortSignal,
): Promise<Map<string, HostTensor>> {
  // The projection to words is the embedding again, and often in the file, too.
  const isTied = json["tie_word_embeddings"] !== false;
  const { tensors } = await folder.weights(true);
  const ownDense = [...tensors.keys()].some((name) => classifierDense.test(name));
  const bertName = (t: SafetensorsTensor): string => bertNames.reduce((n, [from, to]) => n.replace(from, to), t.name);
  // One of its own has a bias of its own, which counts in place of the other.
  const ownBias = isTied
    ? undefined
    : [...tensors.values()].find((t) => bertName(t) === "cls.predictions.decoder.bias");
  const nameOf = (t: SafetensorsTensor): string => (t === ownBias ? "cls.predictions.bias" : bertName(t));
  const counting = [...tensors.values()].filter((t) => {
    if (ownDense && encoderPooler.test(t.name)) return false;
    const name = nameOf(t);
    if (ownBias && t !== ownBias && name === "cls.predictions.bias") return false;
    return used.test(name) && !isBuffer(name) && !(isTied && name === wordProjection);
  });
  const isKnown = (name: string): boolean => inside.test(name) || !/^(embeddings|encoder)\./.test(name);
  checkTensors(folder.name, counting, (t) => isKnown(nameOf(t)), json);
  return readNamed(folder, counting, nameOf, mergedInBert, signal);
}
