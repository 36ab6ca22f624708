/**
 * Numbers between bounds, and multiples, as grammars of their digits. A number is a whole number of units of 10^-scale; a digit
 * may come where some number that begins so far fits. Rules are made when texts get there: multiples have many.
 */
import { bytesFrom, type Grammar, literal, type Sequence } from "./grammar.ts";

/** Digits before, and behind, the point: what JavaScript reads exactly, or nearly so. */
export const mostDigits = 16;
/** As many in all are read exactly. */
const exactDigits = 15;

export interface NumberBounds {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly multipleOf?: number;
}

/** digits / 10^scale */
interface Decimal {
  readonly digits: bigint;
  readonly scale: number;
}

const powers = Array.from({ length: 2 * mostDigits + 1 }, (_, n) => 10n ** BigInt(n));
const ten = (n: number): bigint => powers[n] ?? 10n ** BigInt(n);
const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b));
const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/** The number as JavaScript writes it. */
function decimalOf(n: number): Decimal {
  const [, whole, fraction = "", exponent = "0"] = /^(-?\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(n))!;
  const scale = fraction.length - Number(exponent);
  const digits = BigInt(whole + fraction);
  return scale < 0 ? { digits: digits * ten(-scale), scale: 0 } : { digits, scale };
}

/** The largest number of units that is no more. */
function floorOf({ digits, scale }: Decimal, unit: number): bigint {
  if (scale <= unit) return digits * ten(unit - scale);
  const by = ten(scale - unit);
  return digits / by - (digits % by < 0n ? 1n : 0n);
}

/** The least number of units that is more: so much that a reader of 64-bit floats tells them apart. */
function above(n: Decimal, scale: number): bigint {
  const whole = String(n.digits).replace("-", "").length - n.scale;
  const unit = Math.min(scale, Math.max(0, exactDigits - Math.max(1, whole)));
  return (floorOf(n, unit) + 1n) * ten(scale - unit);
}

const negated = ({ digits, scale }: Decimal): Decimal => ({ digits: -digits, scale });

/** @param fail throws, with what is not supported */
export function numberRule(
  grammar: Grammar,
  type: "number" | "integer",
  bounds: NumberBounds,
  fail: (message: string) => never,
): number {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = bounds;
  const step = multipleOf === undefined ? undefined : decimalOf(multipleOf);
  if (step && step.scale > exactDigits) fail(`"multipleOf" takes at most ${exactDigits} digits behind the point`);
  const scale = type === "integer" ? 0 : (step?.scale ?? mostDigits);
  // Whole multiples of 2.5 are those of 5.
  const divisor = step && type === "integer" ? step.digits / gcd(step.digits, ten(step.scale)) : (step?.digits ?? 1n);
  const largest = ten(step ? exactDigits : mostDigits + scale) - 1n;
  let [least, most] = [-largest, largest];
  if (minimum !== undefined) least = larger(least, -floorOf(negated(decimalOf(minimum)), scale));
  if (exclusiveMinimum !== undefined) least = larger(least, above(decimalOf(exclusiveMinimum), scale));
  if (maximum !== undefined) most = smaller(most, floorOf(decimalOf(maximum), scale));
  if (exclusiveMaximum !== undefined) most = smaller(most, -above(negated(decimalOf(exclusiveMaximum)), scale));
  const alternatives: Sequence[] = [];
  const add = (sign: Sequence, from: bigint, to: bigint): void => {
    const magnitudes = new Magnitudes(grammar, { least: from, most: to, divisor, scale });
    if (magnitudes.any) alternatives.push([...sign, magnitudes.rule]);
  };
  add([], larger(least, 0n), most);
  add(literal("-"), larger(-most, 1n), -least);
  if (alternatives.length === 0) {
    const isBeyond = least > largest || most < -largest;
    const numbers = step
      ? `multiples have at most ${exactDigits} digits`
      : `they have at most ${mostDigits} digits before the point`;
    fail(isBeyond ? `has bounds beyond the numbers that are written: ${numbers}` : "allows no number");
  }
  return grammar.rule(...alternatives);
}

interface Range {
  readonly least: bigint;
  readonly most: bigint;
  readonly divisor: bigint;
  /** Digits behind the point. */
  readonly scale: number;
}

/** Multiples of a divisor from least to most, neither negative. Rules for texts with the same continuations are one. */
class Magnitudes {
  private readonly rules = new Map<string, number>();
  /** Digits before the point. */
  private readonly whole: number;

