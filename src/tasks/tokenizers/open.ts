/** The tokenizer of a vocabulary from a model file. Only its kind is loaded. */
import type { Vocabulary } from "../../formats/decoder/vocabulary.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** @throws MissingPeerError for `tokenizer.json` and word pieces without their peer; FormatError, InputError for one that is none */
export async function openTokenizer(v: Vocabulary): Promise<Tokenizer> {
  switch (v.kind) {
    case "sentencepiece":
      return new (await import("./sentencepiece.ts")).SentencePieceTokenizer(v);
    case "unigram":
      return new (await import("./unigram.ts")).UnigramTokenizer(v);
    case "wordPiece": {
      const { wordPieceJson } = await import("./word-piece.ts");
      return (await import("./hugging-face.ts")).HuggingFaceTokenizer.open(wordPieceJson(v));
    }
    case "byteLevel":
      return new (await import("./byte-level.ts")).ByteLevelTokenizer(v);
    case "tokenizer.json":
      return (await import("./hugging-face.ts")).HuggingFaceTokenizer.open(v.source, v.config, v);
  }
}
