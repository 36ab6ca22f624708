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
export {
  type Answer,
  type AnswerOptions,
  QuestionAnswerer,
  type QuestionAnsweringOptions,
  questionAnswering,
} from "./question-answering.ts";
export { type RankedText, Reranker, type RerankingOptions, reranking } from "./reranking.ts";
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
  type Entity,
  type TokenClassificationOptions,
  TokenClassifier,
  tokenClassification,
} from "./token-classification.ts";
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
export {
  ZeroShotClassifier,
  type ZeroShotClassifyOptions,
  type ZeroShotOptions,
  zeroShotClassification,
} from "./zero-shot-classification.ts";
