/** Special tokens inside a text: found by their names, the longest first. */

const escapePattern = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");

const patternOf = (names: readonly string[], trims: (name: string) => boolean): RegExp | undefined =>
  names.length === 0
    ? undefined
    : new RegExp(
        [...names]
          .sort((a, b) => b.length - a.length)
          .map((name) => escapePattern(name) + (trims(name) ? "\\s*" : ""))
          .join("|"),
        "gu",
      );

export class SpecialTokens {
  private readonly ids: ReadonlyMap<string, number>;
  private readonly all: RegExp | undefined;
  private readonly open: RegExp | undefined;

  /**
   * @param isOpen whether a token is taken out of any text, also where the caller allows no special tokens
   * @param trims whether one takes the white space behind it
   */
  constructor(
    entries: readonly (readonly [string, number])[],
    isOpen: (id: number) => boolean,
    trims: (name: string) => boolean = () => false,
  ) {
    const named = entries.filter(([name]) => name !== "");
    this.ids = new Map(named);
    this.all = patternOf(
      named.map(([name]) => name),
      trims,
    );
    this.open = patternOf(
      named.filter(([, id]) => isOpen(id)).map(([name]) => name),
      trims,
    );
  }

  /** Runs of plain text, and the tokens between them. No empty runs. */
  split(text: string, allowAll: boolean): (string | number)[] {
    const pattern = allowAll ? this.all : this.open;
    if (text === "") return [];
    if (!pattern) return [text];
    const out: (string | number)[] = [];
    let at = 0;
    for (const match of text.matchAll(pattern)) {
      if (match.index > at) out.push(text.slice(at, match.index));
      out.push(this.ids.get(match[0]) ?? this.ids.get(match[0].trimEnd())!);
      at = match.index + match[0].length;
    }
    if (at < text.length) out.push(text.slice(at));
    return out;
  }
}
