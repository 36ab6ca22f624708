/** Tensors of GGUF files as weights of transformers. */
import type { Weight } from "../../models/transformer/config.ts";
import type { BlockType } from "../../tensor/blocks/types.ts";
import { floatParts } from "../float-parts.ts";
import type { GgufTensor } from "../gguf/index.ts";
import type { FileWeight } from "./file.ts";

/** Matrices stay in their blocks; others, of which models have few elements, become f32. */
export function fileWeight(t: GgufTensor): FileWeight {
  const type = blocksOf(t);
  const read = (signal?: AbortSignal) => readWeight(t, type, signal);
  return { type, shape: t.shape, stored: t.type, read, parts: partsOf(t, type) };
}

const blocksOf = ({ shape, type }: GgufTensor): BlockType | undefined =>
  shape.length === 2 && type !== "F32" ? (type.toLowerCase() as BlockType) : undefined;

/** Of blocks as they are, and of f32. */
function partsOf(t: GgufTensor, type: BlockType | undefined): FileWeight["parts"] {
  if (!t.parts) return undefined;
  if (type) return (granule, signal) => t.parts!(granule, signal);
  return t.type === "F32" ? (granule, signal) => floatParts(t.parts!(4 * granule, signal)) : undefined;
}

async function readWeight(t: GgufTensor, type: BlockType | undefined, signal?: AbortSignal): Promise<Weight> {
  return type ? { type, shape: t.shape, bytes: await t.bytes(signal) } : floatWeight(t, signal);
}

/** All elements as f32, whatever they are. */
export const floatWeight = async (t: GgufTensor, signal?: AbortSignal): Promise<Weight> => ({
  dtype: "f32",
  shape: t.shape,
  data: await t.dequantize(signal),
});
