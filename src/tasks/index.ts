/** From a model file to an answer: `forwardpass/tasks`. */

export type { FeedOptions } from "../models/transformer/sequence.ts";
export type { LabelScore, Scoring } from "./classes.ts";
export {
  cosineSimilarity,
  type EmbeddingOptions,
  type EmbedOptions,
  embeddings,
  type Pooling,
  type SentenceEncoder,
} from "./embed.ts";
export { type FillMaskOptions, fillMask, type MaskedWord, MaskFiller } from "./fill-mask.ts";
export type { ImageInput, ImagePreparation, Pixels, Region } from "./image/image.ts";
export { type ImageClassificationOptions, ImageClassifier, imageClassification } from "./image-classification.ts";
export type { Feed, LanguageModel, TextSequence } from "./language/model.ts";
export {
  type DetectedObject,
  type DetectOptions,
  type ObjectDetectionOptions,
  ObjectDetector,
  objectDetection,
} from "./object-detection.ts";
export { type TextClassificationOptions, TextClassifier, textClassification } from "./text-classification.ts";
export {
  type ChatMessage,
  type FinishReason,
  type GenerateOptions,
  type Generation,
  type JsonSchema,
  type Prompt,
  type SamplingOptions,
  type TextGenerationOptions,
  type TextGenerator,
  type TextPieces,
  type TokenInfo,
  textGeneration,
  tokensPerSecond,
} from "./text-generation.ts";
export {
  type Segment,
  type Sound,
  type SoundInput,
  type TranscribeOptions,
  Transcriber,
  type Transcript,
  type TranscriptionOptions,
  transcription,
} from "./transcription.ts";
