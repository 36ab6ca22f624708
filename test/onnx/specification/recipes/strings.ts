/** Recipes of ONNX strings. */
import { always, node, type Recipes, values } from "../recipe.ts";

export const stringsRecipes: Readonly<Record<string, Recipes>> = {
  RegexFullMatch: always(node([values("a", "ab")], { pattern: "a." })),
  StringConcat: always(node([values("a", "b"), values("c")])),
  StringNormalizer: always(
    node([values("Monday", "tuesday")], { case_change_action: "UPPER", is_case_sensitive: 1, stopwords: ["tuesday"] }),
    node([values("Monday", "tuesday")], { case_change_action: "LOWER", locale: "en_US" }),
  ),
  StringSplit: always(node([values("a b", "c")], {}, 2), node([values("a,b,c")], { delimiter: ",", maxsplit: 1 }, 2)),
  TfIdfVectorizer: ({ dtypes }) => {
    const shared = {
      mode: "TF",
      min_gram_length: 1,
      max_gram_length: 1,
      max_skip_count: 0,
      ngram_counts: [0],
      ngram_indexes: [0, 1],
    };
    return dtypes["T"] === "string"
      ? [node([values("a", "b", "a")], { ...shared, pool_strings: ["a", "b"] })]
      : [
          node([values(1, 2, 1)], { ...shared, pool_int64s: [1, 2] }),
          node([values(1, 2, 1)], { ...shared, mode: "TFIDF", pool_int64s: [1, 2], weights: [2, 3] }),
          node([values(1, 2, 1)], { ...shared, mode: "IDF", pool_int64s: [1, 2], weights: [2, 3] }),
        ];
  },
};
