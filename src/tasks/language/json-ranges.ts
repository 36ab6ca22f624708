/** Numbers between bounds, as grammars of their digits. */
import { bytesFrom, type Grammar, literal, type Sequence } from "./grammar.ts";

/** Digits of a number: what JavaScript reads exactly, or nearly so. */
export const mostDigits = 16;
/** The largest number of that many digits: no bound. */
export const largest = 10n ** BigInt(mostDigits) - 1n;

const digitsFrom = (from: number, to: number): Uint8Array => bytesFrom([48 + from, 48 + to]);

/** Whole numbers from `min` to `max`, both at least 0, without zeros in front. */
function naturals(grammar: Grammar, min: bigint, max: bigint): Sequence[] {
  const out: Sequence[] = [];
  const [few, many] = [String(min).length, String(max).length];
  if (many > few && max === 10n ** BigInt(many) - 1n) {
    // All that are longer in one: few ways at once to go on.
    let more = grammar.rule([]);
    for (let i = few + 1; i < many; i++) more = grammar.rule([], [digitsFrom(0, 9), more]);
    const longer = [digitsFrom(1, 9), ...new Array<Uint8Array>(few).fill(digitsFrom(0, 9)), more];
    return [...naturals(grammar, min, 10n ** BigInt(few) - 1n), longer];
  }
  for (let length = String(min).length; length <= String(max).length; length++) {
    const least = length === 1 ? 0n : 10n ** BigInt(length - 1);
    const most = 10n ** BigInt(length) - 1n;
    const [from, to] = [min > least ? min : least, max < most ? max : most];
    if (from <= to) out.push(...sameLength(grammar, String(from), String(to)));
  }
  return out;
}

/** Digits from `from` to `to`, as many as both have. */
function sameLength(grammar: Grammar, from: string, to: string): Sequence[] {
  if (/^0*$/.test(from) && /^9*$/.test(to)) return [Array.from(from, () => digitsFrom(0, 9))];
  const [first, last] = [Number(from[0]), Number(to[0])];
  const rest = from.length - 1;
  const then = (digit: Uint8Array, low: string, high: string): Sequence =>
    rest === 0 ? [digit] : [digit, grammar.rule(...sameLength(grammar, low, high))];
  const [lowest, highest] = ["0".repeat(rest), "9".repeat(rest)];
  if (first === last) return [then(digitsFrom(first, first), from.slice(1), to.slice(1))];
  const out = [then(digitsFrom(first, first), from.slice(1), highest)];
  if (last > first + 1)
    out.push([digitsFrom(first + 1, last - 1), ...new Array<Uint8Array>(rest).fill(digitsFrom(0, 9))]);
  return [...out, then(digitsFrom(last, last), lowest, to.slice(1))];
}

/** Whole numbers from `min` to `max`. */
export function integers(grammar: Grammar, min: bigint, max: bigint): Sequence[] {
  const out: Sequence[] = [];
  if (max >= 0n) out.push(...naturals(grammar, min > 0n ? min : 0n, max));
  if (min < 0n) {
    const rule = grammar.rule(...naturals(grammar, max < 0n ? -max : 1n, -min));
    out.push([...literal("-"), rule]);
  }
  return out;
}

/**
 * Numbers from `min` to `max`, with `fraction` or without.
 * @param fraction the rule of a point and digits
 */
export function decimals(grammar: Grammar, min: bigint, max: bigint, fraction: number): Sequence[] {
  const magnitudes = (from: bigint, to: bigint): Sequence[] => {
    const whole = grammar.rule(...naturals(grammar, from, to));
    if (from === to) return [[whole]];
    // Where there is no bound, the largest number may have a fraction too.
    const below = to === largest ? whole : grammar.rule(...naturals(grammar, from, to - 1n));
    return [[whole], [below, fraction]];
  };
  const out: Sequence[] = [];
  if (max >= 0n) out.push(...magnitudes(min > 0n ? min : 0n, max));
  if (min < 0n) out.push([...literal("-"), grammar.rule(...magnitudes(max < 0n ? -max : 0n, -min))]);
  return out;
}
