/** What a process that runs a language model tells the one that started it. */
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
