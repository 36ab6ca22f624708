/**
 * Regular expressions of `pattern` as rules of a grammar: what a JSON string holds so that the expression is found in it.
 * Characters, classes, groups, alternatives, quantifiers, and `^` and `$` where an alternative of the whole begins and ends.
 */
import type { Grammar, GrammarSymbol, Sequence } from "./grammar.ts";
import { type CharacterSet, complement, spellings, union } from "./json-characters.ts";

/** Symbols, and whether they may stand for nothing. */
interface Part {
  readonly symbols: Sequence;
  readonly empty: boolean;
}

const nothing: Part = { symbols: [], empty: true };
const digits: CharacterSet = [[48, 57]];
const words = union(digits, [
  [65, 90],
  [95, 95],
  [97, 122],
]);
/** White space and line ends of ECMAScript. */
const spaces = union(
  [9, 10, 11, 12, 13, 32, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff].map((c) => [c, c] as const),
  [[0x2000, 0x200a]],
);
const lineEnds: CharacterSet = [
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
];
const classes: Readonly<Record<string, CharacterSet>> = { d: digits, w: words, s: spaces };
const controls: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11, "0": 0 };
const mostTimes = 1000;
/** Groups inside of one another. */
const deepest = 200;

/**
 * @param anything a rule for any characters, where the expression does not say how a string begins or ends
 * @param fail throws, with what is not supported
 * @returns the rule of the strings, without quotes
 */
export function patternRule(
  pattern: string,
  grammar: Grammar,
  anything: number,
  fail: (message: string) => never,
): number {
  return new PatternCompiler(pattern, grammar, fail).whole(anything);
}

/** As JavaScript has it. @param fail throws, where there is none */
export function expressionOf(pattern: string, fail: (message: string) => never): RegExp {
  for (const flags of ["u", ""])
    try {
      return new RegExp(pattern, flags);
    } catch {
      // Without "u", more escapes are allowed.
    }
  return fail(`is no regular expression: ${pattern}`);
}

class PatternCompiler {
  private readonly text: readonly string[];
  private at = 0;
  private depth = 0;

  constructor(
    pattern: string,
    private readonly grammar: Grammar,
    private readonly fail: (message: string) => never,
  ) {
    expressionOf(pattern, fail);
    this.text = Array.from(pattern);
  }

  whole(anything: number): number {
    const alternatives: Sequence[] = [];
    do {
      const begins = this.take("^");
      const { symbols } = this.sequence();
      const ends = this.take("$");
      if (this.at < this.text.length && this.text[this.at] !== "|") this.fail(this.misplaced());
      alternatives.push([...(begins ? [] : [anything]), ...symbols, ...(ends ? [] : [anything])]);
    } while (this.take("|"));
    return this.grammar.rule(...alternatives);
  }

  private misplaced(): string {
    return `with "${this.text[this.at]}" inside of an alternative is not supported`;
  }

  private take(c: string): boolean {
    if (this.text[this.at] !== c) return false;
    this.at++;
    return true;
  }

  private rest(): string {
    return this.text.slice(this.at).join("");
  }

  private sequence(): Part {
    const parts: Part[] = [];
    while (this.at < this.text.length && !["|", ")", "$"].includes(this.text[this.at])) {
      if (this.text[this.at] === "^") this.fail(this.misplaced());
      parts.push(this.quantified(this.atom()));
    }
    return { symbols: parts.flatMap((p) => p.symbols), empty: parts.every((p) => p.empty) };
  }

  private atom(): Part {
    const c = this.text[this.at++];
    if (c === "(") return this.group();
    if (c === "[") return this.oneOf(this.characterClass());
    if (c === ".") return this.oneOf(complement(lineEnds));
    if (c === "\\") return this.oneOf(this.escape(false));
    return this.oneOf([[c.codePointAt(0)!, c.codePointAt(0)!]]);
  }

  private oneOf(set: CharacterSet): Part {
    const sequences = spellings(set);
    if (sequences.length === 0 && set.length > 0)
      this.fail(
        'with half of a surrogate pair alone is not supported: write both halves, or the character as "\\u{...}"',
      );
    if (sequences.length === 0) this.fail("with a class of no characters is not supported");
    return { symbols: sequences.length === 1 ? sequences[0] : [this.grammar.rule(...sequences)], empty: false };
  }

