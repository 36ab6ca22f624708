/** The tokenizer of a vocabulary from a model file. */
import type { Vocabulary } from "../../formats/decoder/vocabulary.ts";
import { ByteLevelTokenizer } from "./byte-level.ts";
import { HuggingFaceTokenizer } from "./hugging-face.ts";
import { SentencePieceTokenizer } from "./sentencepiece.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** @throws MissingPeerError for `tokenizer.json` without its peer; FormatError, InputError for one that is none */
export async function openTokenizer(v: Vocabulary): Promise<Tokenizer> {
  switch (v.kind) {
    case "sentencepiece":
      return new SentencePieceTokenizer(v);
    case "byteLevel":
      return new ByteLevelTokenizer(v);
    case "tokenizer.json":
      return HuggingFaceTokenizer.open(v.source, v.config, v);
  }
}
