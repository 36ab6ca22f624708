/** Words of byte-level tokenizers, by the names that GGUF files have for the ways to cut them. */
import { contractions, type WordCut, wordCuts } from "../../formats/decoder/word-cuts.ts";
import { InputError } from "../../tensor/errors.ts";

export interface Pattern extends Pick<WordCut, "composed" | "wholeWords"> {
  /** Each expression cuts what the ones before it made. */
  readonly cuts: readonly RegExp[];
}

/** JavaScript's \s has U+FEFF and lacks U+0085, and (?i:) is newer than Node 20. */
const cut = (expression: string): RegExp =>
  new RegExp(
    expression
      .replaceAll(contractions, "(?:'(?:[sS]|[dD]|[mM]|[tT]|[lL][lL]|[vV][eE]|[rR][eE]))")
      .replaceAll("\\s", "\\p{White_Space}")
      .replaceAll("\\S", "\\P{White_Space}"),
    "gu",
  );
const written = ({ expressions, ...more }: WordCut): Pattern => ({ ...more, cuts: expressions.map(cut) });

const gpt2Words = cut("'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+");
const gpt2: Pattern = { cuts: [gpt2Words] };
/** Digits one by one, then as GPT-2. */
const singleDigits: Pattern = { cuts: [/\p{N}/gu, gpt2Words] };
const deepseekCoder: Pattern = {
  cuts: ["[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", "\\p{N}"].map(cut),
};
/** What llama.cpp does with files that say `default`. */
const fallback: Pattern = {
  cuts: [cut("[\\p{P}$+<=>^~|]+"), gpt2Words, /\p{N}+/gu, /[0-9]{3}/gu],
};
const falcon: Pattern = { cuts: [cut("[\\p{P}$+<=>^~|`]+"), gpt2Words, /[0-9]{3}/gu] };

const patterns: Readonly<Record<string, Pattern>> = {
  default: fallback,
  falcon,
  "deepseek-coder": deepseekCoder,
  ...named(gpt2, "gpt-2 phi-2 olmo mpt jais roberta-bpe jina-es jina-de gigachat exaone4"),
  ...named(written(wordCuts["llama-bpe"]), "llama-bpe llama-v3 llama3 falcon3 falcon-h1 pixtral midm-2.0 lfm2"),
  ...named(written(wordCuts["smaug-bpe"]), "smaug-bpe dbrx chatglm-bpe glm4"),
  ...named(written(wordCuts.qwen2), "qwen2"),
  ...named(written(wordCuts["deepseek-r1-qwen"]), "deepseek-r1-qwen megrez"),
  ...named(written(wordCuts["gpt-4o"]), "gpt-4o llama4 kanana2"),
  ...named(written(wordCuts.tekken), "tekken"),
  ...named(written(wordCuts["deepseek-v3"]), "deepseek-v3 hunyuan-dense"),
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
