/**
 * Choosing the next token from logits: repetition penalty, temperature, top-k, top-p and min-p, in this order. Only the
 * candidates that survive are sorted, and buffers are kept: a vocabulary of 128,000 is gone through a few times.
 */
import { InputError } from "../../tensor/errors.ts";

export interface SamplingOptions {
  /** 0: always the likeliest token. Default 0.8. */
  temperature?: number;
  /** Only the k likeliest. Default 0: all. */
  topK?: number;
  /** Only the likeliest that together have this probability. Default 0.95. */
  topP?: number;
  /** Only tokens at least this often as likely as the likeliest. Default 0. */
  minP?: number;
  /** Logits of tokens among the latest 64 are divided by it, or multiplied where negative. Default 1. */
  repetitionPenalty?: number;
  /** Same seed, same text. Default: random. */
  seed?: number;
}

/** Which tokens may come: see `Sampler.sample`. */
export interface TokenFilter {
  accepts(token: number): boolean;
  /** Sets the logits of all tokens that are not accepted to -Infinity. */
  restrict(logits: Float32Array): void;
}

/** Draws before the filter goes through the whole vocabulary: models mostly want what they may. */
const draws = 4;
const penaltyWindow = 64;
/** Candidates beyond which top-p works on the likeliest only: the rest is noise. */
const sortLimit = 4096;

/** Numbers in [0, 1) from a seed: splitmix32. */
export function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let t = state ^ (state >>> 16);
    t = Math.imul(t, 0x21f0aaad);
    t ^= t >>> 15;
    t = Math.imul(t, 0x735a2d97);
    return ((t ^ (t >>> 15)) >>> 0) / 2 ** 32;
  };
}

type Range = readonly [takes: string, fits: (v: number) => boolean];

const ranges: Readonly<Record<keyof SamplingOptions, Range>> = {
  temperature: ["a number from 0", (v) => v >= 0 && v < Infinity],
  topK: ["a whole number from 0", (v) => v >= 0 && (Number.isInteger(v) || v === Infinity)],
  topP: ["a number from 0 to 1", (v) => v >= 0 && v <= 1],
  minP: ["a number from 0 to 1", (v) => v >= 0 && v <= 1],
  repetitionPenalty: ["a number above 0", (v) => v > 0],
  seed: ["a whole number", Number.isSafeInteger],
};

/** @throws InputError */
function check(options: SamplingOptions): void {
  for (const [name, [takes, fits]] of Object.entries(ranges)) {
    const v: unknown = options[name as keyof SamplingOptions];
    if (v !== undefined && !(typeof v === "number" && fits(v)))
      throw new InputError(`generate: ${name} takes ${takes}, got ${typeof v === "string" ? JSON.stringify(v) : v}`);
  }
}

export class Sampler {
  private readonly temperature: number;
  private readonly random: () => number;
  private order = new Int32Array(0);
  private weights = new Float64Array(0);

  /** @throws InputError for options out of range */
  constructor(private readonly options: SamplingOptions = {}) {
    check(options);
    const { temperature = 0.8, seed } = options;
    this.temperature = temperature;
    this.random = randomFrom(seed ?? Math.floor(Math.random() * 2 ** 32));
  }

  /**
   * The next token. Changes `logits` where tokens are penalised or not accepted.
   * @param recent the text so far
   */
  sample(logits: Float32Array, recent: readonly number[], filter?: TokenFilter): number {
    this.penalise(logits, recent);
    // What is drawn and refused is out of the next draw: the accepted tokens keep their shares.
    for (let i = 0; filter && i < draws; i++) {
      const token = this.pick(logits);
      if (filter.accepts(token)) return token;
      logits[token] = Number.NEGATIVE_INFINITY;
    }
    filter?.restrict(logits);
    return this.pick(logits);
  }

  private pick(logits: Float32Array): number {
    if (this.temperature === 0) return argMax(logits);
    const count = this.candidates(logits);
    return this.draw(logits, count);
  }

  private penalise(logits: Float32Array, recent: readonly number[]): void {
    const { repetitionPenalty = 1 } = this.options;
    if (repetitionPenalty === 1) return;
    for (const t of new Set(recent.slice(-penaltyWindow)))
      logits[t] = logits[t] > 0 ? logits[t] / repetitionPenalty : logits[t] * repetitionPenalty;
  }

