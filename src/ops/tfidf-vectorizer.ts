import { expectDType, expectRank, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

export interface TfidfVectorizerAttrs {
  /** TF: counts. IDF: the weight where there is any. TFIDF: count times weight. */
  mode: "TF" | "IDF" | "TFIDF";
  minGramLength: number;
  maxGramLength: number;
  /** Up to this many items between two of an n-gram. */
  maxSkipCount: number;
  /** Start of the 1-grams, 2-grams, ... in the pool. */
  ngramCounts: readonly number[];
  /** Position in the result of each n-gram of the pool. */
  ngramIndexes: readonly number[];
  /** Items of all n-grams, one after the other. */
  pool: readonly (string | number)[];
  /** One for each n-gram. Default: 1. */
  weights?: readonly number[];
}

/** Items can't contain the separator's role because each is preceded by its length. */
const keyOf = (items: readonly (string | number)[]): string => items.map((v) => `${String(v).length}:${v}`).join("");

/** The number of each n-gram of the pool, by its items. */
function poolOf({ pool, ngramCounts, minGramLength, maxGramLength }: TfidfVectorizerAttrs): Map<string, number> {
  const ids = new Map<string, number>();
  let id = 0;
  ngramCounts.forEach((start, i) => {
    const n = i + 1;
    const end = ngramCounts[i + 1] ?? pool.length;
    if (start > end || (end - start) % n !== 0)
      shapeError("tfidfVectorizer", `${end - start} pool items from ${start} are no ${n}-grams`);
    for (let at = start; at < end; at += n, id++)
      if (n >= minGramLength && n <= maxGramLength) ids.set(keyOf(pool.slice(at, at + n)), id);
  });
  return ids;
}

/** Counts of the pool's n-grams in each row of `x` ([C] or [N, C]; strings, i32 or i64), as f32. */
export const tfidfVectorizer = /* @__PURE__ */ defineOp({
  name: "tfidfVectorizer",
  inputs: ["x"],
  infer([x], { ngramIndexes }: TfidfVectorizerAttrs) {
    expectDType("tfidfVectorizer", x, "string", "i32", "i64");
    expectRank("tfidfVectorizer", x, 1, 2);
    const width = ngramIndexes.reduce((m, i) => Math.max(m, i), -1) + 1;
    return { dtype: "f32", shape: [...x.shape.slice(0, -1), width] };
  },
  reference([x], attrs, [y]) {
    const { mode, minGramLength, maxGramLength, maxSkipCount, ngramIndexes, weights } = attrs;
    const ids = poolOf(attrs);
    const length = x.shape.at(-1)!;
    const width = y.shape.at(-1)!;
    const rows = x.shape.length === 2 ? x.shape[0] : 1;
    const items = Array.from(x.data as string[], (v) => (typeof v === "string" ? v : Number(v)));
    const out = y.data as Float32Array;
    for (let r = 0; r < rows; r++) {
      const row = items.slice(r * length, (r + 1) * length);
      const counts = new Float64Array(ngramIndexes.length);
      for (let n = minGramLength; n <= maxGramLength; n++)
        // A single item has no gaps: skipping would count it again.
        for (let gap = 1; gap <= (n === 1 ? 1 : maxSkipCount + 1); gap++)
          for (let at = 0; at + (n - 1) * gap < length; at++) {
            const id = ids.get(keyOf(Array.from({ length: n }, (_, k) => row[at + k * gap])));
            if (id !== undefined) counts[id]++;
          }
      counts.forEach((count, id) => {
        const weight = mode === "TF" ? 1 : (weights?.[id] ?? 1);
        out[r * width + ngramIndexes[id]] += (mode === "IDF" ? Math.min(count, 1) : count) * weight;
      });
    }
  },
});
