import { expectDType, shapeError } from "./check.ts";
import { expectTensor } from "./host-values.ts";
import { defineOp } from "./op.ts";

export interface StringNormalizerAttrs {
  /** Default "none". */
  changeCase?: "none" | "lower" | "upper";
  /** Elements to remove. */
  stopwords?: readonly string[];
  /** Whether stop words match in their case only. Default false. */
  caseSensitive?: boolean;
  /** BCP 47 tag for the case rules, or en_US. Default: locale-independent. */
  locale?: string;
}

/** Removes stop words, then changes case: [C] or [1, C] strings. If nothing is left, one empty string. */
export const stringNormalizer = /* @__PURE__ */ defineOp({
  name: "stringNormalizer",
  inputs: ["x"],
  evaluate([value], { changeCase = "none", stopwords = [], caseSensitive = false, locale }: StringNormalizerAttrs) {
    const x = expectTensor("stringNormalizer", value);
    expectDType("stringNormalizer", x, "string");
    const rank = x.shape.length;
    if (rank < 1 || rank > 2 || (rank === 2 && x.shape[0] !== 1))
      shapeError("stringNormalizer", "takes strings of shape [C] or [1, C]", x);
    const tag = locale && localeTag(locale);
    const lower = (s: string): string => (tag ? s.toLocaleLowerCase(tag) : s.toLowerCase());
    const upper = (s: string): string => (tag ? s.toLocaleUpperCase(tag) : s.toUpperCase());
    const key = caseSensitive ? (s: string): string => s : lower;
    const stop = new Set(stopwords.map(key));
    const kept = (x.data as string[]).filter((s) => !stop.has(key(s)));
    const data = kept.map((s) => (changeCase === "lower" ? lower(s) : changeCase === "upper" ? upper(s) : s));
    if (data.length === 0) data.push("");
    return [{ dtype: "string", shape: rank === 1 ? [data.length] : [1, data.length], data }];
  },
});

/** `en_US.UTF-8` as `en-US`; undefined for names that are no language tags, such as `C`. */
function localeTag(locale: string): string | undefined {
  const tag = locale.split(".")[0].replaceAll("_", "-");
  try {
    return Intl.getCanonicalLocales(tag)[0];
  } catch {
    return undefined;
  }
}
