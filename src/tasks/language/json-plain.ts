/** What JSON is written with: characters of strings, digits, white space. Each is one rule of a grammar. */
import { bytesFrom, type Grammar, type GrammarSymbol, literal, type Sequence } from "./grammar.ts";
import { mostDigits } from "./json-numbers.ts";

export class PlainJson {
  private readonly shared = new Map<string, number>();

  constructor(private readonly grammar: Grammar) {}

  /** None, one, or a new line with an indent: models that may write any amount of white space write nothing else. */
  get space(): number {
    return this.once("space", () => {
      const indent = this.upTo(20, bytesFrom([32, 32], [9, 9]));
      return [[], literal(" "), [...literal("\n"), indent]];
    });
  }

  get characters(): number {
    return this.once("characters", (rule) => [[], [this.character, rule]]);
  }

  /** Bytes of UTF-8 as the standard has them, and the escapes of JSON; what takes two escapes is written as it is. */
  get character(): number {
    return this.once("character", () => {
      const tail = bytesFrom([0x80, 0xbf]);
      const hex = bytesFrom([48, 57], [65, 70], [97, 102]);
      const one: Sequence[] = [
        [bytesFrom([0x20, 0x21], [0x23, 0x5b], [0x5d, 0x7f])],
        [bytesFrom([0xc2, 0xdf]), tail],
        [bytesFrom([0xe0, 0xe0]), bytesFrom([0xa0, 0xbf]), tail],
        [bytesFrom([0xe1, 0xec], [0xee, 0xef]), tail, tail],
        [bytesFrom([0xed, 0xed]), bytesFrom([0x80, 0x9f]), tail],
        [bytesFrom([0xf0, 0xf0]), bytesFrom([0x90, 0xbf]), tail, tail],
        [bytesFrom([0xf1, 0xf3]), tail, tail, tail],
        [bytesFrom([0xf4, 0xf4]), bytesFrom([0x80, 0x8f]), tail, tail],
        [...literal("\\"), bytesFrom(...Array.from('"\\/bfnrt', (c) => [c.charCodeAt(0), c.charCodeAt(0)] as const))],
        [...literal("\\u"), bytesFrom([48, 57], [65, 67], [69, 70], [97, 99], [101, 102]), hex, hex, hex],
        [...literal("\\u"), bytesFrom([68, 68], [100, 100]), bytesFrom([48, 55]), hex, hex],
      ];
      return one;
    });
  }

  integer(): Sequence[] {
    const sign = this.grammar.rule([], literal("-"));
    const more = this.upTo(mostDigits - 1, bytesFrom([48, 57]));
    return [
      [sign, ...literal("0")],
      [sign, bytesFrom([49, 57]), more],
    ];
  }

  /** A point, and digits behind it. */
  get fraction(): number {
    const digit = bytesFrom([48, 57]);
    return this.once("fraction", () => [[...literal("."), digit, this.upTo(mostDigits - 1, digit)]]);
  }

  number(): Sequence[] {
    const digit = bytesFrom([48, 57]);
    const fraction = this.grammar.rule([], [this.fraction]);
    const exponent = this.grammar.rule(
      [],
      [
        bytesFrom([69, 69], [101, 101]),
        this.grammar.rule([], [bytesFrom([43, 43], [45, 45])]),
        digit,
        this.upTo(1, digit),
      ],
    );
    return [[this.once("integer", () => this.integer()), fraction, exponent]];
  }

  /** At most `n` bytes of a set, or of what a rule gives. */
  upTo(n: number, set: GrammarSymbol): number {
    let rule = this.grammar.rule([]);
    for (let i = 0; i < n; i++) rule = this.grammar.rule([], [set, rule]);
    return rule;
  }

  once(name: string, alternatives: (rule: number) => Sequence[]): number {
    let rule = this.shared.get(name);
    if (rule === undefined) {
      rule = this.grammar.rule();
      this.shared.set(name, rule);
      this.grammar.define(rule, ...alternatives(rule));
    }
    return rule;
  }
}
