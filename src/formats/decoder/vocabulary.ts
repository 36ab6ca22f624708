/** What model files say about their tokens: data, from which `forwardpass/tasks` makes tokenizers. */
import type { Json } from "../folder.ts";
import type { Strings } from "../string-list.ts";

export type PieceKind = "normal" | "unknown" | "control" | "user" | "byte" | "unused";

/** Of each piece: an array is one. */
export interface PieceKinds {
  readonly length: number;
  at(id: number): PieceKind | undefined;
}

export interface SentencePieceVocabulary {
  readonly kind: "sentencepiece";
  /** With "▁" or a space for spaces. Byte pieces: `<0x0A>`. */
  readonly pieces: Strings;
  readonly scores: ArrayLike<number>;
  readonly kinds: PieceKinds;
  readonly begin?: number;
  readonly end: Iterable<number>;
  readonly unknown?: number;
  /** Put `begin` in front. Default true. */
  readonly addBegin?: boolean;
  /** Put the first of `end` behind. Default false. */
  readonly addEnd?: boolean;
  /** Put a space in front of the text. Default true. */
  readonly addSpace?: boolean;
  /** Special tokens take the white space behind them, but for these. Default: none does. */
  readonly trimsBut?: readonly string[];
}

/** SentencePiece's other model: the likeliest way to cut a text into pieces. */
export interface UnigramVocabulary extends Omit<SentencePieceVocabulary, "kind" | "pieces" | "kinds" | "trimsBut"> {
  readonly kind: "unigram";
  readonly pieces: readonly string[];
  readonly kinds: readonly PieceKind[];
  /** What characters become first: SentencePiece's `precompiled_charsmap`. */
  readonly charsmap?: Uint8Array;
  /** Several spaces become one, those around the text none. Default true. */
  readonly collapseSpaces?: boolean;
}

/** BERT's: words, and what continues them. */
export interface WordPieceVocabulary {
  readonly kind: "wordPiece";
  /** Continuations with "##", as in `vocab.txt`. */
  readonly pieces: readonly string[];
  /** Texts are lowered, and lose their accents. */
  readonly lowercase: boolean;
}

export interface ByteLevelVocabulary {
  readonly kind: "byteLevel";
  readonly pieces: Strings;
  readonly kinds: PieceKinds;
  /** "left right", the first learned first. */
  readonly merges: Strings;
  /** How words are cut: GGUF's names of pre-tokenizers. */
  readonly pattern: string;
  readonly begin?: number;
  readonly end: Iterable<number>;
  /** Put `begin` in front. Default false. */
  readonly addBegin?: boolean;
  /** Put the first of `end` behind. Default false. */
  readonly addEnd?: boolean;
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

/** Those of models that write texts. */
export type DecoderVocabulary = SentencePieceVocabulary | UnigramVocabulary | ByteLevelVocabulary | TokenizerJson;
export type Vocabulary = DecoderVocabulary | WordPieceVocabulary;
