/**
 * Byte-level BPE, as GPT-2 and most models after Llama 2 use it: the text is cut into words by a pattern, the bytes of a
 * word become symbols (printable stand-ins for bytes), and neighbours are merged in the order that merges were learned.
 */
import type { ByteLevelVocabulary } from "../../formats/decoder/vocabulary.ts";
import { InputError } from "../../tensor/errors.ts";
import { MergeQueue } from "./merge.ts";
import { SpecialTokens } from "./special.ts";
import type { EncodeOptions, Tokenizer } from "./tokenizer.ts";

/** How texts are cut. In `cuts` each expression cuts what the one before left whole. */
interface Pattern {
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

const gpt2: Pattern = {
  cuts: [cut(`'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|${spaces}`)],
};
/** Contractions in any case, at most `digits` digits together, punctuation with the line ends after it. */
const llama3 = (digits: string): Pattern => ({
  cuts: [
    cut(
      "'(?:[sS]|[dD]|[mM]|[tT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" +
        `\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|${spaces}`,
    ),
  ],
});
const llamaWords: Pattern = { ...llama3("{1,3}"), wholeWords: true };
/** Digits one by one, then as GPT-2. */
const singleDigits: Pattern = { cuts: [/\p{N}/gu, ...gpt2.cuts] };

const patterns: Readonly<Record<string, Pattern>> = {
  default: gpt2,
  "gpt-2": gpt2,
  "llama-bpe": llamaWords,
  "llama-v3": llamaWords,
  llama3: llamaWords,
  "smaug-bpe": llama3("{1,3}"),
  dbrx: llama3("{1,3}"),
  qwen2: { ...llama3(""), composed: true },
  "deepseek-r1-qwen": llama3(""),
  smollm: singleDigits,
  starcoder: singleDigits,
  refact: singleDigits,
  "command-r": singleDigits,
  codeshell: singleDigits,
  "phi-2": gpt2,
  olmo: gpt2,
};

/** GPT-2's stand-ins: printable Latin-1 for itself, the other bytes from U+0100 on. */
const standIns: readonly string[] = (() => {
  const printable = (b: number): boolean => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(printable(b) ? b : next++));
})();
/** The byte that a character of a piece stands for. */
export const byteOf: ReadonlyMap<string, number> = new Map(standIns.map((c, b) => [c, b]));

const none = new Uint8Array(0);
const encoder = new TextEncoder();
const wordCacheSize = 10_000;

export class ByteLevelTokenizer implements Tokenizer {
  readonly size: number;
  readonly begin: number | undefined;
  readonly end: ReadonlySet<number>;
  private readonly ids = new Map<string, number>();
  private readonly ranks: ReadonlyMap<string, number>;
  private readonly specials: SpecialTokens;
  private readonly words = new Map<string, readonly number[]>();
  private readonly pattern: Pattern;

  /** @throws InputError for a pattern that is not known */
  constructor(private readonly v: Omit<ByteLevelVocabulary, "kind">) {
    this.size = v.pieces.length;
    this.begin = v.begin;
    this.end = new Set(v.end);
    this.ranks = new Map(v.merges.map((m, rank) => [m, rank]));
    const specials: [string, number][] = [];
    v.pieces.forEach((piece, id) => {
      if (v.kinds[id] === "control" || v.kinds[id] === "user") specials.push([piece, id]);
      else this.ids.set(piece, id);
    });
    this.specials = new SpecialTokens(specials, (id) => v.kinds[id] === "user");
    this.pattern = patternNamed(v.pattern);
  }

  bytes(token: number): Uint8Array {
    const piece = this.v.pieces[token];
    if (piece === undefined || this.v.kinds[token] === "control") return none;
    if (this.v.kinds[token] === "user") return encoder.encode(piece);
    return Uint8Array.from(Array.from(piece), (c) => byteOf.get(c) ?? 0x3f);
  }

  specialName(token: number): string | undefined {
    return this.v.kinds[token] === "control" ? this.v.pieces[token] : undefined;
  }

  encode(text: string, { begin = true, special = false }: EncodeOptions = {}): number[] {
    const out: number[] = begin && this.v.addBegin && this.begin !== undefined ? [this.begin] : [];
    for (const part of this.specials.split(text, special)) {
      if (typeof part === "number") out.push(part);
      else for (const word of cutWords(part, this.pattern)) for (const id of this.word(word)) out.push(id);
    }
    return out;
  }

  private word(word: string): readonly number[] {
    const known = this.words.get(word);
    if (known) return known;
    const symbols = Array.from(encoder.encode(word), (b) => standIns[b]);
    const whole = this.pattern.wholeWords ? this.ids.get(symbols.join("")) : undefined;
    const ids = whole !== undefined ? [whole] : this.merge(symbols);
    if (this.words.size >= wordCacheSize) this.words.clear();
    this.words.set(word, ids);
    return ids;
  }

  private merge(symbols: string[]): number[] {
    const merged = new MergeQueue(symbols, (a, b) => this.ranks.get(`${a} ${b}`)).merged();
    return merged.flatMap((s) => {
      const id = this.ids.get(s);
      if (id !== undefined) return [id];
      // A merge without a piece of its own: its bytes.
      return Array.from(s, (c) => this.ids.get(c)).filter((id) => id !== undefined);
    });
  }
}

function patternNamed(name: string): Pattern {
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

function cutWords(text: string, { cuts, composed }: Pattern): string[] {
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
