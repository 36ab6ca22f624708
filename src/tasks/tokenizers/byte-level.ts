/**
 * Byte-level BPE, as GPT-2 and most models after Llama 2 use it: the text is cut into words by a pattern, the bytes of a
 * word become symbols (printable stand-ins for bytes), and neighbours are merged in the order that merges were learned.
 */
import type { ByteLevelVocabulary } from "../../formats/decoder/vocabulary.ts";
import { InputError } from "../../tensor/errors.ts";
import { MergeQueue } from "./merge.ts";
import { SpecialTokens } from "./special.ts";
import type { EncodeOptions, Tokenizer } from "./tokenizer.ts";

const gpt2 = [/'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu];
/** Contractions in any case, at most `digits` digits together, punctuation with the line ends after it. */
const llama3 = (digits: string): RegExp[] => [
  new RegExp(
    "'(?:[sS]|[dD]|[mM]|[tT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" +
      `\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
    "gu",
  ),
];
/** Digits one by one, then as GPT-2. */
const singleDigits = [/\p{N}/gu, ...gpt2];

/** Patterns applied one after the other: each cuts what the one before left whole. */
const patterns: Readonly<Record<string, readonly RegExp[]>> = {
  default: gpt2,
  "gpt-2": gpt2,
  "llama-bpe": llama3("{1,3}"),
  "llama-v3": llama3("{1,3}"),
  llama3: llama3("{1,3}"),
  "smaug-bpe": llama3("{1,3}"),
  dbrx: llama3("{1,3}"),
  qwen2: llama3(""),
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
    // Fails now where the pattern is not known.
    splitWords("", v.pattern);
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
      else for (const word of splitWords(part, this.v.pattern)) for (const id of this.word(word)) out.push(id);
    }
    return out;
  }

  private word(word: string): readonly number[] {
    const known = this.words.get(word);
    if (known) return known;
    const symbols = Array.from(encoder.encode(word), (b) => standIns[b]);
    const whole = this.ids.get(symbols.join(""));
    const ids = whole !== undefined && this.ranks.size === 0 ? [whole] : this.merge(symbols);
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

/**
 * Words of a text: everything between two matches is a word as well.
 * @param pattern GGUF's name of a pre-tokenizer
 * @throws InputError for a name that is not known
 */
export function splitWords(text: string, pattern: string): string[] {
  if (!Object.hasOwn(patterns, pattern))
    throw new InputError(`the pre-tokenizer "${pattern}" is not known; known: ${Object.keys(patterns).join(", ")}`);
  let parts = [text];
  for (const expression of patterns[pattern]) {
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
