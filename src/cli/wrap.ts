/** Text that comes in pieces, broken between words at the edge of a terminal. */
export class WordWrap {
  private column = 0;
  /** The word under way, and the space before it. */
  private word = "";
  private gap = "";

  /** @param indent what every line after the first begins with */
  constructor(
    private readonly columns: number,
    private readonly indent = "",
  ) {}

  /** What can be shown of a piece: all but a word that may go on. */
  push(piece: string): string {
    let out = "";
    for (const c of piece) {
      if (c === "\n") out += `${this.flush()}\n${this.indent}`;
      else if (c === " " || c === "\t") {
        out += this.flush();
        this.gap += c;
        continue;
      } else {
        this.word += c;
        continue;
      }
      this.column = 0;
      this.gap = "";
    }
    return out;
  }

  end(): string {
    return this.flush();
  }

  private flush(): string {
    const { word, gap, column } = this;
    if (word === "") return "";
    this.word = this.gap = "";
    if (column > 0 && column + gap.length + word.length > this.columns) {
      this.column = word.length;
      return `\n${this.indent}${word}`;
    }
    this.column = column + gap.length + word.length;
    return gap + word;
  }
}
