/** What text generation asks of a language model, whatever it is made of. */
import type { Backend } from "../../backends/backend.ts";
import type { Vocabulary } from "../../formats/decoder/vocabulary.ts";
import type { Session } from "../../graph/session.ts";
import type { DecoderSizes, FeedOptions } from "../../models/transformer/feed-checks.ts";

export interface LanguageModelFile {
  readonly vocabulary?: Vocabulary;
  /** Jinja source of the chat template. */
  readonly chatTemplate?: string;
  open(device: Backend): Promise<LanguageModel>;
}

export interface LanguageModel {
  readonly config: DecoderSizes;
  readonly session: Session;
  /** A text without tokens. */
  sequence(): TextSequence;
  /**
   * Appends tokens to several sequences, together where the device can. The logits [vocabSize] of what comes after the last
   * token of each, in order.
   */
  feed(feeds: readonly Feed[], options?: FeedOptions): Promise<Float32Array[]>;
  dispose(): void;
}

/** Tokens to append to a sequence of the same model. */
export interface Feed {
  readonly sequence: TextSequence;
  readonly tokens: readonly number[];
}

export interface TextSequence {
  readonly tokens: readonly number[];
  readonly length: number;
  /** Bytes of the caches. */
  readonly bytes: number;
  /** Appends tokens. The logits [vocabSize] of what comes after the last of them. */
  feed(tokens: readonly number[], options?: FeedOptions): Promise<Float32Array>;
  /** Appends tokens. The likeliest to come next, found where the logits are: they are not copied. */
  likeliest?(tokens: readonly number[], options?: FeedOptions): Promise<number>;
  /** Takes logits that nobody reads any more, for a later `feed` to write into. */
  recycle?(logits: Float32Array): void;
  /** The same with the logits after each of the tokens: [tokens, vocabSize]. */
  feedAll(tokens: readonly number[], options?: FeedOptions): Promise<Float32Array>;
  /** Forgets all but the first `length` tokens. */
  truncate(length: number): void;
  /** A second text that begins with the same tokens. */
  fork(length?: number): Promise<TextSequence>;
  dispose(): void;
}
