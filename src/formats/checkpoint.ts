/**
 * What is asked of the tensors of Hugging Face checkpoints before they are weights: one that is left out, or taken for something
 * else, changes what a model says.
 */
import type { DType } from "../tensor/dtype.ts";
import { UnsupportedOpError } from "../tensor/errors.ts";
import type { Json } from "./folder.ts";
import type { SafetensorsTensor } from "./safetensors.ts";

/** Types whose elements are the weights themselves, whatever else is said of them. */
const isPlain = (dtype: DType | undefined): boolean =>
  dtype === "f64" || dtype === "f32" || dtype === "f16" || dtype === "bf16";

/** @throws UnsupportedOpError for elements that are weights only together with scales */
export function refuseQuantised(file: string, { name, dtype, storage }: SafetensorsTensor, json: Json): void {
  if (isPlain(dtype)) return;
  const how = (json["quantization_config"] ?? json["compression_config"] ?? {}) as Json;
  const method = String(how["quant_method"] ?? "a method without a name");
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
