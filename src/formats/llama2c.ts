/**
 * llama2.c's first checkpoint format (version 0): seven i32, then f32 weights in a fixed order; optionally the tokenizer
 * appended. It has no magic number: a file is recognised when the sizes that its header implies add up to its length.
 * Source: karpathy/llama2.c, export.py (legacy_export) and run.c.
 */
import { FormatError } from "../tensor/errors.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { BinaryTensor } from "../tensor/tensor.ts";
import type { ByteSource } from "./source.ts";

export interface Llama2cConfig {
  readonly dim: number;
  readonly hiddenDim: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocabSize: number;
  /** Positions that the rotary tables in the file cover. */
  readonly maxLength: number;
  /** Whether the output projection is the token embedding: the file has no `output` then. */
  readonly sharedOutput: boolean;
}

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

const headerBytes = 7 * 4;

/** The header's numbers, or undefined if they cannot be a model's. */
function parseConfig(head: Uint8Array): Llama2cConfig | undefined {
  if (head.length < headerBytes) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, headerBytes);
  const [dim, hiddenDim, layers, heads, kvHeads, signedVocab, maxLength] = Array.from({ length: 7 }, (_, i) =>
    view.getInt32(i * 4, true),
  );
  const vocabSize = Math.abs(signedVocab);
  if (Math.min(dim, hiddenDim, layers, heads, kvHeads, vocabSize, maxLength) < 1) return undefined;
  if (dim % heads || heads % kvHeads || (dim / heads) % 2) return undefined;
  // A negative vocabulary size marks an output projection of its own.
  return { dim, hiddenDim, layers, heads, kvHeads, vocabSize, maxLength, sharedOutput: signedVocab > 0 };
}

function tensorShapes(c: Llama2cConfig): [string, number[]][] {
  const headDim = c.dim / c.heads;
  const kvDim = headDim * c.kvHeads;
  const shapes: [string, number[]][] = [
    ["token_embedding", [c.vocabSize, c.dim]],
    ["attention_norm", [c.layers, c.dim]],
    ["wq", [c.layers, c.dim, c.dim]],
    ["wk", [c.layers, kvDim, c.dim]],
    ["wv", [c.layers, kvDim, c.dim]],
    ["wo", [c.layers, c.dim, c.dim]],
    ["ffn_norm", [c.layers, c.dim]],
    ["w1", [c.layers, c.hiddenDim, c.dim]],
    ["w2", [c.layers, c.dim, c.hiddenDim]],
    ["w3", [c.layers, c.hiddenDim, c.dim]],
    ["final_norm", [c.dim]],
    ["rope_cos", [c.maxLength, headDim / 2]],
    ["rope_sin", [c.maxLength, headDim / 2]],
  ];
  return c.sharedOutput ? shapes : [...shapes, ["output", [c.vocabSize, c.dim]]];
}

/** Bytes of header and weights. */
const modelBytes = (c: Llama2cConfig): number =>
  tensorShapes(c).reduce((sum, [, shape]) => sum + sizeOf(shape) * 4, headerBytes);

/** A token takes a score, a length and, but for an empty one, bytes. */
const tokenHeaderBytes = 8;

/**
 * Whether a file of `size` bytes that begins with `head` (28 bytes do) may be a llama2.c checkpoint: the weights fill it, or
 * leave room for a tokenizer.
 */
export function isLlama2c(head: Uint8Array, size: number): boolean {
  const config = parseConfig(head);
  if (!config) return false;
  const rest = size - modelBytes(config);
  return rest === 0 || rest >= config.vocabSize * tokenHeaderBytes;
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
    const at = byteOffset;
    const byteLength = sizeOf(shape) * 4;
    tensors.set(name, {
      name,
      dtype: "f32",
      shape,
      byteOffset: at,
      byteLength,
      async read(signal) {
        const bytes = await source.read(at, byteLength, signal);
        const aligned = bytes.byteOffset % 4 ? bytes.slice() : bytes;
        return { dtype: "f32", shape, data: new Float32Array(aligned.buffer, aligned.byteOffset, byteLength / 4) };
      },
    });
    byteOffset += byteLength;
  }
  return { config, tensors, tokenizer };
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
