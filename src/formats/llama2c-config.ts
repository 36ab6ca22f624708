/** The header of llama2.c checkpoints, by which they are recognised. */
import { sizeOf } from "../tensor/shape.ts";

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

export const headerBytes = 7 * 4;

/** The header's numbers, or undefined if they cannot be a model's. */
export function parseConfig(head: Uint8Array): Llama2cConfig | undefined {
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

export function tensorShapes(c: Llama2cConfig): [string, number[]][] {
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
export const modelBytes = (c: Llama2cConfig): number =>
  tensorShapes(c).reduce((sum, [, shape]) => sum + sizeOf(shape) * 4, headerBytes);

/** A token takes a score, a length and, but for an empty one, bytes. */
export const tokenHeaderBytes = 8;

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
