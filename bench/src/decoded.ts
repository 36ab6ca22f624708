/** Decoding token by token as it is measured, and what a process that does it tells the one that started it. */
import type { LanguageModel, TextSequence } from "../../src/tasks/language/model.ts";
import { argMax } from "../../src/tasks/language/sampling.ts";
import { median } from "./measure.ts";

export interface Decoded {
  /** Milliseconds of each token after the first ones. */
  readonly decode: readonly number[];
  /** Milliseconds of a prompt of `prefillTokens`, the fastest of some. */
  readonly prefill: number;
  /** MB: resident memory after decoding, and its peak. */
  readonly rss: number;
  readonly peak: number;
  /** MB: resident memory once it has rested, where it was asked to. */
  readonly rested?: number;
}

/** Some tokens: the median of their milliseconds. */
export type Turn = () => Promise<number>;

/** What every turn of each gave. */
export type Turns = readonly (readonly number[])[];

export const prefillTokens = 512;
export const warmup = 16;
export const measured = 64;

export const tokens = (n: number): number[] => Array.from({ length: n }, (_, i) => 300 + i);

/** Feeds tokens: the likeliest next one, as a generation without temperature has it. */
async function likeliest(sequence: TextSequence, tokens: readonly number[]): Promise<number> {
  return sequence.likeliest ? sequence.likeliest(tokens) : argMax(await sequence.feed(tokens));
}

/** The same of one token, and the milliseconds that it took. */
async function timedToken(sequence: TextSequence, token: number): Promise<{ next: number; time: number }> {
  const start = performance.now();
  const next = await likeliest(sequence, [token]);
  return { next, time: performance.now() - start };
}

interface DecodeOptions {
  /** Awaited after decoding. */
  between?(): Promise<void>;
  /** Milliseconds of decoding after which a slow device is stopped, and spared the long prompt. */
  budget?: number;
}

export async function decodeAndPrefill(
  decoder: LanguageModel,
  { between, budget = Number.POSITIVE_INFINITY }: DecodeOptions = {},
): Promise<Pick<Decoded, "decode" | "prefill">> {
  const sequence = decoder.sequence();
  let next = await likeliest(sequence, tokens(warmup));
  // Threads start meanwhile.
  await new Promise((done) => setTimeout(done, 100));
  const decode: number[] = [];
  const begin = performance.now();
  const late = (): boolean => performance.now() - begin > budget;
  for (let i = 0; i < warmup + measured && !(late() && decode.length >= 3); i++) {
    const token = await timedToken(sequence, next);
    next = token.next;
    if (i >= warmup || late()) decode.push(token.time);
  }
  await between?.();
  let prefill = Number.POSITIVE_INFINITY;
  if (decoder.config.contextLength >= prefillTokens && !late())
    for (let i = 0; i < 2; i++) {
      sequence.truncate(0);
      const start = performance.now();
      await sequence.feed(tokens(prefillTokens));
      prefill = Math.min(prefill, performance.now() - start);
    }
  sequence.dispose();
  return { decode, prefill };
}

/** Tokens of a turn, and how many of them are not timed: threads that slept have to come back. */
const turn = { tokens: 24, warmup: 6 };

export function turnOf(decoder: LanguageModel): Turn {
  const sequence = decoder.sequence();
  return async () => {
    sequence.truncate(0);
    let next = await likeliest(sequence, tokens(warmup));
    const all: number[] = [];
    for (let t = 0; t < turn.tokens; t++) {
      const token = await timedToken(sequence, next);
      next = token.next;
      if (t >= turn.warmup) all.push(token.time);
    }
    return median(all);
  };
}

/** Two at once, as fast as both are together. */
export const together =
  (a: Turn, b: Turn): Turn =>
  async () => {
    const [x, y] = await Promise.all([a(), b()]);
    return (x * y) / (x + y);
  };

/**
 * In turn for so many milliseconds, and five times at least. Cores are not equally fast, and one thread is as fast as the core
 * that it is put on: what a second thread is worth is seen side by side only.
 */
export async function takeTurns(turns: readonly Turn[], milliseconds: number): Promise<Turns> {
  const times: number[][] = turns.map(() => []);
  // Threads start after the first.
  for (const take of turns) await take();
  await new Promise((done) => setTimeout(done, 200));
  const end = performance.now() + milliseconds;
  for (let round = 0; round < 5 || performance.now() < end; round++) {
    const order = [...turns.keys()];
    for (const i of round % 2 ? order.reverse() : order) times[i].push(await turns[i]());
  }
  return times;
}
