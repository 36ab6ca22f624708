/** The tokenizer of a vocabulary from a model file. */
import type { Vocabulary } from "../../formats/decoder/vocabulary.ts";
import { ByteLevelTokenizer } from "./byte-level.ts";
import { HuggingFaceTokenizer } from "./hugging-face.ts";
import { SentencePieceTokenizer } from "./sentencepiece.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { UnigramTokenizer } from "./unigram.ts";
import { wordPieceJson } from "./word-piece.ts";

/** @throws MissingPeerError for `tokenizer.json` and word pieces without their peer; FormatError, InputError for one that is none */
export async function openTokenizer(v: Vocabulary): Promise<Tokenizer> {
  switch (v.kind) {
    case "sentencepiece":
      return new SentencePieceTokenizer(v);
    case "unigram":
      return new UnigramTokenizer(v);
    case "wordPiece":
      return HuggingFaceTokenizer.open(wordPieceJson(v));
    case "byteLevel":
      return new ByteLevelTokenizer(v);
    case "tokenizer.json":
      return HuggingFaceTokenizer.open(v.source, v.config, v);
  }
}