  constructor(
    private readonly grammar: Grammar,
    private readonly range: Range,
  ) {
    this.whole = Math.max(1, String(range.most).length - range.scale);
  }

  get any(): boolean {
    return this.fits(this.range.least, this.range.most);
  }

  get rule(): number {
    return this.before(0n, 0);
  }

  /** Whether there is one from `from` to `to`. */
  private fits(from: bigint, to: bigint): boolean {
    const { least, most, divisor } = this.range;
    const first = larger(from, least);
    return ((first + divisor - 1n) / divisor) * divisor <= smaller(to, most);
  }

  /** Units of what begins with the digits of `prefix`, and has `more` of them. */
  private span(prefix: bigint, more: number): [from: bigint, to: bigint] {
    const unit = ten(more);
    return [prefix * unit, (prefix + 1n) * unit - 1n];
  }

  /** What tells the continuations of prefixes apart, where the bounds do not cut through them. */
  private remainder(prefix: bigint, mores: readonly number[]): string | undefined {
    const { least, most, divisor } = this.range;
    let kinds = "";
    for (const more of mores) {
      const [from, to] = this.span(prefix, more);
      const [inside, outside] = [from >= least && to <= most, to < least || from > most];
      if (!inside && !outside) return undefined;
      kinds += inside ? "+" : "-";
    }
    return `${kinds}${prefix % divisor}`;
  }

  /** How many digits may follow `count` of them, those behind the point included, the most first: more is likelier to fit. */
  private mores(prefix: bigint, count: number): number[] {
    const { scale } = this.range;
    // Nothing but the point follows a zero at the front.
    const most = count === 1 && prefix === 0n ? 0 : this.whole - count;
    return Array.from({ length: most + 1 }, (_, i) => most - i + scale);
  }

  /** After `count` digits before the point. */
  private before(prefix: bigint, count: number): number {
    const { range } = this;
    const mores = this.mores(prefix, count);
    const rest = prefix === 0n ? undefined : this.remainder(prefix, mores);
    return this.once(`before ${count} ${rest ?? `= ${prefix}`}`, () => {
      const out: Sequence[] = [];
      if (count > 0) {
        const [exact, last] = this.span(prefix, range.scale);
        if (this.fits(exact, exact)) out.push([]);
        if (range.scale > 0 && this.fits(exact, last)) out.push([...literal("."), this.behind(prefix, range.scale)]);
      }
      if (mores.length > 1 || count === 0)
        out.push(
          ...this.digits(
            prefix,
            (p) => this.anyBefore(p, count + 1),
            (p) => this.before(p, count + 1),
          ),
        );
      return out;
    });
  }

  private anyBefore(prefix: bigint, count: number): boolean {
    return this.mores(prefix, count).some((more) => this.fits(...this.span(prefix, more)));
  }

  /** Where up to `left` digits behind the point may come. */
  private behind(prefix: bigint, left: number): number {
    const rest = this.remainder(prefix, [left]);
    return this.once(`behind ${left} ${rest ?? `= ${prefix}`}`, () => {
      const out: Sequence[] = [];
      const [exact] = this.span(prefix, left);
      if (left < this.range.scale && this.fits(exact, exact)) out.push([]);
      if (left > 0)
        out.push(
          ...this.digits(
            prefix,
            (p) => this.fits(...this.span(p, left - 1)),
            (p) => this.behind(p, left - 1),
          ),
        );
      return out;
    });
  }

  /** One digit more, those with the same continuation together. */
  private digits(prefix: bigint, any: (prefix: bigint) => boolean, rule: (prefix: bigint) => number): Sequence[] {
    const sets = new Map<number, Uint8Array>();
    for (let digit = 0; digit < 10; digit++) {
      const longer = prefix * 10n + BigInt(digit);
      if (!any(longer)) continue;
      const next = rule(longer);
      const set = sets.get(next) ?? bytesFrom();
      set[48 + digit] = 1;
      sets.set(next, set);
    }
    return [...sets].map(([next, set]) => [set, next]);
  }

  private once(key: string, alternatives: () => Sequence[]): number {
    let rule = this.rules.get(key);
    if (rule === undefined) this.rules.set(key, (rule = this.grammar.lazy(alternatives)));
    return rule;
  }
}
