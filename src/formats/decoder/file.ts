/** What every file of a decoder-only transformer is read as. */
import type { DecoderConfig, StoredWeight } from "../../models/transformer/config.ts";
import type { ModelFormat } from "../recognize.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface DecoderFile {
  readonly format: ModelFormat;
  /** `architecture` is GGUF's name of it. */
  readonly config: DecoderConfig;
  /** By the names, and merged as, GGUF files of the architecture have them. */
  readonly weights: ReadonlyMap<string, StoredWeight>;
  /** Missing in files of weights alone. */
  readonly vocabulary?: Vocabulary;
  /** Jinja source of the chat template. */
  readonly chatTemplate?: string;
}

export interface ReadOptions {
  /** Longest text in tokens. Default: the model's, 8192 at most. */
  contextLength?: number;
  signal?: AbortSignal;
}

/** Rotary tables and caches are made for this many positions unless the caller wants more. */
export const defaultContextLimit = 8192;
