/** How the states of a text's tokens become one vector. */
import { InputError } from "../../tensor/errors.ts";

/** As sentence-transformers calls them, in the order of several where no file lists them in another. */
export const poolings = ["cls", "max", "mean", "mean_sqrt_len", "weightedmean", "lasttoken"] as const;

/**
 * The first token's state ("cls"), or the last one's; of all tokens the greatest of each number, the mean, the sum by the square
 * root of how many there are, or the mean in which each token weighs as much as its place, 1 and up.
 */
export type Pooling = (typeof poolings)[number];

export const isPooling = (name: unknown): name is Pooling => poolings.includes(name as Pooling);

/** Those that `wanted` says yes to, in their order. */
export const poolingsWhere = (wanted: (pooling: Pooling) => boolean): Pooling[] => poolings.filter(wanted);

/** Of options: in their order. @throws InputError for what is none, and for no one at all */
export function checkPooling(who: string, given: unknown): readonly Pooling[] {
  const list: readonly unknown[] = Array.isArray(given) ? given : [given];
  if (list.length === 0 || !list.every(isPooling))
    throw new InputError(
      `${who}: pooling takes one or several of "${poolings.join('", "')}", got ${JSON.stringify(given)}`,
    );
  return poolingsWhere((p) => list.includes(p));
}

/**
 * What each token has in its text's vector, where that is a sum.
 * @param from tokens before it count for nothing, but where one token is picked
 */
export function sharesOf(pooling: Exclude<Pooling, "max">, tokens: number, from: number): Float32Array {
  const shares = new Float32Array(tokens);
  const first = firstCounted(tokens, from);
  const counted = tokens - first;
  switch (pooling) {
    case "cls":
      return shares.fill(1, 0, 1);
    case "lasttoken":
      return shares.fill(1, tokens - 1);
    case "mean":
      return shares.fill(1 / counted, first);
    case "mean_sqrt_len":
      return shares.fill(1 / Math.sqrt(counted), first);
    case "weightedmean": {
      const total = (counted * (first + 1 + tokens)) / 2;
      return shares.map((_, i) => (i < first ? 0 : (i + 1) / total));
    }
  }
}

/** One counts, also of a text that was cut before it began. */
const firstCounted = (tokens: number, from: number): number => Math.min(from, tokens - 1);

/** @param states of the tokens [tokens, width] @returns [width] of each way, one behind the other */
export function pool(states: Float32Array, tokens: number, ways: readonly Pooling[], from: number): Float32Array {
  const width = states.length / tokens;
  const out = new Float32Array(ways.length * width);
  ways.forEach((way, n) => {
    const own = out.subarray(n * width, (n + 1) * width);
    if (way === "max") {
      own.fill(-Infinity);
      for (let t = firstCounted(tokens, from); t < tokens; t++)
        for (let j = 0; j < width; j++) own[j] = Math.max(own[j], states[t * width + j]);
    } else
      sharesOf(way, tokens, from).forEach((share, t) => {
        if (share !== 0) for (let j = 0; j < width; j++) own[j] += share * states[t * width + j];
      });
  });
  return out;
}
