/** What a speech recogniser is made of, in whatever format it came. */
import type { Backend } from "../../backends/backend.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import type { MelConfig } from "../audio/log-mel.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";

export interface SpeechModel {
  /** @param mel f32 [1, bands, frames] of one window of sound */
  listen(mel: HostTensor, signal?: AbortSignal): Promise<Listening>;
  dispose(): void;
}

/** One window of sound, and the text of it so far. */
export interface Listening {
  /**
   * Appends tokens. The logits [vocabulary] of what comes after the last. What takes long (the first token, which reads the
   * sound, and prompts) can be stopped with the signal; between single tokens it is the caller who gives turns to others.
   */
  feed(tokens: readonly number[], signal?: AbortSignal): Promise<Float32Array>;
  /** Forgets the text, not the sound. */
  restart(): void;
  dispose(): void;
}

export interface SpeechModelFile {
  readonly mel: MelConfig;
  /** Samples that the model hears at once. */
  readonly windowSamples: number;
  /** Longest text of a window, in tokens. */
  readonly positions: number;
  readonly tokenizer: Tokenizer;
  readonly tokens: SpeechTokens;
  readonly defaults: SpeechDefaults;
  open(device: Backend, signal?: AbortSignal): Promise<SpeechModel>;
}

export type SpeechTask = "transcribe" | "translate";

/** Where the caller does not say: what the file says, and what is heard where it does not either. */
export interface SpeechDefaults {
  /** ISO code. */
  readonly language?: string;
  readonly task?: SpeechTask;
  /** They hold where the caller says neither of them. */
  readonly onlyTogether?: boolean;
}

export interface SpeechTokens {
  readonly start: number;
  readonly end: number;
  readonly noTimestamps: number;
  readonly noSpeech?: number;
  readonly transcribe?: number;
  readonly translate?: number;
  /** By ISO code. Empty where the model knows English only. */
  readonly languages: ReadonlyMap<string, number>;
  /** Never said, and never said first. */
  readonly suppressed: readonly number[];
  readonly suppressedFirst: readonly number[];
}
