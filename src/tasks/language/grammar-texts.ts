/** Texts to choose from, as rules: what begins alike is gone through once. */
import { encodeUtf8 } from "../../tensor/utf8.ts";
import { bytesInOrder, type Grammar, type Sequence } from "./grammar.ts";

/** Of texts their bytes, in the order that `textChoice` takes. */
export const sortedTexts = (texts: readonly string[]): Uint8Array[] => texts.map(encodeUtf8).sort(compare);

function compare(a: Uint8Array, b: Uint8Array): number {
  const at = sharedLength(a, b);
  return (a[at] ?? -1) - (b[at] ?? -1);
}

function sharedLength(a: Uint8Array, b: Uint8Array): number {
  let n = 0;
  while (n < a.length && a[n] === b[n]) n++;
  return n;
}

/** @param behind what comes behind text number `i` */
export function textChoice(
  grammar: Grammar,
  texts: readonly Uint8Array[],
  behind: (i: number) => Sequence = () => [],
): Sequence[] {
  /** Texts from `first` to before `end`, which are the same up to `at`: an alternative for each byte that comes next. */
  const rest = (first: number, end: number, at: number): Sequence[] => {
    const out: Sequence[] = [];
    for (let next = first; next < end; ) {
      const start = next++;
      if (at === texts[start].length) {
        out.push(behind(start));
        continue;
      }
      while (next < end && texts[next][at] === texts[start][at]) next++;
      const after = next;
      const shared = sharedLength(texts[start], texts[after - 1]);
      const more = after - start === 1 ? behind(start) : [grammar.lazy(() => rest(start, after, shared))];
      out.push([...bytesInOrder(texts[start].subarray(at, shared)), ...more]);
    }
    return out;
  };
  return rest(0, texts.length, 0);
}
