/** What model files say about their tokens: data, from which `forwardpass/tasks` makes tokenizers. */
import type { Json } from "../folder.ts";

export type PieceKind = "normal" | "unknown" | "control" | "user" | "byte" | "unused";

export interface SentencePieceVocabulary {
  readonly kind: "sentencepiece";
  /** With "▁" or a space for spaces. Byte pieces: `<0x0A>`. */
  readonly pieces: readonly string[];
  readonly scores: ArrayLike<number>;
  readonly kinds: readonly PieceKind[];
  readonly begin?: number;
  readonly end: Iterable<number>;
  readonly unknown?: number;
  /** Put `begin` in front. Default true. */
  readonly addBegin?: boolean;
  /** Put a space in front of the text. Default true. */
  readonly addSpace?: boolean;
}

export interface ByteLevelVocabulary {
  readonly kind: "byteLevel";
  readonly pieces: readonly string[];
  readonly kinds: readonly PieceKind[];
  /** "left right", the first learned first. */
  readonly merges: readonly string[];
  /** How words are cut: GGUF's names of pre-tokenizers. */
  readonly pattern: string;
  readonly begin?: number;
  readonly end: Iterable<number>;
  /** Put `begin` in front. Default false. */
  readonly addBegin?: boolean;
}

/** The files that Hugging Face folders have. */
export interface TokenizerJson {
  readonly kind: "tokenizer.json";
  readonly source: Json;
  /** `tokenizer_config.json`. */
  readonly config: Json;
  /** The name of the token that texts begin with. */
  readonly begin?: string;
  /** Names and numbers of those that end an answer. */
  readonly end: readonly (string | number)[];
}

export type Vocabulary = SentencePieceVocabulary | ByteLevelVocabulary | TokenizerJson;
