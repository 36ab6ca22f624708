/** Which format a file has, by its content. Imports no reader: those are loaded when it is known which. */
import { FormatError } from "../tensor/errors.ts";
import { type ByteSource, plainName } from "./source.ts";

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

/**
 * Whether a file that is no text may be ONNX, which has no magic number: it begins with the tag of one of ModelProto's
 * first 15 fields. Some of these are letters, but lengths and tags that follow soon are not.
 */
function isOnnx([tag]: Uint8Array): boolean {
  const [field, wire] = [tag >> 3, tag & 7];
  return wire === 0 ? field === 1 || field === 5 : wire === 2 && [2, 3, 4, 6, 7, 8, 14].includes(field);
}

/** Whether a file begins with numbers below 2^24 where llama2.c has them: its vocabulary may be negative. */
const mayBeLlama2c = (head: Uint8Array): boolean => [3, 7, 11, 15, 19, 27].every((i) => head[i] === 0);

/** Of a checkpoint in several files. */
const isShardIndex = (source: ByteSource): boolean => plainName(source.name).endsWith(".safetensors.index.json");

/**
 * The format of a model file; an index of safetensors shards counts as one.
 * @throws FormatError for an empty file, and for one of another format
 */
export async function recognize(source: ByteSource): Promise<ModelFormat> {
  const head = await source.read(0, Math.min(headBytes, source.size));
  if (head.length === 0) throw new FormatError(`${source.name}: the file is empty`, { offset: 0 });
  if (isShardIndex(source)) return "safetensors";
  if (isGguf(head)) return "gguf";
  if (isSafetensors(head, source.size)) return "safetensors";
  if (mayBeLlama2c(head)) {
    const { isLlama2c } = await import("./llama2c-config.ts");
    if (isLlama2c(head, source.size)) return "llama2c";
  }
  const start = String.fromCharCode(...head.subarray(0, 16));
  const isText = /^[\t\n\r -~]*$/.test(start);
  if (!isText && isOnnx(head)) return "onnx";
  const what = isText ? JSON.stringify(start) : "other bytes than any of these";
  throw new FormatError(`${source.name}: neither ONNX, GGUF, safetensors nor llama2.c: it begins with ${what}`, {
    offset: 0,
  });
}
