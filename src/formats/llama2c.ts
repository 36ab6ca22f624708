/**
 * llama2.c's first checkpoint format (version 0): seven i32, then f32 weights in a fixed order; optionally the tokenizer
 * appended. It has no magic number: a file is recognised when the sizes that its header implies add up to its length.
 * Source: karpathy/llama2.c, export.py (legacy_export) and run.c.
 */
import { FormatError } from "../tensor/errors.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { BinaryTensor } from "../tensor/tensor.ts";
import { floatParts, floatsOf } from "./float-parts.ts";
import {
  headerBytes,
  type Llama2cConfig,
  modelBytes,
  parseConfig,
  tensorShapes,
  tokenHeaderBytes,
} from "./llama2c-config.ts";
import type { ByteSource } from "./source.ts";

export { isLlama2c } from "./llama2c-config.ts";
export type { Llama2cConfig };

export interface Llama2cTokenizer {
  /** The bytes of each token; the byte tokens hold their one byte or its name, `<0x0A>`, depending on the exporter. */
  readonly tokens: readonly Uint8Array[];
  readonly scores: Float32Array;
}

export interface Llama2cTensor {
  readonly name: string;
  readonly dtype: "f32";
  readonly shape: readonly number[];
  readonly byteOffset: number;
  readonly byteLength: number;
  /** A view of the file in memory where the alignment allows, otherwise a copy. */
  read(signal?: AbortSignal): Promise<BinaryTensor & { data: Float32Array }>;
  /** Its elements part by part, where the source can: see `ByteSource.parts`. */
  parts?(granule: number, signal?: AbortSignal): AsyncIterable<Float32Array>;
  /** That of one layer, for tensors of all layers. */
  layer(n: number): Llama2cTensor;
}

export interface Llama2cFile {
  readonly config: Llama2cConfig;
  /**
   * Matrices are [outputs, inputs]; those of all layers are one tensor: `token_embedding` [vocab, dim], `attention_norm`
   * [layers, dim], `wq` [layers, dim, dim], `wk` and `wv` [layers, kvDim, dim], `wo` [layers, dim, dim], `ffn_norm`
   * [layers, dim], `w1` [layers, hidden, dim], `w2` [layers, dim, hidden], `w3` [layers, hidden, dim], `final_norm` [dim],
   * `rope_cos` and `rope_sin` [maxLength, headDim / 2], and `output` [vocab, dim] unless shared.
   */
  readonly tensors: ReadonlyMap<string, Llama2cTensor>;
  readonly tokenizer: Llama2cTokenizer | undefined;
}

/**
 * Reads the header, and the tokenizer if there is one; weights are read when asked for.
 * @throws FormatError with byte offset when the sizes do not add up
 */
export async function readLlama2c(source: ByteSource): Promise<Llama2cFile> {
  const fail = (message: string, offset: number): never => {
    throw new FormatError(`${source.name}: ${message}`, { offset });
  };
  const config = parseConfig(await source.read(0, Math.min(headerBytes, source.size)));
  if (!config) return fail("does not begin with a llama2.c configuration", 0);
  const end = modelBytes(config);
  if (end > source.size) fail(`weights of ${end} bytes do not fit in the file of ${source.size}`, 0);
  const tokenizer = end < source.size ? await readTokenizer(source, end, config.vocabSize) : undefined;
  if (end < source.size && !tokenizer)
    fail(`${source.size - end} bytes after the weights are not a tokenizer of ${config.vocabSize} tokens`, end);

  const tensors = new Map<string, Llama2cTensor>();
  let byteOffset = headerBytes;
  for (const [name, shape] of tensorShapes(config)) {
    tensors.set(name, tensorAt(source, name, shape, byteOffset));
    byteOffset += sizeOf(shape) * 4;
  }
  return { config, tensors, tokenizer };
}

function tensorAt(source: ByteSource, name: string, shape: readonly number[], byteOffset: number): Llama2cTensor {
  const byteLength = sizeOf(shape) * 4;
  return {
    name,
    dtype: "f32",
    shape,
    byteOffset,
    byteLength,
    async read(signal) {
      return { dtype: "f32", shape, data: floatsOf(await source.read(byteOffset, byteLength, signal)) };
    },
    parts:
      source.parts && ((granule, signal) => floatParts(source.parts!(byteOffset, byteLength, 4 * granule, signal))),
    layer(n) {
      const part = shape.slice(1);
      return tensorAt(source, name, part, byteOffset + n * sizeOf(part) * 4);
    },
  };
}

/**
 * The tokenizer in the rest of the file: for each token score, length and bytes. `tokenizer.bin` begins with the longest
 * token's length, some packagers leave that out: whichever reading ends with the file is the right one.
 */
async function readTokenizer(
  source: ByteSource,
  start: number,
  vocabSize: number,
): Promise<Llama2cTokenizer | undefined> {
  if (source.size - start < vocabSize * tokenHeaderBytes) return undefined;
  const bytes = await source.read(start, source.size - start);
  return parseTokens(bytes, 0, vocabSize) ?? parseTokens(bytes, 4, vocabSize);
}

function parseTokens(bytes: Uint8Array, start: number, vocabSize: number): Llama2cTokenizer | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const tokens: Uint8Array[] = [];
  const scores: number[] = [];
  let at = start;
  for (let i = 0; i < vocabSize; i++) {
    if (at + tokenHeaderBytes > bytes.length) return undefined;
    const length = view.getInt32(at + 4, true);
    if (length < 0 || at + tokenHeaderBytes + length > bytes.length) return undefined;
    scores.push(view.getFloat32(at, true));
    at += tokenHeaderBytes;
    tokens.push(bytes.subarray(at, at + length));
    at += length;
  }
  return at === bytes.length ? { tokens, scores: Float32Array.from(scores) } : undefined;
}
