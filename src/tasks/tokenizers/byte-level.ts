/**
 * Byte-level BPE, as GPT-2 and most models after Llama 2 use it: the text is cut into words by a pattern, the bytes of a
 * word become symbols (printable stand-ins for bytes), and neighbours are merged in the order that merges were learned.
 */
import type { ByteLevelVocabulary } from "../../formats/decoder/vocabulary.ts";
import { encodeUtf8 } from "../../tensor/utf8.ts";
import { MergeQueue } from "./merge.ts";
import { SpecialTokens } from "./special.ts";
import { StringIndex } from "./string-index.ts";
import { checkText, type EncodeOptions, type Tokenizer } from "./tokenizer.ts";
import { cutWords, type Pattern, patternNamed } from "./words.ts";

/** GPT-2's stand-ins: printable Latin-1 for itself, the other bytes from U+0100 on. */
const standIns: readonly string[] = (() => {
  const printable = (b: number): boolean => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(printable(b) ? b : next++));
})();
/** The byte that a character of a piece stands for. */
export const byteOf: ReadonlyMap<string, number> = new Map(standIns.map((c, b) => [c, b]));

const none = new Uint8Array(0);
const wordCacheSize = 10_000;

export class ByteLevelTokenizer implements Tokenizer {
  readonly size: number;
  readonly begin: number | undefined;
  readonly end: ReadonlySet<number>;
  private readonly ids: StringIndex;
  private readonly ranks: StringIndex;
  private readonly specials: SpecialTokens;
  private readonly words = new Map<string, readonly number[]>();
  private readonly pattern: Pattern;

  /** @throws InputError for a pattern that is not known */
  constructor(private readonly v: Omit<ByteLevelVocabulary, "kind">) {
    this.size = v.pieces.length;
    this.begin = v.begin;
    this.end = new Set(v.end);
    this.ranks = new StringIndex(v.merges, () => true);
    const specials: [string, number][] = [];
    const isSpecial = (id: number): boolean => v.kinds.at(id) === "control" || v.kinds.at(id) === "user";
    for (let id = 0; id < this.size; id++) if (isSpecial(id)) specials.push([v.pieces.at(id)!, id]);
    this.ids = new StringIndex(v.pieces, (id) => !isSpecial(id));
    this.specials = new SpecialTokens(specials, (id) => v.kinds.at(id) === "user");
    this.pattern = patternNamed(v.pattern);
  }

  bytes(token: number): Uint8Array {
    const piece = this.v.pieces.at(token);
    if (piece === undefined || this.v.kinds.at(token) === "control") return none;
    if (this.v.kinds.at(token) === "user") return encodeUtf8(piece);
    return Uint8Array.from(Array.from(piece), (c) => byteOf.get(c) ?? 0x3f);
  }

  specialName(token: number): string | undefined {
    return this.v.kinds.at(token) === "control" ? this.v.pieces.at(token) : undefined;
  }

  encode(text: string, { begin = true, special = false }: EncodeOptions = {}): number[] {
    checkText(text);
    const out: number[] = begin && this.v.addBegin && this.begin !== undefined ? [this.begin] : [];
    for (const part of this.specials.split(text, special)) {
      if (typeof part === "number") out.push(part);
      else for (const word of cutWords(part, this.pattern)) for (const id of this.word(word)) out.push(id);
    }
    const [end] = this.end;
    if (begin && this.v.addEnd && end !== undefined) out.push(end);
    return out;
  }

  private word(word: string): readonly number[] {
    const known = this.words.get(word);
    if (known) return known;
    const symbols = Array.from(encodeUtf8(word), (b) => standIns[b]);
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
