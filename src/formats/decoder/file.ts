/** What every file of a decoder-only transformer is read as. */
import type { DecoderConfig, StoredWeight } from "../../models/transformer/config.ts";
import type { GgufType } from "../../tensor/blocks/types.ts";
import { FormatError } from "../../tensor/errors.ts";
import type { ModelFormat } from "../recognize.ts";
import type { DecoderVocabulary } from "./vocabulary.ts";

export interface DecoderFile {
  readonly format: ModelFormat;
  /** `architecture` is GGUF's name of it. */
  readonly config: DecoderConfig;
  /** By the names, and merged as, GGUF files of the architecture have them. */
  readonly weights: ReadonlyMap<string, FileWeight>;
  /** Missing in files of weights alone. */
  readonly vocabulary?: DecoderVocabulary;
  /** Jinja source of the chat template. */
  readonly chatTemplate?: string;
}

/** A weight in a file. */
export interface FileWeight extends StoredWeight {
  /** The type that it has there, or F32 for what GGUF has no type for. */
  readonly stored: GgufType;
}

export interface ReadOptions {
  /** Longest text in tokens. Default: the model's, 8192 at most. */
  contextLength?: number;
  /** Another limit of the default. */
  contextLimit?: number;
  signal?: AbortSignal;
}

/** Rotary tables and caches are made for this many positions unless the caller wants more. */
const defaultContextLimit = 8192;

/** @param trained what the model was made for */
export const contextOf = (
  trained: number,
  { contextLength, contextLimit = defaultContextLimit }: ReadOptions,
): number => contextLength ?? Math.min(trained, contextLimit);

/**
 * Sizes that a graph can be made of. Files may claim any: what tables are made for has to be that of a weight.
 * @throws FormatError
 */
export function checkSizes(
  c: DecoderConfig,
  weights: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  name: string,
): void {
  const fail = (what: string): never => {
    throw new FormatError(`${name}: ${what}`);
  };
  const { vocabSize, width, heads, kvHeads, headDim, contextLength } = c;
  for (const [what, n] of Object.entries({ vocabSize, width, heads, kvHeads, headDim, contextLength }))
    if (!Number.isSafeInteger(n) || n < 1 || n > 2 ** 31) fail(`its configuration gives ${n} as ${what}`);
  const { attentionScale = 1, embeddingScale = 1, residualScale = 1, logitDivisor = 1 } = c;
  const { attentionSoftcap = 0, logitSoftcap = 0 } = c;
  if (!(c.norm.epsilon >= 0 && c.norm.epsilon < Infinity))
    fail(`its configuration gives ${c.norm.epsilon} as the norms' epsilon`);
  for (const [what, n] of Object.entries({ attentionScale, embeddingScale, residualScale, logitDivisor }))
    if (!isPositive(n)) fail(`its configuration gives ${n} as ${what}`);
  // 0 stands for none.
  for (const [what, n] of Object.entries({ attentionSoftcap, logitSoftcap }))
    if (n !== 0 && !isPositive(n)) fail(`its configuration gives ${n} as ${what}`);
  const attended = weights.get("blk.0.attn_output.weight")?.shape[1];
  if (attended !== undefined && attended !== heads * headDim)
    fail(`${heads} heads of ${headDim} do not fit "blk.0.attn_output.weight", which takes ${attended}`);
  if (attended === undefined && c.layers.length > 0) fail(`weight "blk.0.attn_output.weight" is missing`);
  if (heads % kvHeads) fail(`${kvHeads} key heads do not divide ${heads} query heads`);
  for (const { window = 1 } of c.layers)
    if (!Number.isSafeInteger(window) || window < 1) fail(`a layer sees ${window} tokens`);
  for (const rope of [c.rope, c.localRope]) {
    if (!rope) continue;
    if (!Number.isInteger(rope.dim / 2) || rope.dim < 2 || rope.dim > headDim)
      fail(`rotates ${rope.dim} of a head's ${headDim} elements`);
    if (contextLength * rope.dim > 2 ** 28)
      fail(`angles of ${contextLength} positions take more than a gigabyte: load with a smaller { contextLength }`);
    if (!isPositive(rope.base)) fail(`its configuration gives ${rope.base} as the base of rotary positions`);
    for (const [what, value] of Object.entries(rope.scaling ?? {})) {
      if (what === "kind" || value === undefined) continue;
      if (what === "factors" || what === "longFactors") {
        const factors = value as ArrayLike<number>;
        if (factors.length !== rope.dim / 2) fail(`has ${factors.length} rotary factors for ${rope.dim / 2} pairs`);
        const bad = Array.from(factors).findIndex((f) => !isPositive(f));
        if (bad >= 0) fail(`gives ${factors[bad]} as the rotary factor of pair ${bad}`);
      } else if (!isPositive(value as number)) fail(`its configuration gives ${value} as ${what} of rotary positions`);
    }
  }
}

const isPositive = (n: number): boolean => typeof n === "number" && n > 0 && n < Infinity;

/** As many layers as a file with so many tensors can have. */
export function checkLayers(count: number, tensors: number, name: string): number {
  if (Number.isInteger(count) && count >= 0 && count <= tensors) return count;
  throw new FormatError(`${name}: its configuration gives ${count} layers, it has ${tensors} tensors`);
}
