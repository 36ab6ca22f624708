/**
 * Choosing the next token from logits: repetition penalty, temperature, top-k, top-p and min-p, in this order. Only
 * candidates are sorted, and buffers are kept: a vocabulary of 128,000 is gone through a few times.
 */
import { InputError } from "../../tensor/errors.ts";

export interface SamplingOptions {
  /** 0: always the likeliest token. Default 0.8. */
  temperature?: number;
  /** Only the k likeliest. Default 0: all. */
  topK?: number;
  /** Only the likeliest that together have this probability, of all or of the k likeliest. Default 0.95. */
  topP?: number;
  /** Only tokens at least this often as likely as the likeliest. Default 0. */
  minP?: number;
  /** Logits of tokens among the latest 64 are divided by it, or multiplied where negative. Default 1. */
  repetitionPenalty?: number;
  /**
   * Same seed, same text. Default: random. On several threads where as much of the prompt was known, too: they add in another
   * order, and the last bit decides now and then.
   */
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
/** Tokens of which no more are sorted than that many, where it need not be. */
const sortLimit = 4096;
/** Top-p counts tokens in classes: so many until probabilities fall to 1/e, and how many. The last has all the rest. */
const [classesPerUnit, classCount] = [256, 8192];
const noClass = classCount;

/** Numbers in [0, 1) from a seed: splitmix32, with the bits of larger seeds mixed in. */
export function randomFrom(seed: number): () => number {
  let state = seed ^ scrambled(Math.trunc(seed / 2 ** 32));
  return () => {
    state = (state + 0x9e3779b9) | 0;
    return (scrambled(state) >>> 0) / 2 ** 32;
  };
}

/** 32 bits, each of which depends on all of `x`; 0 of 0. */
function scrambled(x: number): number {
  let t = x ^ (x >>> 16);
  t = Math.imul(t, 0x21f0aaad);
  t ^= t >>> 15;
  t = Math.imul(t, 0x735a2d97);
  return t ^ (t >>> 15);
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
  /** Of each token that may be drawn its probability, up to a factor. */
  private weights = new Float64Array(0);
  private classes = new Uint16Array(0);
  /** Of each class of tokens their weights together. */
  private readonly shares = new Float64Array(classCount);

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
    return this.draw(this.candidates(logits));
  }

  private penalise(logits: Float32Array, recent: readonly number[]): void {
    const { repetitionPenalty = 1 } = this.options;
    if (repetitionPenalty === 1) return;
    for (const t of new Set(recent.slice(-penaltyWindow)))
      logits[t] = logits[t] > 0 ? logits[t] / repetitionPenalty : logits[t] * repetitionPenalty;
  }

  /** Fills `order` with the tokens that may be drawn, and their `weights`. Returns how many. */
  private candidates(logits: Float32Array): number {
    const { topK = 0, topP = 0.95, minP = 0 } = this.options;
    if (this.order.length < logits.length) {
      this.order = new Int32Array(logits.length);
      this.weights = new Float64Array(logits.length);
      this.classes = new Uint16Array(logits.length);
    }
    const { order } = this;
    const likeliest = argMax(logits);
    const best = logits[likeliest];
    const floor = minP > 0 ? Math.max(lowest, best + this.temperature * Math.log(minP)) : lowest;
    let n: number;
    if (topK > 0 && topK < logits.length) {
      const bound = Math.max(lowest, nthLargest(logits, topK, best));
      n = this.from(logits, bound);
      this.sort(logits, 0, n);
      n = Math.min(n, topK);
      this.weigh(logits, n, best);
      if (topP < 1) n = this.nucleus(n, topP * this.weightOf(n));
    } else if (topP < 1) n = this.nucleusOfAll(logits, best, topP);
    else {
      n = this.from(logits, floor);
      this.weigh(logits, n, best);
    }
    let kept = 0;
    for (let i = 0; i < n; i++) if (logits[order[i]] >= floor) order[kept++] = order[i];
    if (kept > 0) return kept;
    // All logits are NaN or -Infinity: an answer all the same.
    order[0] = likeliest;
    return 1;
  }

