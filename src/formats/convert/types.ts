/** Which type a weight is stored as. */

import type { Weight } from "../../models/transformer/config.ts";
import { type BlockType, type GgufType, ggufTypeNamed, ggufTypes } from "../../tensor/blocks/types.ts";
import { dequantize, type QuantizableType, quantize } from "../gguf/index.ts";

/** What `--quant` takes. */
export const quantizations = ["f32", "f16", "bf16", "q8_0", "q6_k", "q4_k", "q4_0"] as const;
export type Quantization = (typeof quantizations)[number];

/**
 * Matrices that lose most for their size when 4 bits are all they get: on stories15M, 0.4 bits more a weight spent here take
 * the rise in perplexity of q4_0 from 9% to 4.5%, and that of q4_k from 8% to 3%.
 */
const delicate = /\.attn_(v|output)\.weight$/;

const fills = (type: GgufType, row: number): boolean => row % ggufTypes[type].blockSize === 0;

/** Whether a tensor is f32 in GGUF files whatever the others are: vectors, and tables of positions and types of tokens. */
export const staysF32 = (name: string, shape: readonly number[]): boolean =>
  shape.length < 2 || !name.endsWith(".weight") || /^(position_embd|token_types)\./.test(name);

/**
 * The type of a tensor by its name and shape, where it is not one that stays f32. The matrix that gives the logits
 * decides between tokens directly: with 4 bits it gets more, and so do values and outputs of attention. Rows that do not fill blocks get the next best type.
 * @param isOutput whether it is that matrix
 */
export function typeFor(
  quant: Quantization,
  name: string,
  shape: readonly number[],
  isOutput: boolean,
): QuantizableType {
  if (quant === "f32" || staysF32(name, shape)) return "F32";
  const wanted = ggufTypeNamed(quant as BlockType) as QuantizableType;
  const row = shape[shape.length - 1];
  const choices: QuantizableType[] =
    quant.startsWith("q4") && (isOutput || delicate.test(name)) ? ["Q6_K", "Q8_0"] : [wanted];
  if (wanted === "Q4_K") choices.push("Q4_0");
  return [...choices, "Q8_0" as const].find((type) => fills(type, row)) ?? "F16";
}

/** A weight's bytes as `type`; those that it has, where it is stored so. */
export function encode(type: GgufType, w: Weight): Uint8Array {
  if ("bytes" in w && w.type === type.toLowerCase()) return w.bytes;
  const size = w.shape.reduce((n, d) => n * d, 1);
  const data = "bytes" in w ? dequantize(ggufTypeNamed(w.type), w.bytes, size) : w.data;
  return quantize(type as QuantizableType, data);
}
