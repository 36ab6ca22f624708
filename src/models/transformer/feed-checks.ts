/** What sequences take, and what they refuse: here for those, too, that are run by other graphs. */
import { DisposedError, InputError } from "../../tensor/errors.ts";
import { checkOptions } from "../../tensor/options.ts";
import type { DecoderConfig } from "./config.ts";

export interface FeedOptions {
  /** Stops before a run, and between the steps of one of several tokens. What was fed until then stays. */
  signal?: AbortSignal;
  /** Measures each step; see the session's `explain()`. */
  profile?: boolean;
}

/** What sequences have to know of a model. */
export type DecoderSizes = Pick<DecoderConfig, "architecture" | "vocabSize" | "contextLength" | "rope">;

/** @throws InputError */
export const checkFeedOptions = (options: FeedOptions): void =>
  checkOptions<FeedOptions>("feed", options, { signal: true, profile: true });

/** Of tokens that a text of `fed` is to go on with. @throws InputError */
export function checkFeed(fed: number, tokens: readonly number[], { vocabSize, contextLength }: DecoderSizes): void {
  if (!Array.isArray(tokens) && (!ArrayBuffer.isView(tokens) || tokens instanceof DataView))
    throw new InputError("feed: takes an array of tokens; a tokenizer makes them of a text");
  if (tokens.length === 0) throw new InputError("feed: needs at least one token");
  // Not `find`, whose answer would be the same for a hole and for none.
  const wrong = tokens.findIndex((t) => !Number.isInteger(t) || t < 0 || t >= vocabSize);
  if (wrong >= 0) throw new InputError(`feed: ${tokens[wrong]} is not a token of a vocabulary of ${vocabSize}`);
  if (fed + tokens.length > contextLength)
    throw new InputError(
      `feed: ${fed} + ${tokens.length} tokens do not fit the context of ${contextLength}: truncate the sequence, feed fewer ` +
        "tokens, or load with a larger { contextLength }",
    );
}

/** @throws InputError */
export function checkTruncate(fed: number, length: number, who = "truncate"): void {
  if (!Number.isInteger(length) || length < 0 || length > fed)
    throw new InputError(`${who}: takes 0 to ${fed} tokens, got ${length}`);
}

/** Tokens for one of several sequences: their own copy, and its number in the call. */
export interface Part<S> {
  readonly sequence: S;
  readonly tokens: readonly number[];
  readonly i: number;
}

/**
 * Feeds of one call, as they are now.
 * @param take the copied tokens of a sequence that may be fed; throws what `feed` says
 * @throws InputError for what are no feeds, and for a sequence that is there twice
 */
export function checkFeeds<S>(
  feeds: readonly { readonly sequence: S; readonly tokens: readonly number[] }[],
  isSequence: (v: unknown) => boolean,
  take: (sequence: S, tokens: readonly number[]) => readonly number[],
): Part<S>[] {
  if (!Array.isArray(feeds)) throw new InputError("feed: takes an array of { sequence, tokens }");
  const parts = Array.from(feeds, (feed: { sequence: S; tokens: readonly number[] } | undefined, i): Part<S> => {
    if (!isSequence(feed?.sequence))
      throw new InputError(`feed: number ${i} is no { sequence, tokens }: decoder.sequence() gives one`);
    const { sequence, tokens } = feed!;
    try {
      return { sequence, tokens: take(sequence, tokens), i };
    } catch (e) {
      // Which of them is to be mended.
      if (feeds.length > 1) (e as Error).message += ` (sequence ${i} of ${feeds.length})`;
      throw e;
    }
  });
  if (new Set(parts.map((p) => p.sequence)).size < parts.length)
    throw new InputError("feed: a sequence is there twice");
  return parts;
}

/** @throws DisposedError, InputError */
export function checkIdle(disposed: boolean, busy: boolean): void {
  if (disposed) throw new DisposedError("this sequence was disposed");
  if (busy) throw new InputError("this sequence is being fed: wait, or fork it before");
}
