/** BERT's word pieces (https://arxiv.org/abs/1810.04805, the tokenizer that came with it) as a `tokenizer.json`. */
import type { WordPieceVocabulary } from "../../formats/decoder/vocabulary.ts";
import type { Json } from "../../formats/folder.ts";

export interface WordPieceRules extends Omit<WordPieceVocabulary, "kind"> {
  /** Default: where texts are lowered. */
  readonly stripAccents?: boolean;
  /** Each Chinese character is a word. Default true. */
  readonly cutChinese?: boolean;
}

/** Texts are cleaned, cut at spaces and punctuation, and put between [CLS] and [SEP]. */
export function wordPieceJson({ pieces, lowercase, stripAccents, cutChinese = true }: WordPieceRules): Json {
  const vocab = Object.fromEntries(pieces.map((piece, id): [string, number] => [piece, id]));
  const special = (id: string, type_id = 0): Json => ({ SpecialToken: { id, type_id } });
  const text = (id: string, type_id: number): Json => ({ Sequence: { id, type_id } });
  const marks = ["[CLS]", "[SEP]"];
  const named = ["[PAD]", "[UNK]", "[MASK]", ...marks].filter((name) => name in vocab);
  return {
    added_tokens: named.map((content) => ({ id: vocab[content], content, special: true, normalized: false })),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: cutChinese,
      strip_accents: stripAccents ?? null,
      lowercase,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [special(marks[0]), text("A", 0), special(marks[1])],
      pair: [special(marks[0]), text("A", 0), special(marks[1]), text("B", 1), special(marks[1], 1)],
      special_tokens: Object.fromEntries(marks.map((id) => [id, { id, ids: [vocab[id]], tokens: [id] }])),
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab,
    },
  };
}
