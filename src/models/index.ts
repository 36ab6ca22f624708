/** Graph builders over named weights: `forwardpass/models`. */
export { type CnnConfig, lenet, resnet } from "./cnn.ts";
export { type MlpConfig, mlp } from "./mlp.ts";
export type { BlockConfig } from "./transformer/blocks.ts";
export type { DecoderConfig, DecoderWeights } from "./transformer/config.ts";
export { decoder, statelessDecoder } from "./transformer/decoder.ts";
export { type EncoderConfig, type EncoderHead, transformerEncoder } from "./transformer/encoder.ts";
export { type ModernBertConfig, modernBert } from "./transformer/modern-bert.ts";
export { type VitConfig, vit } from "./transformer/vit.ts";
export {
  type WhisperConfig,
  type WhisperDecoderConfig,
  whisperDecoder,
  whisperEncoder,
} from "./transformer/whisper.ts";
export type { Weights } from "./weights.ts";
