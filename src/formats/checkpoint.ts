/**
 * What is asked of the tensors of Hugging Face checkpoints before they are weights: one that is left out, or taken for something
 * else, changes what a model says.
 */
import { type DType, isFloat, isHalf } from "../tensor/dtype.ts";
import { UnsupportedOpError } from "../tensor/errors.ts";
import type { Json } from "./folder.ts";
import type { SafetensorsTensor } from "./safetensors.ts";

/** Types whose elements are the weights themselves, whatever else is said of them. */
const isPlain = (dtype: DType): boolean => dtype === "f64" || dtype === "f32" || isHalf(dtype);

const methodOf = (json: Json): unknown => json["quantization_config"] ?? json["compression_config"] ?? undefined;

export const saysQuantised = (json: Json): boolean => methodOf(json) !== undefined;

/**
 * @throws UnsupportedOpError for elements that are weights only together with scales: all small ones where that is said,
 * integers where nothing is said
 */
export function refuseQuantised(file: string, { name, dtype, storage }: SafetensorsTensor, json: Json): void {
  if (dtype && (saysQuantised(json) ? isPlain : isFloat)(dtype)) return;
  const method = String((methodOf(json) as Json | undefined)?.["quant_method"] ?? "a method without a name");
  throw new UnsupportedOpError(
    `${file}: its weights are quantised with ${method} ("${name}" is ${storage}), which is not supported: take a GGUF file of the model, or the repository that is not quantised`,
    { missing: [method] },
  );
}

/** @throws UnsupportedOpError where there are some */
export function refuseUnknown(file: string, unknown: readonly string[], json: Json): void {
  const [first] = unknown;
  if (first === undefined) return;
  throw new UnsupportedOpError(
    `${file}: tensor "${first}"${unknown.length > 1 ? ` and ${unknown.length - 1} more` : ""} of a model of type "${String(json["model_type"])}" would be left out: it is not known. Adapters have to be merged into the weights; of quantised weights take a GGUF file`,
    { missing: [...unknown] },
  );
}
