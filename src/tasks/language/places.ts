/** Where in a text its tokens stand. */

import { decodeUtf8, encodeUtf8 } from "../../tensor/utf8.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";

export interface Piece {
  readonly id: number;
  /** Where it stands in the text, in UTF-16 units, without space. One that is only space stands nowhere: `start` is `end`. */
  readonly start: number;
  readonly end: number;
  /** Whether it goes on with the word of the piece before it. */
  readonly continues: boolean;
}

interface Place {
  readonly start: number;
  readonly end: number;
}

/** One whose place may be found later. */
type PlacedPiece = { -readonly [K in keyof Piece]: Piece[K] };

/** Letters and digits of scripts that write spaces: where they stand side by side, a word goes on. */
const joining = /^(?![\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}])[\p{L}\p{N}\p{M}]/u;

/** The tokens of a text (a word with the space before it, or more), by their bytes where those are the text, else by letters. */
export const placed = (tokenizer: Tokenizer, text: string, ids: readonly number[]): Piece[] =>
  byBytes(tokenizer, text, ids) ?? byLetters(tokenizer, text, ids);

/** Undefined where the bytes of the tokens are not those of the text, but for a space that was put in front. */
function byBytes(tokenizer: Tokenizer, text: string, ids: readonly number[]): Piece[] | undefined {
  const parts = ids.map((id) => tokenizer.bytes(id));
  const given = parts.flatMap((part) => [...part]);
  const wanted = encodeUtf8(text);
  const front = given.length - wanted.length;
  if (front !== 0 && !(front === 1 && given[0] === 0x20)) return undefined;
  if (wanted.some((byte, i) => byte !== given[front + i])) return undefined;
  // Of each byte, the place of its character: tokens may be parts of one.
  const places: Place[] = [];
  let at = 0;
  for (const c of text) {
    const place = { start: at, end: (at += c.length) };
    for (const _ of encodeUtf8(c)) places.push(place);
  }
  const out: Piece[] = [];
  let byte = -front;
  for (const [i, id] of ids.entries()) {
    const own = places.slice(Math.max(byte, 0), Math.max((byte += parts[i].length), 0));
    const place = trimmed(text, own[0]?.start ?? 0, own.at(-1)?.end ?? 0);
    out.push({ id, ...place, continues: goesOn(text, out.at(-1), place.start) });
  }
  return out;
}

/** By what the tokens say. What tokenizers change (case, accents, compatible forms) does not matter. */
function byLetters(tokenizer: Tokenizer, text: string, ids: readonly number[]): Piece[] {
  const letters = new Letters(text);
  const out: PlacedPiece[] = [];
  /** Pieces that are not in the text, as for unknown characters: they reach to the next one that is. */
  let lost: PlacedPiece[] = [];
  let at = 0;
  for (const id of ids) {
    const said = decodeUtf8(tokenizer.bytes(id));
    const whole = said.trim();
    const continued = /^##./su.test(whole) && !letters.startWith(whole, at);
    const found = letters.find(continued ? whole.slice(2) : whole, at);
    if (found) {
      at = found.to;
      const place = trimmed(text, letters.placeAt(found.from).start, letters.placeAt(at - 1).end);
      share(text, lost, place.start);
      lost = [];
      out.push({ id, ...place, continues: continued || goesOn(text, out.at(-1), place.start) });
    } else {
      // Behind the marks that went to the piece before.
      const start = Math.max(letters.placeAt(at).start, out.at(-1)?.end ?? 0);
      const isSpace = said !== "" && whole === "";
      const piece = { id, start, end: start, continues: continued };
      if (!isSpace) lost.push(piece);
      out.push(piece);
    }
  }
  share(text, lost, text.length);
  return out.map((piece) => ({ ...piece, ...trimmed(text, piece.start, piece.end) }));
}

/** Words as BERT cuts them, Han characters and punctuation each alone; and characters. */
const parts = [/[\p{Script=Han}\p{P}]|[^\p{Script=Han}\p{P}\s]+/gu, /\S/gu];

/** The text up to `end` is that of these pieces, which begin where it does: a part of each where there are as many, else all. */
function share(text: string, pieces: readonly PlacedPiece[], end: number): void {
  if (pieces.length === 0) return;
  const { start } = pieces[0];
  const own = text.slice(start, end);
  const found = parts.map((part) => [...own.matchAll(part)]).find((list) => list.length === pieces.length);
  for (const [i, piece] of pieces.entries()) {
    if (found) piece.start += found[i].index;
    piece.end = found ? piece.start + found[i][0].length : Math.max(start, end);
  }
}

/** In compatible forms, taken apart into letters and marks, and small. */
const apart = (text: string): string => Array.from(text, (c) => c.normalize("NFKD").toLowerCase()).join("");
const withoutMarks = (letters: string): string => letters.replace(/\p{M}/gu, "");

/** A text in which pieces are looked for: with its accents and vowel signs, and without. Places are in the first of them. */
class Letters {
  private readonly all: string;
  private readonly plain: string;
  private readonly places: Place[] = [];
  /** Of places in `all`, that in `plain`; and back. */
  private readonly plainAt: number[] = [];
  private readonly allAt: number[] = [];

  constructor(text: string) {
    let [all, plain, at] = ["", "", 0];
    for (const c of text) {
      const place = { start: at, end: (at += c.length) };
      for (const letter of apart(c)) {
        const own = withoutMarks(letter);
        for (let i = 0; i < letter.length; i++) {
          this.places.push(place);
          this.plainAt.push(plain.length + Math.min(i, own.length));
          if (own) this.allAt.push(all.length + i);
        }
        all += letter;
        plain += own;
      }
    }
    this.places.push({ start: at, end: at });
    this.plainAt.push(plain.length);
    [this.all, this.plain] = [all, plain];
  }

  /** In the text. */
  placeAt(at: number): Place {
    return this.places[at];
  }

  startWith(piece: string, at: number): boolean {
    return this.all.startsWith(apart(piece), at);
  }

  /** With its marks, unless it comes earlier without them. */
  find(piece: string, at: number): { from: number; to: number } | undefined {
    const own = apart(piece);
    const bare = withoutMarks(own);
    if (own === "") return undefined;
    const exact = this.all.indexOf(own, at);
    const rough = bare === "" ? -1 : this.plain.indexOf(bare, this.plainAt[at]);
    const from = rough < 0 ? -1 : this.allAt[rough];
    if (exact >= 0 && (from < 0 || exact <= from)) return { from: exact, to: exact + own.length };
    return from < 0 ? undefined : { from, to: this.allAt[rough + bare.length - 1] + 1 };
  }
}

/** Without space around it, and with all marks of its last character. */
function trimmed(text: string, start: number, end: number): Place {
  const isSpace = (i: number): boolean => /\s/.test(text[i]);
  while (start < end && isSpace(start)) start++;
  while (start < end && isSpace(end - 1)) end--;
  if (start === end) return { start, end };
  const marks = /\p{M}*/uy;
  marks.lastIndex = end;
  return { start, end: end + (marks.exec(text)?.[0].length ?? 0) };
}

/** Whether a piece is in the same character as the one before it, or in the same run of letters. */
function goesOn(text: string, previous: Place | undefined, start: number): boolean {
  if (!previous || previous.end < start || previous.start === previous.end) return false;
  const before = Array.from(text.slice(Math.max(0, start - 2), start)).at(-1) ?? "";
  return previous.end > start || (joining.test(before) && joining.test(text.slice(start, start + 2)));
}
