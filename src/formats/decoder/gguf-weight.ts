/** Tensors of GGUF files as weights of transformers. */
import type { Weight } from "../../models/transformer/config.ts";
import type { BlockType } from "../../tensor/blocks/types.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { floatParts } from "../float-parts.ts";
import { dequantize, type GgufTensor } from "../gguf/index.ts";
import type { FileWeight } from "./file.ts";

/** Matrices stay in their blocks; others, of which models have few elements, become f32. */
export function fileWeight(t: GgufTensor): FileWeight {
  const type = blocksOf(t);
  const read = async (signal?: AbortSignal) => weightIn(t, type, await t.bytes(signal));
  const readSync = t.bytesSync && (() => weightIn(t, type, t.bytesSync!()));
  return { type, shape: t.shape, stored: t.type, read, readSync, parts: partsOf(t, type) };
}

const blocksOf = ({ shape, type }: GgufTensor): BlockType | undefined =>
  shape.length === 2 && type !== "F32" ? (type.toLowerCase() as BlockType) : undefined;

/** Of blocks as they are, and of f32. */
function partsOf(t: GgufTensor, type: BlockType | undefined): FileWeight["parts"] {
  if (!t.parts) return undefined;
  if (type) return (granule, signal) => t.parts!(granule, signal);
  return t.type === "F32" ? (granule, signal) => floatParts(t.parts!(4 * granule, signal)) : undefined;
}

function weightIn({ type: own, shape }: GgufTensor, type: BlockType | undefined, bytes: Uint8Array): Weight {
  return type ? { type, shape, bytes } : { dtype: "f32", shape, data: dequantize(own, bytes, sizeOf(shape)) };
}

/** All elements as f32, whatever they are. */
export const floatWeight = async (t: GgufTensor, signal?: AbortSignal): Promise<Weight> =>
  weightIn(t, undefined, await t.bytes(signal));
