/** How byte-level tokenizers cut a text into words, as `tokenizer.json` says it and by the names that GGUF files have for it. */
export interface WordCut {
  /** Regular expressions of tokenizer.json: each cuts what the ones before it made. */
  readonly expressions: readonly string[];
  /** Texts are composed first (Unicode's form C). */
  readonly composed?: boolean;
  /** A word that is a piece is that piece, whatever the merges say. */
  readonly wholeWords?: boolean;
}

/** Contractions in any case. */
export const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
export const spaces = "\\s+(?!\\S)|\\s+";
/** GPT-2's. */
export const gpt2Expression = `'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|${spaces}`;
/** Punctuation, with the line ends after it. */
const marks = (ends: string): string => ` ?[^\\s\\p{L}\\p{N}]+[${ends}]*|\\s*[\\r\\n]+|${spaces}`;

/** At most `digits` digits together. */
export const llama = (digits: string): string[] => [
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${digits}|${marks("\\r\\n")}`,
];
/** Words also end where small letters are followed by capitals. */
export const cased = (digits: string, after: string): string[] => {
  const [upper, lower] = ["\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}", "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"];
  const word = (capitals: string, small: string): string =>
    `[^\\r\\n\\p{L}\\p{N}]?[${upper}]${capitals}[${lower}]${small}${after}`;
  return [`${word("*", "+")}|${word("+", "*")}|\\p{N}${digits}|${marks("\\r\\n/")}`];
};
const deepseek = [
  "\\p{N}{1,3}",
  "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|" +
    ` ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|${spaces}`,
];

export const wordCuts = {
  "llama-bpe": { expressions: llama("{1,3}"), wholeWords: true },
  "smaug-bpe": { expressions: llama("{1,3}") },
  qwen2: { expressions: llama(""), composed: true },
  "deepseek-r1-qwen": { expressions: llama("") },
  "gpt-4o": { expressions: cased("{1,3}", `${contractions}?`) },
  tekken: { expressions: cased("", ""), wholeWords: true },
  "deepseek-v3": { expressions: deepseek },
} satisfies Record<string, WordCut>;
