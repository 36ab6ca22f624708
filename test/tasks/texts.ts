/** Texts for tokenizers. */
import fc from "fast-check";

const units = ["grapheme", "grapheme-composite", "grapheme-ascii", "binary", "binary-ascii"] as const;
/** What tokenizers stumble over, besides single characters of every kind. */
const fragments = [
  ..."The| quick| brown|don't|I'LL|'s|'S|'re| 12|345|1,234.5e-6|  |    |\t|\t\t|\n|\n\n|\r\n| \n |\f|\v|\0".split("|"),
  ..."日本語|中文字符|한국어|漢字かな|Ελληνικά|ςΣ|русский|عربي|हिन्दी|ไทย|naïve|ß|İ|ſ|Ǆ|ﬁ|é|e\u0301|a\u0308".split("|"),
  ..."👍|👍🏽|👩‍👩‍👧|🇩🇪|☃|𝒳|²|½|٣|ａ|\u200b|\u00a0|\u1680|\u2028|\u3000|\u0085|\ufeff|▁|<0x0A>|\ud800|\udc00".split(
    "|",
  ),
  "def f(x):\n    return x[0]",
  "const a = { b: [1, 2] };\n",
  "// TODO",
  "__init__",
  "<div class='a'>",
  "https://example.org/?q=1&r=%20",
  "||",
];

/** Fragments alone and mixed, and strings of every kind. */
export const texts = (seed: number): string[] => {
  const mixed = fc.array(fc.constantFrom(...fragments), { maxLength: 12 }).map((a) => a.join(""));
  return [
    ...fragments,
    ...fc.sample(mixed, { numRuns: 600, seed }),
    ...units.flatMap((unit) => fc.sample(fc.string({ unit, maxLength: 40 }), { numRuns: 120, seed })),
  ];
};

/** With U+FFFD for halves of pairs. */
export const wellFormed = (text: string): string => Buffer.from(text).toString();
