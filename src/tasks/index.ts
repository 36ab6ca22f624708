/**
 * From a model file to an answer: `forwardpass/tasks`. What a task is made of is loaded when it is called: who generates texts
 * reads no code for images.
 */
import type { SourceInput } from "../formats/source.ts";
import type { EmbeddingOptions, SentenceEncoder } from "./embed.ts";
import type { FillMaskOptions, MaskFiller } from "./fill-mask.ts";
import type { ImageClassificationOptions, ImageClassifier } from "./image-classification.ts";
import type { ObjectDetectionOptions, ObjectDetector } from "./object-detection.ts";
import type { QuestionAnswerer, QuestionAnsweringOptions } from "./question-answering.ts";
import type { Reranker, RerankingOptions } from "./reranking.ts";
import type { TextClassificationOptions, TextClassifier } from "./text-classification.ts";
import type { TextGenerationOptions, TextGenerator } from "./text-generation.ts";
import type { TokenClassificationOptions, TokenClassifier } from "./token-classification.ts";
import type { Transcriber, TranscriptionOptions } from "./transcription.ts";
import type { ZeroShotClassifier, ZeroShotOptions } from "./zero-shot-classification.ts";

export type { FeedOptions } from "../models/transformer/feed-checks.ts";
export type { LabelScore, Scoring } from "./classes.ts";
export type { EmbeddingOptions, EmbedOptions, Pooling, SentenceEncoder } from "./embed.ts";
export type { FillMaskOptions, FillOptions, MaskedWord, MaskFiller } from "./fill-mask.ts";
export type { Drawable, ImageInput, Pixels, Region } from "./image/image.ts";
export type { ImagePreparation } from "./image/preparation.ts";
export type { ImageClassificationOptions, ImageClassifier } from "./image-classification.ts";
export type { FinishReason, Generation, TextPieces, TokenInfo } from "./language/generation.ts";
export type { Feed, LanguageModel, TextSequence } from "./language/model.ts";
export { tokensPerSecond } from "./language/speed.ts";
export type { DetectedObject, DetectOptions, ObjectDetectionOptions, ObjectDetector } from "./object-detection.ts";
export type { Answer, AnswerOptions, QuestionAnswerer, QuestionAnsweringOptions } from "./question-answering.ts";
export type { RankedText, Reranker, RerankingOptions } from "./reranking.ts";
export { cosineSimilarity } from "./similarity.ts";
export type { TextClassificationOptions, TextClassifier } from "./text-classification.ts";
export type {
  ChatMessage,
  GenerateOptions,
  JsonSchema,
  Prompt,
  SamplingOptions,
  TextGenerationOptions,
  TextGenerator,
} from "./text-generation.ts";
export type { Entity, TokenClassificationOptions, TokenClassifier } from "./token-classification.ts";
export type {
  Segment,
  Sound,
  SoundInput,
  TranscribeOptions,
  Transcriber,
  Transcript,
  TranscriptionOptions,
} from "./transcription.ts";
export type { ZeroShotClassifier, ZeroShotClassifyOptions, ZeroShotOptions } from "./zero-shot-classification.ts";

/**
 * Loads a sentence encoder: a folder with safetensors, `config.json` and `tokenizer.json` (BERT, DistilBERT, RoBERTa,
 * XLM-RoBERTa, Nomic's BERT, ModernBERT, or any decoder that `textGeneration` takes, as Qwen3-Embedding and EmbeddingGemma are), an ONNX graph from
 * `input_ids` to `last_hidden_state` or `sentence_embedding` with its tokenizer beside it, or a GGUF file of architecture "bert",
 * "nomic-bert", "modern-bert", "gemma-embedding" or a decoder's. What sentence-transformers keeps beside an encoder counts: pooling, Dense and Normalize
 * modules, the longest text (of decoders 8192 tokens at most), small letters, and the prompt put in front of texts.
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other architectures and modules; MissingPeerError
 * without `@huggingface/tokenizers`, which word pieces in GGUF need too
 */
export const embeddings = async (model: SourceInput, options?: EmbeddingOptions): Promise<SentenceEncoder> =>
  (await import("./embed.ts")).embeddings(model, options);

/**
 * Loads a masked language model, trained to fill gaps: a folder with safetensors, `config.json` and `tokenizer.json` (BERT,
 * DistilBERT, RoBERTa), or an ONNX graph from `input_ids` to each token's words with its tokenizer beside it.
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other architectures; MissingPeerError
 * without `@huggingface/tokenizers`
 */
export const fillMask = async (model: SourceInput, options?: FillMaskOptions): Promise<MaskFiller> =>
  (await import("./fill-mask.ts")).fillMask(model, options);

