/** Members of objects and items of lists, as rules: which may come, and how many. */
import { type Grammar, type GrammarSymbol, literal, type Sequence } from "./grammar.ts";
import { sortedTexts, textChoice } from "./grammar-texts.ts";
import { complement, spellings } from "./json-characters.ts";

export interface Member {
  readonly needed: boolean;
  readonly member: Sequence;
}

export interface Members {
  /** Each at most once, in this order. */
  readonly declared: readonly Member[];
  /** One of any number behind them; undefined: there are no others. */
  readonly other?: Sequence;
  readonly min: number;
  readonly max: number;
}

/** The rule of members, or of items, with commas between them. @param space what may be written before each */
export function membersRule(grammar: Grammar, space: GrammarSymbol, { declared, other, min, max }: Members): number {
  const { length } = declared;
  // Beyond this many there is nothing left to count.
  const enough = Math.max(1, min, max === Number.POSITIVE_INFINITY ? 0 : max);
  const neededFrom = (i: number): number => declared.slice(i).filter((m) => m.needed).length;
  /** Whether members from number `i` on can end well where `n` are written. */
  const mayEnd = (i: number, n: number): boolean =>
    n + neededFrom(i) <= max && (other !== undefined || n + length - i >= min);
  const rules = new Map<string, number>();
  const rest = (i: number, n: number): number => {
    const key = `${i} ${n}`;
    const known = rules.get(key);
    if (known !== undefined) return known;
    const make = (): Sequence[] => {
      const out: Sequence[] = [];
      const more = Math.min(n + 1, enough);
      const add = (member: Sequence, next: number): void => {
        if (n < max && mayEnd(next, n + 1))
          out.push([...(n > 0 ? literal(",") : []), space, ...member, rest(next, more)]);
      };
      if (i < length) {
        add(declared[i].member, i + 1);
        if (!declared[i].needed && mayEnd(i + 1, n)) out.push([rest(i + 1, n)]);
        return out;
      }
      if (other) add(other, i);
      if (n >= min) out.push([]);
      return out;
    };
    const rule = grammar.lazy(make, (fits) => {
      const [needed, free] = [true, false].map((is) => declared.filter((d) => d.needed === is));
      const enough = (): boolean => needed.length + free.filter((d) => fits(d.member)).length >= min;
      return needed.every((d) => fits(d.member)) && (enough() || (other !== undefined && fits(other)));
    });
    rules.set(key, rule);
    return rule;
  };
  return rest(0, 0);
}

/** The rule of lists of different values. */
export function differentRule(
  grammar: Grammar,
  space: GrammarSymbol,
  values: readonly string[],
  { min, max }: { min: number; max: number },
): number {
  const all = sortedTexts(values).map((text, i) => ({ text, bit: 1n << BigInt(i) }));
  // By texts: of large numbers, maps tell apart the last 64 bits alone.
  const rules = new Map<string, number>();
  /** @param used one bit for each value that is written */
  const rest = (used: bigint, n: number): number => {
    const key = used.toString(32);
    let rule = rules.get(key);
    if (rule === undefined) {
      rule = grammar.lazy(() => {
        const ends = n >= min ? [[]] : [];
        const left = n < max ? all.filter(({ bit }) => !(used & bit)) : [];
        if (left.length === 0) return ends;
        const texts = left.map(({ text }) => text);
        const value = grammar.lazy(() => textChoice(grammar, texts, (i) => [rest(used | left[i].bit, n + 1)]));
        return [...ends, [...(n > 0 ? literal(",") : []), space, value]];
      });
      rules.set(key, rule);
    }
    return rule;
  };
  return rest(0n, 0);
}

/** What stands between the quotes of a name that is none of these. @param characters the rule of any */
export function otherNames(grammar: Grammar, names: readonly string[], characters: number): number {
  const after = (rests: readonly (readonly string[])[]): number => {
    const first = new Map<string, (readonly string[])[]>();
    for (const [character, ...rest] of rests)
      if (character) first.set(character, [...(first.get(character) ?? []), rest]);
    const codes = [...first.keys()].map((c) => [c.codePointAt(0)!, c.codePointAt(0)!] as const);
    return grammar.rule(
      ...(rests.some((r) => r.length === 0) ? [] : [[]]),
      ...spellings(complement(codes)).map((s) => [...s, characters]),
      ...[...first.values()].map((list, i) => [...spellings([codes[i]])[0], after(list)]),
    );
  };
  return after(names.map((n) => Array.from(n)));
}
