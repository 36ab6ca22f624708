/** What sequences take, and what they refuse: here for those, too, that are run by other graphs. */
import { InputError } from "../../tensor/errors.ts";
import { checkOptions } from "../../tensor/options.ts";
import type { DecoderConfig } from "./config.ts";

export interface FeedOptions {
  /** Stops before a run, and between the steps of one of several tokens. What was fed until then stays. */
  signal?: AbortSignal;
  /** Measures each step; see the session's `explain()`. */
  profile?: boolean;
}

/** What sequences have to know of a model. */
export type DecoderSizes = Pick<DecoderConfig, "architecture" | "vocabSize" | "contextLength">;

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
