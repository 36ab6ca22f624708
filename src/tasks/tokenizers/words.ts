/** Words of byte-level tokenizers, by the names that GGUF files have for the ways to cut them. */
import {
  cased,
  contractions,
  gpt2Expression,
  llama,
  spaces,
  type WordCut,
  wordCuts,
} from "../../formats/decoder/word-cuts.ts";
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
const cutBy = (...expressions: string[]): Pattern => ({ cuts: expressions.map(cut) });
const written = ({ expressions, ...more }: WordCut): Pattern => ({ ...more, cuts: expressions.map(cut) });

const gpt2Words = cut(gpt2Expression);
const gpt2: Pattern = { cuts: [gpt2Words] };
/** Digits one by one, then as GPT-2. */
const singleDigits: Pattern = { cuts: [/\p{N}/gu, gpt2Words] };
const deepseekCjk = "[\u0800-\u9fa5\uac00-\ud7ff]+";
const deepseekCoder = cutBy("[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", deepseekCjk, "\\p{N}");
/** Letters of which there are small ones and capitals, as they were when the model was made. */
const casedLetters =
  "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-" +
  "\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃";
const deepseekLlm = cutBy(
  "[\\r\\n]",
  `\\s?[${casedLetters}]+`,
  "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
  "\\s+$",
  deepseekCjk,
  "\\p{N}+",
);
/** Anything between spaces and marks that end something. */
const bloom = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+";
/** Digits in threes, counted from the last one. */
const threesFromEnd = "\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))";
const asian =
  "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0eff\u1780-\u17ff\u1000-\u109f" +
  "\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+";
/** As gpt-4o, with Chinese characters in words of their own. */
const kimi = (): string => {
  const [word] = cased("{1,3}", `${contractions}?`);
  const [upper, lower] = ["\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}", "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"];
  const other = [upper, lower].reduce((w, set) => w.replaceAll(`[${set}]`, `(?:(?!\\p{sc=Han})[${set}])`), word);
  return `\\p{sc=Han}+|${other.replace("\\r\\n/]*", "\\r\\n]*")}`;
};
const youtu = cutBy(
  "[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u30ff]+",
  ...cased("", `${contractions}?`),
);
const chameleon: Pattern = {
  cuts: [
    ...cutBy("<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", "[\\t\\n]|    |  ", "\\p{N}", "[\\p{P}!-/:-@\\[-`{-~]").cuts,
    gpt2Words,
  ],
};
/** Letters with their marks. */
const qwen35 = `${contractions}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|${spaces}`;
const letters = "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
const punctuation = " ?[^\\s\\p{L}\\p{N}]+";
const bailing = `${contractions}|${letters}|\\p{N}|${punctuation}[\\r\\n]*|\\s*[\\r\\n]|${spaces}`;
const seedCoder = `${contractions}|${letters}|\\p{N}|${punctuation}|\\s*[\\r\\n]+|${spaces}`;
const phrases = "[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+";
const exaoneMoe = `${contractions}|${phrases}|\\p{N}|${punctuation}[\\r\\n/]?|\\s*[\\r\\n]|${spaces}`;
/** What llama.cpp does with files that say `default`. */
const fallback: Pattern = {
  cuts: [cut("[\\p{P}$+<=>^~|]+"), gpt2Words, /\p{N}+/gu, /[0-9]{3}/gu],
};
const falcon: Pattern = { cuts: [cut("[\\p{P}$+<=>^~|`]+"), gpt2Words, /[0-9]{3}/gu] };

const patterns: Readonly<Record<string, Pattern>> = {
  default: fallback,
  falcon,
  "deepseek-coder": deepseekCoder,
  "deepseek-llm": deepseekLlm,
  chameleon,
  youtu,
  qwen35: cutBy(qwen35),
  "seed-coder": cutBy(seedCoder),
  "exaone-moe": cutBy(exaoneMoe),
  "kimi-k2": cutBy(kimi()),
  superbpe: cutBy("\\p{N}+", "(?=(?:\\d{3})+(?!\\d))"),
  afmoe: cutBy(threesFromEnd, asian, wordCuts["deepseek-v3"].expressions[2]),
  viking: cutBy(bloom, "\\p{N}"),
  laguna: cutBy("[^\\n]+|[\\n]+", ...llama("")),
  minicpm5: { ...cutBy("\\p{N}{1,3}", ...llama("+")), wholeWords: true },
  ...named(cutBy(bloom), "bloom gpt3-finnish poro-chat"),
  ...named(cutBy(bailing), "bailingmoe bailingmoe2 llada-moe"),
  ...named(
    gpt2,
    "gpt-2 phi-2 olmo mpt jais roberta-bpe jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code gigachat exaone4 " +
      "trillion granite-docling a.x-4.0 mellum modern-bert",
  ),
  ...named(written(wordCuts["llama-bpe"]), "llama-bpe llama-v3 llama3 falcon3 falcon-h1 pixtral midm-2.0 lfm2"),
  ...named(written(wordCuts["smaug-bpe"]), "smaug-bpe dbrx chatglm-bpe glm4"),
  ...named(written(wordCuts.qwen2), "qwen2"),
  ...named(
    written(wordCuts["deepseek-r1-qwen"]),
    "deepseek-r1-qwen megrez stablelm2 hunyuan solar-open grok-2 kormo f2llmv2",
  ),
  ...named(written(wordCuts["gpt-4o"]), "gpt-4o llama4 kanana2 minimax-m2 talkie"),
  ...named(written(wordCuts.tekken), "tekken"),
  ...named(written(wordCuts["deepseek-v3"]), "deepseek-v3 hunyuan-dense joyai-llm"),
  ...named(singleDigits, "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2"),
};

function named(pattern: Pattern, names: string): Record<string, Pattern> {
  return Object.fromEntries(names.split(" ").map((name) => [name, pattern]));
}

/** @throws InputError for a name that is not known */
export function patternNamed(name: string): Pattern {
  if (!Object.hasOwn(patterns, name))
    throw new InputError(
      `the pre-tokenizer "${name}" is not known, and the file does not say how it cuts words. Load the model as a folder ` +
        `with its tokenizer.json, or set "tokenizer.ggml.pre" to one that cuts the same; known: ${Object.keys(patterns).sort().join(", ")}`,
    );
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
        // Some expressions only find places.
        if (match[0]) words.push(match[0]);
        at = match.index + match[0].length;
      }
      if (at < part.length) words.push(part.slice(at));
      return words;
    });
  }
  return parts;
}
