/** What a decoder-only transformer is made of. Adapters fill this in from a file's metadata. */
import { type BlockType, ggufBytes, ggufTypeNamed } from "../../tensor/blocks/types.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { Weight as Constant, type ElementParts, Elements } from "../../tensor/weight.ts";
import type { RopeConfig } from "./rope.ts";

export interface DecoderConfig {
  /** `llama`, `gemma2`, ...: for people. */
  readonly architecture: string;
  readonly vocabSize: number;
  /** Of the residual stream. */
  readonly width: number;
  readonly heads: number;
  /** Divides `heads`. */
  readonly kvHeads: number;
  readonly headDim: number;
  /** Positions that the model was made for, or fewer where memory is short. */
  readonly contextLength: number;
  readonly norm: { readonly kind: "rms" | "layer"; readonly epsilon: number };
  readonly activation: "silu" | "gelu" | "geluTanh" | "relu";
  /** One entry a layer. */
  readonly layers: readonly DecoderLayer[];
  /** Rotary positions. Without them positions are learned: `position_embd.weight`. */
  readonly rope?: RopeConfig;
  /** Of layers with a window, where theirs differs. */
  readonly localRope?: RopeConfig;
  /** Of q.k. Default 1 / sqrt(headDim). */
  readonly attentionScale?: number;
  /** c tanh(score / c). */
  readonly attentionSoftcap?: number;
  readonly logitSoftcap?: number;
  /** What token embeddings are multiplied by. */
  readonly embeddingScale?: number;
}

export interface DecoderLayer {
  /** Positions that a token sees, itself included. Default: all. */
  readonly window?: number;
}

/** A matrix in the blocks of GGUF, row-major: [rows, columns]. */
export interface BlockWeight {
  readonly type: BlockType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A weight in a file: read when a device is about to take it. */
export interface StoredWeight {
  readonly shape: readonly number[];
  /** What `read` gives: blocks of this type. Default: f32. */
  readonly type?: BlockType;
  /** Reads it: an array that the caller owns, or a view of a larger one. */
  read(signal?: AbortSignal): Promise<Weight>;
  /** The same at once, where the source need not wait. */
  readSync?(): Weight;
  /** Its elements, or the bytes of its blocks, part by part: see `StoredElements`. */
  parts?(granule: number, signal?: AbortSignal): ReturnType<ElementParts>;
}

export type Weight = (HostTensor & { readonly data: Float32Array }) | BlockWeight;

/** A weight of encoders: floats of any kind, blocks, or either in a file. */
export type AnyWeight = HostTensor | BlockWeight | StoredWeight;

/**
 * Weights by the names that GGUF files use. Matrices are [outputs, inputs]. N is the layer's number; biases, and what is
 * in brackets, are used where they are there.
 *
 * - `token_embd.weight` [vocab, width], [`position_embd.weight` [context, width]], `output_norm.weight`, [`output.weight`
 *   [vocab, width]: without it the embedding is the output projection]
 * - `blk.N.attn_norm`, `blk.N.attn_q`, `attn_k`, `attn_v`, `attn_output`, [`attn_q_norm`, `attn_k_norm` [headDim]],
 *   [`post_attention_norm`]
 * - `blk.N.ffn_norm`, [`ffn_gate`], `ffn_up`, `ffn_down`, [`post_ffw_norm`]
 *
 * each with `.weight` and, where the model has it, `.bias`.
 */
export type DecoderWeights = ReadonlyMap<string, Weight | StoredWeight>;

/** The type of its blocks; undefined for f32. */
export const blockTypeOf = (w: AnyWeight): BlockType | undefined => ("type" in w ? w.type : undefined);

/** The elements as a graph's constant. Those of a stored weight are read later. */
export function constantOf(w: AnyWeight): HostTensor {
  const type = blockTypeOf(w);
  const shape = type ? [ggufBytes(ggufTypeNamed(type), sizeOf(w.shape))] : w.shape;
  if ("bytes" in w) return { dtype: "u8", shape, data: w.bytes };
  if (!("read" in w)) return w;
  const elements = (read: Weight): TypedArray => constantOf(read).data as TypedArray;
  const stored = Elements.stored({
    fetch: async () => elements(await w.read()),
    read: w.readSync && (() => elements(w.readSync!())),
    parts: w.parts?.bind(w),
  });
  return new Constant(type ? "u8" : "f32", shape, stored);
}
