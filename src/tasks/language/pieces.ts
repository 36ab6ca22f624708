/** Tokens of a text with their places in it, and two texts as one input. */
import { InputError } from "../../tensor/errors.ts";
import { decode, type Tokenizer } from "../tokenizers/tokenizer.ts";
import type { TextRunner, TokenizedText } from "./text-runner.ts";

export interface Piece {
  readonly id: number;
  /** Where it stands in the text, in UTF-16 units. */
  readonly start: number;
  readonly end: number;
  /** Whether it goes on with the word of the piece before it. */
  readonly continues: boolean;
}

/** Tokens without marks around them. What a tokenizer changes (case, accents, compatible forms) does not matter for the places. */
export function piecesOf(tokenizer: Tokenizer, text: string): Piece[] {
  const pieces: Piece[] = [];
  for (const { 0: word, index } of text.matchAll(/\S+/g)) {
    // As it stands in the text: behind a space, but for the first.
    const ids = tokenizer.encode(index === 0 ? word : ` ${word}`, { begin: false });
    for (const piece of placed(tokenizer, word, ids))
      pieces.push({ ...piece, start: index + piece.start, end: index + piece.end });
  }
  return pieces;
}

/** Letters and digits of scripts that write spaces: where they stand side by side, a word goes on. */
const ends = /(?![\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}])[\p{L}\p{N}\p{M}]$/u;
const begins = /^(?![\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}])[\p{L}\p{N}\p{M}]/u;

function placed(tokenizer: Tokenizer, word: string, ids: readonly number[]): Piece[] {
  const [plain, origins] = folded(word);
  const out: { id: number; start: number; end: number; continues: boolean }[] = [];
  /** Pieces that are not in the text, as for unknown characters: they reach to the next one that is. */
  let lost: typeof out = [];
  let at = 0;
  for (const id of ids) {
    const [whole] = folded(decode(tokenizer, [id]).trim());
    const continued = /^##./.test(whole) && !plain.startsWith(whole, at);
    const own = continued ? whole.slice(2) : whole;
    const found = own === "" ? -1 : plain.indexOf(own, at);
    if (found < 0) {
      const piece = { id, start: origins[at], end: word.length, continues: false };
      lost.push(piece);
      out.push(piece);
      continue;
    }
    for (const piece of lost) piece.end = origins[found];
    lost = [];
    const joined = out.at(-1)?.end === origins[found] && ends.test(plain.slice(0, found)) && begins.test(own);
    at = found + own.length;
    out.push({ id, start: origins[found], end: origins[at], continues: continued || joined });
  }
  return out;
}

/** In small letters, without accents, and for each place of it (and its end) the place in the text. */
function folded(text: string): [plain: string, origins: number[]] {
  let plain = "";
  const origins: number[] = [];
  let at = 0;
  for (const c of text) {
    const simple = c.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
    plain += simple;
    for (let i = 0; i < simple.length; i++) origins.push(at);
    at += c.length;
  }
  origins.push(at);
  return [plain, origins];
}

/**
 * Two texts as one input. Where they are too long, the end of one is left out.
 * @throws InputError for a tokenizer that knows no pairs, and where the other text alone is too long
 */
export function encodePair(
  { tokenizer, maxTokens }: Pick<TextRunner, "tokenizer" | "maxTokens">,
  first: string,
  second: string,
  cut: "first" | "second",
): TokenizedText {
  const { ids, types } = pairOf(tokenizer, first, second);
  const excess = ids.length - maxTokens;
  if (excess <= 0) return { ids, types };
  const length = tokenizer.encode(cut === "first" ? first : second, { begin: false }).length;
  if (length < excess)
    throw new InputError(`${ids.length - length} tokens are more than the ${maxTokens} that the model takes`);
  // One mark stands before the first text, one behind the second.
  const at = (cut === "first" ? 1 + length : ids.length - 1) - excess;
  ids.splice(at, excess);
  types.splice(at, excess);
  return { ids, types };
}

/** @throws InputError for a tokenizer that knows no pairs */
export function pairOf(tokenizer: Tokenizer, first: string, second: string): { ids: number[]; types: number[] } {
  if (!tokenizer.pair) throw new InputError("the tokenizer does not take two texts together");
  return tokenizer.pair(first, second);
}
