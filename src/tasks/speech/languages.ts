/** What the languages of Whisper are called. */

/** Whisper's own names and codes, where `Intl` has others: https://github.com/openai/whisper/blob/main/whisper/tokenizer.py */
const codes: ReadonlyMap<string, string> = new Map(
  (
    "bengali bn,burmese my,castilian es,flemish nl,haitian ht,jv jw,letzeburgesch lb,mandarin zh,maori mi,moldavian ro," +
    "moldovan ro,myanmar my,nynorsk nn,panjabi pa,pushto ps,sinhalese si,tagalog tl,valencian ca"
  )
    .split(",")
    .map((entry) => entry.split(" ") as [string, string]),
);

/**
 * Which of the languages is meant; undefined for none of them.
 * @param name ISO code or English name, as `Intl` or Whisper have it
 * @param languages by their codes
 */
export function languageNamed(name: string, languages: Iterable<string>): string | undefined {
  const asked = name.toLowerCase();
  const names = new Intl.DisplayNames("en", { type: "language" });
  const wanted = codes.get(asked);
  return [...languages].find((c) => c === asked || c === wanted || names.of(c)?.toLowerCase() === asked);
}
