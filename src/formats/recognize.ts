/** Which format a file has, by its content. Imports no reader: those are loaded when it is known which. */
import { FormatError } from "../tensor/errors.ts";
import { isLlama2c } from "./llama2c-config.ts";
import type { ByteSource } from "./source.ts";

export type ModelFormat = "onnx" | "gguf" | "safetensors" | "llama2c";

/** Enough for every format's beginning. */
const headBytes = 32;

/** Whether a file that begins with `head` (4 bytes do) is GGUF. */
export const isGguf = (head: Uint8Array): boolean =>
  head.length >= 4 && head[0] === 0x47 && head[1] === 0x47 && head[2] === 0x55 && head[3] === 0x46;

/** Bytes of a safetensors header: the limit of the reference reader. */
export const maxSafetensorsHeader = 100_000_000;

/** Whether a file of `size` bytes that begins with `head` (16 bytes do) looks like safetensors. */
export function isSafetensors(head: Uint8Array, size: number): boolean {
  if (head.length < 9) return false;
  const length = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true);
  return length >= 2n && length <= BigInt(Math.min(size - 8, maxSafetensorsHeader)) && head[8] === 0x7b;
}

/** Of a checkpoint in several files. */
const isShardIndex = (source: ByteSource): boolean => source.name.endsWith(".safetensors.index.json");

/**
 * The format of a model file; an index of safetensors shards counts as one. ONNX has no magic number: it is what is left.
 * @throws FormatError for an empty file
 */
export async function recognize(source: ByteSource): Promise<ModelFormat> {
  const head = await source.read(0, Math.min(headBytes, source.size));
  if (head.length === 0) throw new FormatError(`${source.name}: the file is empty`, { offset: 0 });
  if (isShardIndex(source)) return "safetensors";
  if (isGguf(head)) return "gguf";
  if (isSafetensors(head, source.size)) return "safetensors";
  return isLlama2c(head, source.size) ? "llama2c" : "onnx";
}
