/**
 * Context-free grammars over bytes, and where one is in a text: a set of stacks of what has to come, moved on byte by byte.
 * Stacks are shared lists, and equal ones are one object: a state costs little, and states can be compared.
 */

import { InputError } from "../../tensor/errors.ts";
import { encodeUtf8 } from "../../tensor/utf8.ts";

/** Bytes that may come, one flag each. */
export type ByteSet = Uint8Array;
/** A byte of a set, or a rule by its number. */
export type GrammarSymbol = ByteSet | number;
export type Sequence = readonly GrammarSymbol[];

export function bytesFrom(...ranges: readonly (readonly [number, number])[]): ByteSet {
  const set = new Uint8Array(256);
  for (const [from, to] of ranges) set.fill(1, from, to + 1);
  return set;
}

/** Of each byte the set that has it alone: there are very many of these. */
const singles = Array.from({ length: 256 }, (_, b) => bytesFrom([b, b]));

export const bytesInOrder = (bytes: Uint8Array): Sequence => Array.from(bytes, (b) => singles[b]);
export const literal = (text: string): Sequence => bytesInOrder(encodeUtf8(text));

/** What has to come: the rest of a sequence, then what `below` says. */
interface Place {
  readonly sequence: Sequence;
  readonly at: number;
  readonly below: Stack | undefined;
}
interface Stack extends Place {
  readonly id: number;
}

/** Stacks that begin with a byte; undefined among them: the text may end. */
export type GrammarState = ReadonlySet<Stack | undefined>;

/** Rules opened before a byte comes, with what comes behind them: as many take a second. */
const mostOpened = 2 ** 18;

export class Grammar {
  private readonly rules: (Sequence[] | (() => Sequence[]))[] = [];
  private readonly stacks = new Map<string, Stack>();
  private readonly sequenceIds = new Map<Sequence, number>();
  /** The rules, with what comes behind them, that the state in the making has already. */
  private readonly opened = new Set<number>();
  /** Of lazy rules. */
  private readonly ends = new Map<number, (fits: (s: Sequence) => boolean) => boolean>();

  /** A new rule; its alternatives may be given later, so that rules can refer to themselves. */
  rule(...alternatives: Sequence[]): number {
    return this.rules.push(alternatives) - 1;
  }

  /**
   * A rule whose alternatives are made when a text gets to it.
   * @param ends whether it has an end, by which sequences have one
   */
  lazy(alternatives: () => Sequence[], ends: (fits: (s: Sequence) => boolean) => boolean = () => true): number {
    const rule = this.rules.push(alternatives) - 1;
    this.ends.set(rule, ends);
    return rule;
  }

  define(rule: number, ...alternatives: Sequence[]): void {
    this.rules[rule] = alternatives;
  }

  start(rule: number): GrammarState {
    return this.closed(this.alternatives(rule).map((sequence) => ({ sequence, at: 0, below: undefined })));
  }

  /** The state after a byte: empty where it may not come. */
  next(state: GrammarState, byte: number): GrammarState {
    const after: Place[] = [];
    for (const s of state)
      if (s && (s.sequence[s.at] as ByteSet)[byte]) after.push({ sequence: s.sequence, at: s.at + 1, below: s.below });
    return this.closed(after);
  }

  /** Rules that no text comes to the end of: they need themselves, or have no alternative. Each with one that it needs. */
  endless(): ReadonlyMap<number, number | undefined> {
    const open = new Map<number, number | undefined>(this.rules.map((_, rule) => [rule, undefined]));
    const endsOf = (rule: number): boolean => {
      const fits = (s: Sequence): boolean => {
        const needed = s.find((x) => typeof x === "number" && open.has(x));
        if (needed !== undefined) open.set(rule, needed as number);
        return needed === undefined;
      };
      const known = this.rules[rule];
      return this.ends.get(rule)?.(fits) ?? (known as Sequence[]).some(fits);
    };
    for (let before = Infinity; open.size < before; ) {
      before = open.size;
      // What a rule needs mostly comes after it.
      for (const rule of [...open.keys()].reverse()) if (endsOf(rule)) open.delete(rule);
    }
    return open;
  }

  private alternatives(rule: number): Sequence[] {
    const known = this.rules[rule];
    return typeof known === "function" ? (this.rules[rule] = known()) : known;
  }

  /**
   * The state of all these places, with rules opened until a byte is on top. There are many ways to one place where rules may
   * be empty: each is gone from once.
   */
  private closed(places: Place[]): GrammarState {
    const state = new Set<Stack | undefined>();
    if (this.opened.size > 0) this.opened.clear();
    for (let place = places.pop(); place; place = places.pop()) {
      const { sequence, at, below } = place;
      if (at === sequence.length) {
        if (below) places.push(below);
        else state.add(undefined);
        continue;
      }
      const symbol = sequence[at];
      if (typeof symbol !== "number") {
        state.add(this.stack(sequence, at, below));
        continue;
      }
      // Nothing is left of the sequence after a last rule: what is below stays on top.
      const rest = at + 1 === sequence.length ? below : this.stack(sequence, at + 1, below);
      const known = this.opened.size;
      if (this.opened.add(symbol * 2 ** 27 + (rest ? rest.id + 1 : 0)).size === known) continue;
      if (known > mostOpened)
        throw new InputError(
          "schema: too much may be left out in one place, or repeated in patterns: allow less there",
        );
      for (const alternative of this.alternatives(symbol)) places.push({ sequence: alternative, at: 0, below: rest });
    }
    return state;
  }

  private stack(sequence: Sequence, at: number, below: Stack | undefined): Stack {
    let sequenceId = this.sequenceIds.get(sequence);
    if (sequenceId === undefined) this.sequenceIds.set(sequence, (sequenceId = this.sequenceIds.size));
    const key = `${sequenceId}/${at}/${below?.id ?? ""}`;
    let stack = this.stacks.get(key);
    if (!stack) this.stacks.set(key, (stack = { id: this.stacks.size, sequence, at, below }));
    return stack;
  }
}

/** Equal for equal states of one grammar. */
export const stateKey = (state: GrammarState): string =>
  [...state]
    .map((s) => s?.id ?? -1)
    .sort((a, b) => a - b)
    .join();

export const mayEnd = (state: GrammarState): boolean => state.has(undefined);
/** Nothing but the end may come. */
export const mustEnd = (state: GrammarState): boolean => mayEnd(state) && state.size === 1;
