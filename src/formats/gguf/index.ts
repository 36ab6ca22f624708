export { dequantize } from "../../tensor/blocks/dequantize.ts";
export { type GgufType, ggufBytes, ggufTypeOf, ggufTypes } from "../../tensor/blocks/types.ts";
export { isGguf } from "../recognize.ts";
export { type QuantizableType, quantize } from "./quantize.ts";
export { type GgufFile, type GgufTensor, readGguf } from "./reader.ts";
export type { GgufArray, GgufValue, GgufValueType } from "./values.ts";
export { type GgufContents, type GgufHeader, ggufHeader, writeGguf } from "./writer.ts";
