/** Sets of characters as JSON strings spell them: bytes of UTF-8, and escapes where they have to be. */
import { bytesFrom, literal, type Sequence } from "./grammar.ts";

/** Code points from and to, in order and apart. */
export type CharacterSet = readonly (readonly [from: number, to: number])[];

const last = 0x10ffff;
const surrogates = [0xd800, 0xdfff] as const;

export function union(...sets: readonly CharacterSet[]): CharacterSet {
  const merged: [number, number][] = [];
  for (const [from, to] of sets.flat().sort((a, b) => a[0] - b[0])) {
    const before = merged.at(-1);
    if (before && from <= before[1] + 1) before[1] = Math.max(before[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

export function complement(set: CharacterSet): CharacterSet {
  const rest: [number, number][] = [];
  let next = 0;
  for (const [from, to] of union(set, [surrogates])) {
    if (from > next) rest.push([next, from - 1]);
    next = to + 1;
  }
  if (next <= last) rest.push([next, last]);
  return rest;
}

/** One spelling of each character of a set. Surrogates have none. */
export function spellings(set: CharacterSet): Sequence[] {
  const whole = complement(complement(set));
  const sequences: Sequence[] = [];
  const has = (c: number): boolean => whole.some(([from, to]) => c >= from && c <= to);
  for (let c = 0; c < 0x80; c++) if (has(c) && needsEscape(c)) sequences.push(literal(escaped(c)));
  const plain = bytesFrom(...whole.filter(([from]) => from < 0x80).map(([a, b]) => [a, Math.min(b, 0x7f)] as const));
  for (let c = 0; c < 0x80; c++) if (needsEscape(c)) plain[c] = 0;
  if (plain.includes(1)) sequences.push([plain]);
  // By length in UTF-8.
  for (const [low, high] of [
    [0x80, 0x7ff],
    [0x800, 0xffff],
    [0x10000, last],
  ])
    for (const [from, to] of whole) {
      const [a, b] = [Math.max(from, low), Math.min(to, high)];
      if (a <= b) sequences.push(...byteRanges(bytesOf(a), bytesOf(b)));
    }
  return sequences;
}

const needsEscape = (c: number): boolean => c < 0x20 || c === 0x22 || c === 0x5c;
const escaped = (c: number): string => JSON.stringify(String.fromCodePoint(c)).slice(1, -1);
const bytesOf = (c: number): number[] => [...new TextEncoder().encode(String.fromCodePoint(c))];

/** All of the same length between two, as few sequences of byte sets. */
function byteRanges([a, ...restA]: readonly number[], [b, ...restB]: readonly number[]): Sequence[] {
  if (restA.length === 0) return [[bytesFrom([a, b])]];
  const after = (byte: number, rest: readonly Sequence[]): Sequence[] =>
    rest.map((r) => [bytesFrom([byte, byte]), ...r]);
  if (a === b) return after(a, byteRanges(restA, restB));
  const [least, most] = [restA.map(() => 0x80), restA.map(() => 0xbf)];
  const sequences: Sequence[] = [];
  const [startsLate, endsEarly] = [restA.some((v) => v !== 0x80), restB.some((v) => v !== 0xbf)];
  if (startsLate) sequences.push(...after(a, byteRanges(restA, most)));
  const [from, to] = [startsLate ? a + 1 : a, endsEarly ? b - 1 : b];
  if (from <= to) sequences.push([bytesFrom([from, to]), ...restA.map(() => bytesFrom([0x80, 0xbf]))]);
  if (endsEarly) sequences.push(...after(b, byteRanges(least, restB)));
  return sequences;
}
