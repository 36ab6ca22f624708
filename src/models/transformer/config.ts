/** What a decoder-only transformer is made of. Adapters fill this in from a file's metadata. */
import { type BlockType, ggufBytes, ggufTypeNamed, isBlockType } from "../../tensor/blocks/types.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { DTypeError, FormatError, InputError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { Weight as Constant, type ElementParts, Elements } from "../../tensor/weight.ts";
import { longFrom, type RopeConfig } from "./rope.ts";

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
  readonly norm: {
    readonly kind: "rms" | "layer";
    readonly epsilon: number;
    /** Behind the halves of layers alone, where others have it before them. */
    readonly behind?: boolean;
    /** Of queries and keys over their whole width: others have it head by head, or none. */
    readonly acrossHeads?: boolean;
  };
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
  /** Tokens see those behind them as well, in layers with a window as many as before them: for vectors of texts alone. */
  readonly bidirectional?: boolean;
  /** What the halves of layers are multiplied by, before they are added to the residual stream. */
  readonly residualScale?: number;
  /** What logits are divided by, before their cap. */
  readonly logitDivisor?: number;
}

export interface DecoderLayer {
  /** Positions that a token sees, itself included. Default: all. */
  readonly window?: number;
  /** Where it is not that of the other layers. */
  readonly attentionScale?: number;
  /** False where positions are not turned, though those of other layers are. */
  readonly rope?: false;
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
 * each with `.weight` and, where the model has it, `.bias`. With `norm.behind` there is no `attn_norm` and `ffn_norm`, but the
 * other two; with `norm.acrossHeads` `attn_q_norm` is [heads * headDim] and `attn_k_norm` [kvHeads * headDim].
 */
export type DecoderWeights = ReadonlyMap<string, Weight | StoredWeight>;

/** The type of its blocks; undefined for f32. */
export const blockTypeOf = (w: AnyWeight): BlockType | undefined => ("type" in w ? w.type : undefined);

const activations: readonly string[] = ["silu", "gelu", "geluTanh", "relu"] satisfies DecoderConfig["activation"][];

/** What would be taken for something else. Shapes are checked where they are used. @throws InputError */
export function checkDecoder(config: DecoderConfig, weights: DecoderWeights): void {
  const { activation, layers, rope, localRope } = config ?? {};
  if (!Array.isArray(layers)) throw new InputError("decoder: takes a configuration whose layers are an array");
  if (!(weights instanceof Map) && typeof weights?.get !== "function")
    throw new InputError("decoder: weights are a Map by name: new Map(Object.entries(weights)) makes one");
  if (!activations.includes(activation))
    throw new InputError(`decoder: no activation is called ${JSON.stringify(activation)}: ${activations.join(", ")}`);
  for (const { window = 1 } of layers)
    if (!Number.isInteger(window) || window < 1)
      throw new InputError(`decoder: a layer's window is a whole number from 1, got ${window}`);
  for (const r of [rope, localRope])
    if (r && !(Number.isInteger(r.dim / 2) && r.dim > 0))
      throw new InputError(`decoder: rope.dim is an even number from 2, got ${r.dim}`);
  if (longFrom(localRope, Infinity) < Infinity)
    throw new InputError("decoder: localRope has no longFactors: windows are short");
}

/**
 * The elements as a graph's constant. Those of a stored weight are read later.
 * @throws DTypeError for blocks of no known type; when it is read FormatError for another number of elements
 */
export function constantOf(w: AnyWeight): HostTensor {
  const type = blockTypeOf(w);
  if (type && !isBlockType(type)) throw new DTypeError(`weight: no block type is called ${JSON.stringify(type)}`);
  const shape = type ? [ggufBytes(ggufTypeNamed(type), sizeOf(w.shape))] : w.shape;
  if ("bytes" in w) return { dtype: "u8", shape, data: w.bytes };
  if (!("read" in w)) return w;
  const size = sizeOf(shape);
  const elements = (read: Weight): TypedArray => {
    const data = constantOf(read).data as TypedArray;
    if (data.length !== size) refuseCount(data.length, size);
    return data;
  };
  const stored = Elements.stored({
    fetch: async () => elements(await w.read()),
    read: w.readSync && (() => elements(w.readSync!())),
    parts: w.parts && ((granule) => counted(w.parts!(granule), size)),
  });
  return new Constant(type ? "u8" : "f32", shape, stored);
}

function refuseCount(count: number, size: number): never {
  throw new FormatError(`weight: ${count} elements were read, of ${size}`);
}

async function* counted(parts: ReturnType<ElementParts>, size: number) {
  let count = 0;
  for await (const part of parts) {
    count += part.length;
    if (count > size) break;
    yield part;
  }
  if (count !== size) refuseCount(count, size);
}