  /** Fills `order` with the tokens whose logits reach `bound`. Returns how many. */
  private from(logits: Float32Array, bound: number): number {
    let n = 0;
    for (let t = 0; t < logits.length; t++) if (logits[t] >= bound) this.order[n++] = t;
    return n;
  }

  /** Puts a part of `order` in order, the likeliest first. */
  private sort(logits: Float32Array, start: number, end: number): void {
    this.order.subarray(start, end).sort((a, b) => logits[b] - logits[a] || a - b);
  }

  /** How many of the first tokens have the weight `enough` together: at least one, `n` at most. */
  private nucleus(n: number, enough: number): number {
    let sum = 0;
    for (let i = 0; i < n; i++) {
      sum += this.weights[this.order[i]];
      if (sum >= enough) return i + 1;
    }
    return n;
  }

  /** Fills `order` with the likeliest tokens that together have the probability `topP`. Returns how many. */
  private nucleusOfAll(logits: Float32Array, best: number, topP: number): number {
    const { order, weights, classes, shares, temperature } = this;
    let total = 0;
    shares.fill(0);
    for (let t = 0; t < logits.length; t++) {
      const distance = -fromBest(logits[t], best) / temperature;
      const weight = Math.exp(-distance);
      weights[t] = weight;
      classes[t] = weight > 0 ? Math.min(distance * classesPerUnit, classCount - 1) : noClass;
      if (!(weight > 0)) continue;
      total += weight;
      shares[classes[t]] += weight;
    }
    const enough = topP * total;
    // The class in which the nucleus ends. Of many tokens only its own are sorted.
    let last = 0;
    for (let sum = shares[0]; sum < enough && last < classCount - 1; ) sum += shares[++last];
    let n = 0;
    for (let t = 0; t < logits.length; t++) if (classes[t] < last) order[n++] = t;
    const sure = n;
    for (let t = 0; t < logits.length; t++) if (classes[t] === last) order[n++] = t;
    this.sort(logits, n > sortLimit ? sure : 0, n);
    return this.nucleus(n, enough);
  }

  private weigh(logits: Float32Array, n: number, best: number): void {
    const { order, weights, temperature } = this;
    for (let i = 0; i < n; i++) weights[order[i]] = Math.exp(fromBest(logits[order[i]], best) / temperature);
  }

  private weightOf(n: number): number {
    const { order, weights } = this;
    let total = 0;
    for (let i = 0; i < n; i++) total += weights[order[i]];
    return total;
  }

  /** One of the first `n` of `order`. */
  private draw(n: number): number {
    let left = this.random() * this.weightOf(n);
    for (let i = 0; i < n; i++) {
      left -= this.weights[this.order[i]];
      if (left < 0) return this.order[i];
    }
    return this.order[n - 1];
  }
}

/** How far a logit is above the largest: 0 or less. Infinite ones are as large as each other. */
const fromBest = (logit: number, best: number): number => (logit === best ? 0 : logit - best);

/** The first of the largest. Eight at a time: few are larger than all before them. */
export function argMax(v: Float32Array): number {
  let best = 0;
  let top = -Infinity;
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
  // Below infinity no step leads anywhere.
  if (best === Infinity) return countFrom(best) >= n ? best : lowest;
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
  for (let i = 0; i < logits.length; i++) sum += Math.exp(fromBest(logits[i], best));
  const total = Math.log(sum);
  return tokens.map((t) => fromBest(logits[t], best) - total);
}

/** The `n` likeliest tokens, in order. */
export function topTokens(logits: Float32Array, n: number): number[] {
  const bound = n < logits.length ? nthLargest(logits, n, logits[argMax(logits)]) : -Infinity;
  const tokens: number[] = [];
  for (let t = 0; t < logits.length; t++) if (logits[t] >= bound) tokens.push(t);
  return tokens.sort((a, b) => logits[b] - logits[a] || a - b).slice(0, n);
}
