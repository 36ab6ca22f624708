/**
 * The tensor types of GGUF: their number in files, and how many elements share a block of how many bytes.
 * Source: the GGUF specification (ggml, docs/gguf.md) and ggml's block definitions.
 */
import { InputError } from "../errors.ts";

const row = (id: number, blockSize: number, blockBytes: number) => ({ id, blockSize, blockBytes });

export const ggufTypes = {
  F32: row(0, 1, 4),
  F16: row(1, 1, 2),
  Q4_0: row(2, 32, 18),
  Q4_1: row(3, 32, 20),
  Q5_0: row(6, 32, 22),
  Q5_1: row(7, 32, 24),
  Q8_0: row(8, 32, 34),
  Q8_1: row(9, 32, 36),
  Q2_K: row(10, 256, 84),
  Q3_K: row(11, 256, 110),
  Q4_K: row(12, 256, 144),
  Q5_K: row(13, 256, 176),
  Q6_K: row(14, 256, 210),
  Q8_K: row(15, 256, 292),
  IQ2_XXS: row(16, 256, 66),
  IQ2_XS: row(17, 256, 74),
  IQ3_XXS: row(18, 256, 98),
  IQ1_S: row(19, 256, 50),
  IQ4_NL: row(20, 32, 18),
  IQ3_S: row(21, 256, 110),
  IQ2_S: row(22, 256, 82),
  IQ4_XS: row(23, 256, 136),
  I8: row(24, 1, 1),
  I16: row(25, 1, 2),
  I32: row(26, 1, 4),
  I64: row(27, 1, 8),
  F64: row(28, 1, 8),
  IQ1_M: row(29, 256, 56),
  BF16: row(30, 1, 2),
  TQ1_0: row(34, 256, 54),
  TQ2_0: row(35, 256, 66),
  MXFP4: row(39, 32, 17),
  NVFP4: row(40, 64, 36),
  Q1_0: row(41, 128, 18),
  Q2_0: row(42, 64, 18),
} as const;

export type GgufType = keyof typeof ggufTypes;

/** The same types as operators name them: `q4_0`. */
export type BlockType = Lowercase<GgufType>;

export const isBlockType = (name: string): name is BlockType =>
  name === name.toLowerCase() && Object.hasOwn(ggufTypes, name.toUpperCase());

export const ggufTypeNamed = (type: BlockType): GgufType => type.toUpperCase() as GgufType;

const names = new Map(Object.entries(ggufTypes).map(([name, { id }]) => [id as number, name as GgufType]));

/** The type of a number in a file; undefined if unknown or withdrawn. */
export const ggufTypeOf = (id: number): GgufType | undefined => names.get(id);

/** Number and blocks of a type. @throws InputError for a name that is none: those of operators are in lower case */
export function ggufLayout(type: GgufType): (typeof ggufTypes)[GgufType] {
  if (Object.hasOwn(ggufTypes, type)) return ggufTypes[type];
  throw new InputError(`gguf: "${type}" is no tensor type. There are: ${Object.keys(ggufTypes).join(", ")}`);
}

/** Bytes of `elements` elements, which must fill whole blocks. @throws InputError for a type that is none */
export function ggufBytes(type: GgufType, elements: number): number {
  const { blockSize, blockBytes } = ggufLayout(type);
  return (elements / blockSize) * blockBytes;
}
