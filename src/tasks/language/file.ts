/** What every language model file is turned into. */
import type { ModelFormat } from "../../formats/recognize.ts";
import type { DecoderConfig, DecoderWeights } from "../../models/transformer/config.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";

export interface LanguageModelFile {
  readonly format: ModelFormat;
  readonly config: DecoderConfig;
  readonly weights: DecoderWeights;
  /** Missing in files of weights alone. */
  readonly tokenizer: Tokenizer | undefined;
  /** Jinja source of the chat template. */
  readonly chatTemplate?: string;
}
