/** Tokens of a text with their places in it, and two texts as one input. */
import { InputError } from "../../tensor/errors.ts";
import { placeOf, type Tokenizer } from "../tokenizers/tokenizer.ts";
import { type Piece, placed } from "./places.ts";
import type { TextRunner, TokenizedText } from "./text-runner.ts";

export type { Piece } from "./places.ts";

/** The text's tokens as the tokenizer gives them, without marks around them, and their places in it. */
export function piecesOf(tokenizer: Tokenizer, text: string): Piece[] {
  const ids = tokenizer.encode(text, { begin: false });
  const pieces: Piece[] = [];
  const place = (from: number, to: number, own: readonly number[]): void => {
    for (const piece of placed(tokenizer, text.slice(from, to), own))
      pieces.push({ ...piece, start: from + piece.start, end: from + piece.end });
  };
  let from = 0;
  // Word by word, with the space before each: an unknown one leads no further than to its end.
  for (const { 0: word, index } of text.matchAll(/\S+/g)) {
    const end = index + word.length;
    const own = tokenizer.encode(text.slice(from, end), { begin: false });
    // Tokens of the whole text may reach across words.
    if (own.some((id, i) => id !== ids[pieces.length + i])) break;
    place(from, end, own);
    from = end;
  }
  place(from, text.length, ids.slice(pieces.length));
  return pieces;
}

type Limits = Pick<TextRunner, "tokenizer" | "maxTokens">;

interface Marks {
  readonly before: readonly number[];
  readonly behind: readonly number[];
}

/**
 * What the tokenizer puts before and behind a text.
 * @throws InputError for one that changes the text's own tokens
 */
function marksOf(tokenizer: Tokenizer): Marks {
  const probe = "a";
  const [own, whole] = [tokenizer.encode(probe, { begin: false }), tokenizer.encode(probe)];
  const at = own.length === 0 ? undefined : placeOf(own, whole);
  if (at === undefined)
    throw new InputError(
      `the tokenizer gives "${probe}" other tokens with marks around it (${whole}) than without (${own}): pass { tokenizer }`,
    );
  return { before: whole.slice(0, at), behind: whole.slice(at + own.length) };
}

/**
 * The marks, and how many tokens of a text the model takes between them.
 * @throws InputError where it takes none, and as `marksOf`
 */
export function roomOf({ tokenizer, maxTokens }: Limits): Marks & { readonly room: number } {
  const { before, behind } = marksOf(tokenizer);
  const marks = before.length + behind.length;
  const room = maxTokens - marks;
  if (room < 1)
    throw new InputError(
      `the model takes ${maxTokens} tokens, which leaves no room for a text beside the ${marks} that the tokenizer puts around ` +
        "it: see max_position_embeddings in config.json, and model_max_length in tokenizer_config.json",
    );
  return { before, behind, room };
}

/**
 * A text's tokens, at most as many as the model takes: the text's end is left out, not the marks behind it.
 * @throws InputError for a text too long where the model takes nothing but marks, or marks change the text's own tokens
 */
export function encodeText(limits: Limits, text: string): number[] {
  const ids = limits.tokenizer.encode(text);
  const excess = ids.length - limits.maxTokens;
  if (excess > 0) ids.splice(ids.length - roomOf(limits).behind.length - excess, excess);
  return ids.length ? ids : [0];
}

/**
 * Two texts as one input. Where they are too long, the end of one is left out.
 * @throws InputError for a tokenizer that knows no pairs, and where all else leaves no room for the text that is cut
 */
export function encodePair(
  { tokenizer, maxTokens }: Limits,
  first: string,
  second: string,
  cut: "first" | "second",
): TokenizedText {
  const { ids, types } = pairOf(tokenizer, first, second);
  const excess = ids.length - maxTokens;
  if (excess <= 0) return ids.length ? { ids, types } : { ids: [0], types: [0] };
  const own = tokenizer.encode(cut === "first" ? first : second, { begin: false });
  if (own.length <= excess)
    throw new InputError(
      `the model takes ${maxTokens} tokens: ${ids.length - own.length} of another text and marks leave no room for this one; ` +
        "shorten the other",
    );
  const at = placeInPair(own, ids, cut);
  for (const list of [ids, types]) list.splice(at + own.length - excess, excess);
  return { ids, types };
}

/**
 * Where the tokens of one of its texts stand in a pair.
 * @throws InputError for a tokenizer that gives it others there
 */
export function placeInPair(own: readonly number[], ids: readonly number[], which: "first" | "second"): number {
  // Nearest to its own end of the input: the other text may hold it, too.
  const at = placeOf(own, ids, which === "second");
  if (at === undefined)
    throw new InputError("the tokenizer gives a text other tokens beside another one than alone: pass { tokenizer }");
  return at;
}

/** @throws InputError for a tokenizer that knows no pairs */
export function pairOf(tokenizer: Tokenizer, first: string, second: string): { ids: number[]; types: number[] } {
  if (!tokenizer.pair) throw new InputError("the tokenizer does not take two texts together");
  return tokenizer.pair(first, second);
}
