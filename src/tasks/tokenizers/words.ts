/**
 * How byte-level tokenizers cut a text into words, by the names that GGUF files have for it. The expressions are those of the
 * models' own tokenizers.
 */
import { InputError } from "../../tensor/errors.ts";

/** Each expression cuts what the ones before it made. */
export interface Pattern {
  readonly cuts: readonly RegExp[];
  /** The text is composed first (Unicode's form C). */
  readonly composed?: boolean;
  /** A word that is a piece is that piece, whatever the merges say. */
  readonly wholeWords?: boolean;
}

/** An expression as tokenizers have it: JavaScript's \s has U+FEFF and lacks U+0085. */
const cut = (expression: string): RegExp =>
  new RegExp(expression.replaceAll("\\s", "\\p{White_Space}").replaceAll("\\S", "\\P{White_Space}"), "gu");
const spaces = "\\s+(?!\\S)|\\s+";
const contraction = "'(?:[sS]|[dD]|[mM]|[tT]|[lL][lL]|[vV][eE]|[rR][eE])";
/** Punctuation, with the line ends after it. */
const marks = (ends: string): string => ` ?[^\\s\\p{L}\\p{N}]+[${ends}]*|\\s*[\\r\\n]+|${spaces}`;

const gpt2Words = cut(`'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|${spaces}`);
const gpt2: Pattern = { cuts: [gpt2Words] };
/** Contractions in any case, at most `digits` digits together. */
const llama3 = (digits: string): Pattern => ({
  cuts: [cut(`${contraction}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${digits}|${marks("\\r\\n")}`)],
});
const llamaWords: Pattern = { ...llama3("{1,3}"), wholeWords: true };
/** Words also end where small letters are followed by capitals. */
const cased = (digits: string, after: string): Pattern => {
  const [upper, lower] = ["\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}", "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"];
  const word = (capitals: string, small: string): string =>
    `[^\\r\\n\\p{L}\\p{N}]?[${upper}]${capitals}[${lower}]${small}${after}`;
  return { cuts: [cut(`${word("*", "+")}|${word("+", "*")}|\\p{N}${digits}|${marks("\\r\\n/")}`)] };
};
const gpt4o = cased("{1,3}", `(?:${contraction})?`);
const tekken: Pattern = { ...cased("", ""), wholeWords: true };
/** Digits one by one, then as GPT-2. */
const singleDigits: Pattern = { cuts: [/\p{N}/gu, gpt2Words] };
const han = "\u4e00-\u9fa5";
const deepseek3: Pattern = {
  cuts: [
    /\p{N}{1,3}/gu,
    cut(`[${han}\u3040-\u309f\u30a0-\u30ff]+`),
    cut(
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|" +
        ` ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|${spaces}`,
    ),
  ],
};
const deepseekCoder: Pattern = {
  cuts: ["[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", `[${han}\u0800-\u4e00\uac00-\ud7ff]+`, "\\p{N}"].map(cut),
};
/** What llama.cpp does with files that say `default`. */
const fallback: Pattern = {
  cuts: [cut("[\\p{P}$+<=>^~|]+"), gpt2Words, /\p{N}+/gu, /[0-9]{3}/gu],
};
const falcon: Pattern = { cuts: [cut("[\\p{P}$+<=>^~|`]+"), gpt2Words, /[0-9]{3}/gu] };

const patterns: Readonly<Record<string, Pattern>> = {
  default: fallback,
  falcon,
  tekken,
  "deepseek-coder": deepseekCoder,
  qwen2: { ...llama3(""), composed: true },
  ...named(gpt2, "gpt-2 phi-2 olmo mpt jais roberta-bpe jina-es jina-de gigachat exaone4"),
  ...named(llamaWords, "llama-bpe llama-v3 llama3 falcon3 falcon-h1 pixtral midm-2.0 lfm2"),
  ...named(llama3("{1,3}"), "smaug-bpe dbrx chatglm-bpe glm4"),
  ...named(llama3(""), "deepseek-r1-qwen megrez"),
  ...named(gpt4o, "gpt-4o llama4 kanana2"),
  ...named(deepseek3, "deepseek-v3 hunyuan-dense"),
  ...named(singleDigits, "smollm starcoder refact command-r codeshell exaone minerva-7b"),
};

function named(pattern: Pattern, names: string): Record<string, Pattern> {
  return Object.fromEntries(names.split(" ").map((name) => [name, pattern]));
}

/** @throws InputError for a name that is not known */
export function patternNamed(name: string): Pattern {
  if (!Object.hasOwn(patterns, name))
    throw new InputError(`the pre-tokenizer "${name}" is not known; known: ${Object.keys(patterns).join(", ")}`);
  return patterns[name];
}

/**
 * Words of a text: everything between two matches is a word as well.
 * @param pattern GGUF's name of a pre-tokenizer
 * @throws InputError for a name that is not known
 */
export const splitWords = (text: string, pattern: string): string[] => cutWords(text, patternNamed(pattern));

export function cutWords(text: string, { cuts, composed }: Pattern): string[] {
  let parts = [composed ? text.normalize("NFC") : text];
  for (const expression of cuts) {
    parts = parts.flatMap((part) => {
      const words: string[] = [];
      let at = 0;
      for (const match of part.matchAll(expression)) {
        if (match.index > at) words.push(part.slice(at, match.index));
        words.push(match[0]);
        at = match.index + match[0].length;
      }
      if (at < part.length) words.push(part.slice(at));
      return words;
    });
  }
  return parts;
}