  /** Fills `order` with the tokens that may be drawn, the likeliest first where that matters. Returns how many. */
  private candidates(logits: Float32Array): number {
    const { topK = 0, topP = 0.95, minP = 0 } = this.options;
    const { temperature } = this;
    if (this.order.length < logits.length) {
      this.order = new Int32Array(logits.length);
      this.weights = new Float64Array(logits.length);
    }
    const { order } = this;
    const best = logits[argMax(logits)];
    const wanted = Math.min(topK || Infinity, topP < 1 ? sortLimit : Infinity, logits.length);
    let floor = minP > 0 ? best + temperature * Math.log(minP) : lowest;
    if (wanted < logits.length) floor = Math.max(floor, nthLargest(logits, wanted, best));
    let n = 0;
    for (let t = 0; t < logits.length; t++) if (logits[t] >= floor) order[n++] = t;
    if (n === 0) {
      // All logits are NaN: an answer all the same.
      order[0] = 0;
      return 1;
    }
    if (topK === 0 && topP >= 1) return n;
    order.subarray(0, n).sort((a, b) => logits[b] - logits[a] || a - b);
    n = Math.min(n, wanted);
    return topP < 1 ? this.nucleus(logits, n, topP) : n;
  }

  /** How many of the first `n` have the probability `topP`: at least one. */
  private nucleus(logits: Float32Array, n: number, topP: number): number {
    const total = this.weigh(logits, n);
    let sum = 0;
    for (let i = 0; i < n; i++) {
      sum += this.weights[i];
      if (sum >= topP * total) return i + 1;
    }
    return n;
  }

  /** Weights of the first `n` of `order`, up to a factor, and their sum. */
  private weigh(logits: Float32Array, n: number): number {
    const { order, weights, temperature } = this;
    let best = -Infinity;
    for (let i = 0; i < n; i++) best = Math.max(best, logits[order[i]]);
    let total = 0;
    for (let i = 0; i < n; i++) total += weights[i] = Math.exp((logits[order[i]] - best) / temperature);
    return total;
  }

  private draw(logits: Float32Array, n: number): number {
    let left = this.random() * this.weigh(logits, n);
    for (let i = 0; i < n; i++) {
      left -= this.weights[i];
      if (left < 0) return this.order[i];
    }
    return this.order[n - 1];
  }
}

/** The first of the largest. Eight at a time: few are larger than all before them. */
export function argMax(v: Float32Array): number {
  let best = 0;
  let top = v[0];
  const take = (from: number, to: number): void => {
    for (let i = from; i < to; i++) if (v[i] > top) top = v[(best = i)];
  };
  const whole = v.length & -8;
  for (let i = 0; i < whole; i += 8) {
    const low = v[i] > top || v[i + 1] > top || v[i + 2] > top || v[i + 3] > top;
    if (low || v[i + 4] > top || v[i + 5] > top || v[i + 6] > top || v[i + 7] > top) take(i, i + 8);
  }
  take(whole, v.length);
  return best;
}

/** Logits below it are those of tokens that may not come. */
const lowest = -Number.MAX_VALUE;

/**
 * A bound that the `n` largest reach and few others: found by halving the range below the largest. Where fewer are above
 * -Infinity, all of these.
 */
function nthLargest(values: Float32Array, n: number, best: number): number {
  const countFrom = (bound: number): number => {
    let count = 0;
    for (let i = 0; i < values.length; i++) if (values[i] >= bound) count++;
    return count;
  };
  if (countFrom(lowest) <= n) return lowest;
  let below = best;
  for (let step = 1; countFrom(below) < n; step *= 2) {
    below -= step;
    if (below === -Infinity || Number.isNaN(below)) return -Infinity;
  }
  let above = best;
  // A few steps: what is too many is sorted.
  for (let i = 0; i < 12 && above > below; i++) {
    const middle = (above + below) / 2;
    const count = countFrom(middle);
    if (count >= n && count < 2 * n) return middle;
    if (count >= n) below = middle;
    else above = middle;
  }
  return below;
}

/** Natural logarithms of the probabilities of `tokens`. */
export function logProbabilities(logits: Float32Array, tokens: readonly number[]): number[] {
  const best = logits[argMax(logits)];
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - best);
  const total = best + Math.log(sum);
  return tokens.map((t) => logits[t] - total);
}

/** The `n` likeliest tokens, in order. */
export function topTokens(logits: Float32Array, n: number): number[] {
  const bound = n < logits.length ? nthLargest(logits, n, logits[argMax(logits)]) : -Infinity;
  const tokens: number[] = [];
  for (let t = 0; t < logits.length; t++) if (logits[t] >= bound) tokens.push(t);
  return tokens.sort((a, b) => logits[b] - logits[a] || a - b).slice(0, n);
}