/**
 * Loads a classifier of images: an ONNX file, or a folder with one. `preprocessor_config.json` beside it says how pixels are
 * prepared, as far as the options do not: resized, cut and scaled as image processors of Hugging Face do it.
 * Of several outputs `logits` counts, else the first.
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for operators that are missing, or a model that
 * takes no images
 */
export const imageClassification = async (
  model: SourceInput,
  options?: ImageClassificationOptions,
): Promise<ImageClassifier> => (await import("./image-classification.ts")).imageClassification(model, options);

/**
 * Loads a detector: an ONNX file of YOLO, or a folder with one. Of models that also outline objects it gives the boxes.
 * @throws FormatError, InputError as the file deserves; UnsupportedOpError for operators that are missing, models of another
 * task (poses, turned boxes, classes of whole images) and such that take more than an image
 */
export const objectDetection = async (model: SourceInput, options?: ObjectDetectionOptions): Promise<ObjectDetector> =>
  (await import("./object-detection.ts")).objectDetection(model, options);

/**
 * Loads a reader: a folder with safetensors, `config.json` and `tokenizer.json` (BERT, DistilBERT, RoBERTa with a head for
 * spans), or an ONNX graph from `input_ids` to beginnings and ends, with its tokenizer beside it.
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other architectures; MissingPeerError
 * without `@huggingface/tokenizers`
 */
export const questionAnswering = async (
  model: SourceInput,
  options?: QuestionAnsweringOptions,
): Promise<QuestionAnswerer> => (await import("./question-answering.ts")).questionAnswering(model, options);

/**
 * Loads a cross-encoder: a folder with safetensors, `config.json` and `tokenizer.json` (BERT, DistilBERT, RoBERTa with a head
 * of one class), or an ONNX graph with its tokenizer beside it.
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other architectures; MissingPeerError
 * without `@huggingface/tokenizers`
 */
export const reranking = async (model: SourceInput, options?: RerankingOptions): Promise<Reranker> =>
  (await import("./reranking.ts")).reranking(model, options);

/**
 * Loads a classifier of texts: a folder with safetensors, `config.json` and `tokenizer.json` (BERT, DistilBERT, RoBERTa with
 * a head for sequences), or an ONNX graph from `input_ids` to logits, with `tokenizer.json` or `vocab.txt` beside it.
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other architectures; MissingPeerError
 * without `@huggingface/tokenizers`
 */
export const textClassification = async (
  model: SourceInput,
  options?: TextClassificationOptions,
): Promise<TextClassifier> => (await import("./text-classification.ts")).textClassification(model, options);

/**
 * Loads a language model: GGUF, llama2.c, a folder with safetensors and `config.json` (its path, or that of the safetensors
 * file), or one with an ONNX graph as Hugging Face Optimum exports it (`model.onnx`, quantised or not, also in `onnx/`; its
 * path, or that of the graph).
 * @throws FormatError for a file that is corrupt or not a language model, UnsupportedOpError for an architecture that is not
 * known, InputError when it can't be read
 */
export const textGeneration = async (model: SourceInput, options?: TextGenerationOptions): Promise<TextGenerator> =>
  (await import("./text-generation.ts")).textGeneration(model, options);

/**
 * Loads a tagger: a folder with safetensors, `config.json` and `tokenizer.json` (BERT, DistilBERT, RoBERTa with a head for
 * tokens), or an ONNX graph from `input_ids` to logits, with its tokenizer beside it.
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other architectures; MissingPeerError
 * without `@huggingface/tokenizers`
 */
export const tokenClassification = async (
  model: SourceInput,
  options?: TokenClassificationOptions,
): Promise<TokenClassifier> => (await import("./token-classification.ts")).tokenClassification(model, options);

/**
 * Loads a speech recogniser: a folder of Whisper, with `config.json`, `tokenizer.json` and either safetensors or ONNX graphs
 * (`encoder_model.onnx`, `decoder_model_merged.onnx`, quantised or not, also in `onnx/`).
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other kinds of models; MissingPeerError without
 * `@huggingface/tokenizers`
 */
export const transcription = async (model: SourceInput, options?: TranscriptionOptions): Promise<Transcriber> =>
  (await import("./transcription.ts")).transcription(model, options);

/**
 * Loads a model of natural language inference: a folder with safetensors, `config.json` and `tokenizer.json` (BERT, DistilBERT,
 * RoBERTa with a head for sequences), or an ONNX graph with its tokenizer beside it. Its classes are `entailment`,
 * `contradiction` and, mostly, `neutral`.
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other architectures; MissingPeerError
 * without `@huggingface/tokenizers`
 */
export const zeroShotClassification = async (
  model: SourceInput,
  options?: ZeroShotOptions,
): Promise<ZeroShotClassifier> =>
  (await import("./zero-shot-classification.ts")).zeroShotClassification(model, options);