  private group(): Part {
    const kind = /^\?(?:[=!]|<[=!]|:|<[^>]*>|[^)]*)/.exec(this.rest())?.[0] ?? "";
    if (/^\?<?[=!]/.test(kind)) this.fail(`with look-around "(${kind}" is not supported`);
    if (kind && kind !== "?:" && !kind.startsWith("?<")) this.fail(`with "(${kind}" is not supported`);
    this.at += Array.from(kind).length;
    const parts: Part[] = [];
    if (++this.depth > deepest) this.fail(`with more than ${deepest} groups inside of one another is not supported`);
    do parts.push(this.sequence());
    while (this.take("|"));
    if (!this.take(")")) this.fail(this.misplaced());
    this.depth--;
    return { symbols: [this.grammar.rule(...parts.map((p) => p.symbols))], empty: parts.some((p) => p.empty) };
  }

  private quantified(part: Part): Part {
    const found = /^(?:[*+?]|\{(\d+)(,(\d*))?\})/.exec(this.rest());
    if (!found) return part;
    this.at += found[0].length;
    // What is tried first does not change which strings fit.
    this.take("?");
    const [whole, least, comma, most] = found;
    const [min, max] =
      least === undefined
        ? ([whole === "+" ? 1 : 0, whole === "?" ? 1 : Number.POSITIVE_INFINITY] as const)
        : ([Number(least), comma ? (most ? Number(most) : Number.POSITIVE_INFINITY) : Number(least)] as const);
    if (Math.max(min, Number.isFinite(max) ? max : 0) > mostTimes) this.fail(`repeats more than ${mostTimes} times`);
    if (max === 0) return nothing;
    if (max === Number.POSITIVE_INFINITY && part.empty)
      this.fail(`with "${whole}" behind what may be empty is not supported`);
    const once = part.symbols.length === 1 ? part.symbols[0] : this.grammar.rule(part.symbols);
    const symbols = [...new Array<GrammarSymbol>(min).fill(once), ...this.more(once, max - min)];
    return { symbols, empty: min === 0 || part.empty };
  }

  /** None up to `n` times. */
  private more(once: GrammarSymbol, n: number): Sequence {
    if (n === 0) return [];
    const rule = this.grammar.rule();
    if (n === Number.POSITIVE_INFINITY) this.grammar.define(rule, [], [once, rule]);
    else this.grammar.define(rule, [], [once, ...this.more(once, n - 1)]);
    return [rule];
  }

  /** Behind `[`. */
  private characterClass(): CharacterSet {
    const negated = this.take("^");
    const sets: CharacterSet[] = [];
    while (!this.take("]")) {
      const from = this.member();
      const isRange = this.text[this.at] === "-" && this.text[this.at + 1] !== "]";
      if (!isRange || from.length !== 1 || from[0][0] !== from[0][1]) {
        sets.push(from);
        continue;
      }
      this.at++;
      const to = this.member();
      // A class is no end of a range: the dash is one of the characters.
      if (to.length === 1 && to[0][0] === to[0][1]) sets.push([[from[0][0], to[0][1]]]);
      else sets.push(from, to, [[45, 45]]);
    }
    const all = union(...sets);
    return negated ? complement(all) : all;
  }

  private member(): CharacterSet {
    const c = this.text[this.at++];
    if (c === "\\") return this.escape(true);
    return [[c.codePointAt(0)!, c.codePointAt(0)!]];
  }

  /** Behind a backslash. */
  private escape(inClass: boolean): CharacterSet {
    const c = this.text[this.at++];
    const one = (code: number): CharacterSet => [[code, code]];
    if (Object.hasOwn(classes, c)) return classes[c];
    if (Object.hasOwn(classes, c.toLowerCase())) return complement(classes[c.toLowerCase()]);
    if (inClass && c === "b") return one(8);
    if (Object.hasOwn(controls, c) && !(c === "0" && /^\d/.test(this.rest()))) return one(controls[c]);
    const pair = /^u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})/.exec(c + this.rest());
    if (pair) {
      this.at += pair[0].length - 1;
      return one(String.fromCharCode(...pair.slice(1).map((half) => Number.parseInt(half, 16))).codePointAt(0)!);
    }
    const code = /^(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]+)\})/.exec(c + this.rest());
    if (code) {
      this.at += code[0].length - 1;
      return one(Number.parseInt(code[1] ?? code[2] ?? code[3], 16));
    }
    if (/[1-9k]/.test(c)) this.fail(`with the back-reference "\\${c}" is not supported`);
    if (/[bB]/.test(c)) this.fail(`with the word boundary "\\${c}" is not supported`);
    if (/[a-zA-Z0-9]/.test(c)) this.fail(`with "\\${c}" is not supported`);
    return one(c.codePointAt(0)!);
  }
}
