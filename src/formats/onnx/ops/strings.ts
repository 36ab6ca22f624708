/** ONNX string operators -> ours. */
import { regexFullMatch } from "../../../ops/regex-full-match.ts";
import { stringConcat } from "../../../ops/string-concat.ts";
import { stringNormalizer } from "../../../ops/string-normalizer.ts";
import { stringSplit } from "../../../ops/string-split.ts";
import { tfidfVectorizer } from "../../../ops/tfidf-vectorizer.ts";
import type { LoweringTable } from "../node.ts";
import { choice } from "./choice.ts";

const cases = { NONE: "none", LOWER: "lower", UPPER: "upper" } as const;

export const stringLowerings: LoweringTable = {
  StringConcat: (n) => stringConcat(n.input(0), n.input(1)),
  StringSplit: (n) => stringSplit(n.input(0), { delimiter: n.string("delimiter"), maxSplit: n.int("maxsplit") }),
  StringNormalizer: (n) =>
    stringNormalizer(n.input(0), {
      changeCase: cases[choice(n, "case_change_action", ["NONE", "LOWER", "UPPER"]) ?? "NONE"],
      stopwords: n.strings("stopwords"),
      caseSensitive: n.flag("is_case_sensitive"),
      locale: n.string("locale"),
    }),
  RegexFullMatch: (n) => regexFullMatch(n.input(0), { pattern: n.string("pattern") ?? n.missing("pattern") }),
  TfIdfVectorizer: (n) => {
    const int = (name: string): number => n.int(name) ?? n.missing(name);
    return tfidfVectorizer(n.input(0), {
      mode: choice(n, "mode", ["TF", "IDF", "TFIDF"]) ?? n.missing("mode"),
      minGramLength: int("min_gram_length"),
      maxGramLength: int("max_gram_length"),
      maxSkipCount: int("max_skip_count"),
      ngramCounts: n.ints("ngram_counts") ?? n.missing("ngram_counts"),
      ngramIndexes: n.ints("ngram_indexes") ?? n.missing("ngram_indexes"),
      pool: n.strings("pool_strings") ?? n.ints("pool_int64s") ?? n.missing("pool_strings"),
      weights: n.floats("weights"),
    });
  },
};
