/** Whether two rules of a grammar have a text in common, by walking through both at once. */
import { type Grammar, type GrammarState, mayEnd, stateKey } from "./grammar.ts";

/** Pairs of states that are looked at. */
const mostPairs = 2000;

/** The shortest text that fits both; undefined where there is none, null where that is not known. */
export function commonText(grammar: Grammar, a: number, b: number): string | undefined | null {
  let pairs: { a: GrammarState; b: GrammarState; text: readonly number[] }[] = [
    { a: grammar.start(a), b: grammar.start(b), text: [] },
  ];
  const seen = new Set<string>();
  while (pairs.length > 0) {
    const next: typeof pairs = [];
    for (const { a, b, text } of pairs) {
      if (mayEnd(a) && mayEnd(b)) return new TextDecoder().decode(Uint8Array.from(text));
      for (const byte of bytesOf(a)) {
        const [nextA, nextB] = [grammar.next(a, byte), grammar.next(b, byte)];
        const key = `${stateKey(nextA)}|${stateKey(nextB)}`;
        if (nextB.size === 0 || seen.has(key)) continue;
        if (seen.add(key).size > mostPairs) return null;
        next.push({ a: nextA, b: nextB, text: [...text, byte] });
      }
    }
    pairs = next;
  }
  return undefined;
}

/** Bytes that may come, those of letters first. */
function bytesOf(state: GrammarState): number[] {
  const may = (byte: number): boolean => {
    for (const s of state) if (s && (s.sequence[s.at] as Uint8Array)[byte]) return true;
    return false;
  };
  return Array.from({ length: 256 }, (_, i) => (i + 97) % 256).filter(may);
}
