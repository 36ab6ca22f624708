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

/**
 * @param tensors those that count for what the model says
 * @param isKnown whether a graph takes it
 * @param json the configuration
 * @throws UnsupportedOpError for elements that are weights only together with scales: all small ones where the configuration says so,
 * else integers; and for tensors that would be left out
 */
export function checkTensors(
  file: string,
  tensors: readonly SafetensorsTensor[],
  isKnown: (t: SafetensorsTensor) => boolean,
  json: Json,
): void {
  const quantised = json["quantization_config"] ?? json["compression_config"] ?? undefined;
  const isWeight = quantised === undefined ? isFloat : isPlain;
  const refuseQuantised = (): void => {
    const other = tensors.find(({ dtype }) => !dtype || !isWeight(dtype));
    if (!other) return;
    const method = String((quantised as Json | undefined)?.["quant_method"] ?? "a method without a name");
    throw new UnsupportedOpError(
      `${file}: its weights are quantised with ${method} ("${other.name}" is ${other.storage}), which is not supported: take a GGUF file of the model, or the repository that is not quantised`,
      { missing: [method] },
    );
  };
  // Methods have names of their own for integers and scales, which are not known either.
  if (quantised !== undefined) refuseQuantised();
  const unknown = tensors.filter((t) => !t.dtype || !isKnown(t)).map((t) => t.name);
  if (unknown.length > 0)
    throw new UnsupportedOpError(
      `${file}: tensor "${unknown[0]}"${unknown.length > 1 ? ` and ${unknown.length - 1} more` : ""} of a model of type "${String(json["model_type"])}" would be left out: it is not known. Adapters have to be merged into the weights; of quantised weights take a GGUF file`,
      { missing: unknown },
    );
  refuseQuantised();
}
