/** Decoding token by token as it is measured, and what a process that does it tells the one that started it. */
import type { LanguageModel } from "../../src/tasks/language/model.ts";
import { argMax } from "../../src/tasks/language/sampling.ts";

export interface Decoded {
  /** Milliseconds of each token after the first ones. */
  readonly decode: readonly number[];
  /** Milliseconds of a prompt of `prefillTokens`, the fastest of some. */
  readonly prefill: number;
  /** MB: resident memory after decoding, and its peak. */
  readonly rss: number;
  readonly peak: number;
}

export const prefillTokens = 512;
export const warmup = 16;
export const measured = 64;

export const tokens = (n: number): number[] => Array.from({ length: n }, (_, i) => 300 + i);

interface DecodeOptions {
  /** Called after decoding. */
  between?(): void;
  /** Milliseconds of decoding after which a slow device is stopped, and spared the long prompt. */
  budget?: number;
}

export async function decodeAndPrefill(
  decoder: LanguageModel,
  { between, budget = Number.POSITIVE_INFINITY }: DecodeOptions = {},
): Promise<Pick<Decoded, "decode" | "prefill">> {
  const sequence = decoder.sequence();
  let next = argMax(await sequence.feed(tokens(warmup)));
  // Threads start meanwhile.
  await new Promise((done) => setTimeout(done, 100));
  const decode: number[] = [];
  const begin = performance.now();
  const late = (): boolean => performance.now() - begin > budget;
  for (let i = 0; i < warmup + measured && !(late() && decode.length >= 3); i++) {
    const start = performance.now();
    const logits = await sequence.feed([next]);
    next = argMax(logits);
    sequence.recycle?.(logits);
    if (i >= warmup || late()) decode.push(performance.now() - start);
  }
  between?.();
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
