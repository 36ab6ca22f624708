/** Which format a file has, by its content. */
import { FormatError } from "../tensor/errors.ts";
import { isGguf } from "./gguf/index.ts";
import { isLlama2c } from "./llama2c.ts";
import { isSafetensors } from "./safetensors.ts";
import type { ByteSource } from "./source.ts";

export type ModelFormat = "onnx" | "gguf" | "safetensors" | "llama2c";

/** Enough for every format's beginning. */
const headBytes = 32;

/**
 * The format of a model file. ONNX has no magic number: it is what is left.
 * @throws FormatError for an empty file
 */
export async function recognize(source: ByteSource): Promise<ModelFormat> {
  const head = await source.read(0, Math.min(headBytes, source.size));
  if (head.length === 0) throw new FormatError(`${source.name}: the file is empty`, { offset: 0 });
  if (isGguf(head)) return "gguf";
  if (isSafetensors(head, source.size)) return "safetensors";
  return isLlama2c(head, source.size) ? "llama2c" : "onnx";
}
