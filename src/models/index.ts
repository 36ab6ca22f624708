/** Graph builders over named weights: `forwardpass/models`. */
export { type CnnConfig, lenet, resnet } from "./cnn.ts";
export { type MlpConfig, mlp } from "./mlp.ts";
export type { DecoderConfig, DecoderWeights } from "./transformer/config.ts";
export { decoder } from "./transformer/decoder.ts";
export { type EncoderConfig, transformerEncoder } from "./transformer/encoder.ts";
export type { Weights } from "./weights.ts";
