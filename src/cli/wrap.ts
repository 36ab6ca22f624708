/** Text that comes in pieces, broken between words at the edge of a terminal. */
import type { CliIO } from "./command.ts";
import { printable } from "./progress.ts";

/** Marks on the character before them, and what joins characters. */
const narrow = /^[\p{M}\p{Cf}\p{Emoji_Modifier}]$/u;
/** Two columns each: scripts that have no spaces, and pictures. */
const wide =
  /^[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\u3000-\u303f\uff01-\uff60\p{Emoji_Presentation}]$/u;

const columnsOf = (c: string): number => (narrow.test(c) ? 0 : wide.test(c) ? 2 : 1);

export class WordWrap {
  private column = 0;
  /** The word under way, its columns, and the space before it. */
  private word = "";
  private width = 0;
  private gap = "";
  private afterWide = false;
  /** Whether the word began before what is under way. */
  private goesOn = false;

  /** @param indent what every line after the first begins with */
  constructor(
    private readonly columns: number,
    private readonly indent = "",
  ) {}

  /** What can be shown of a piece: all but a word that may go on. */
  push(piece: string): string {
    let out = "";
    for (const c of piece) {
      if (c === "\n") {
        out += `${this.flush()}\n${this.indent}`;
        this.column = 0;
        this.gap = "";
      } else if (c === " " || c === "\t") {
        out += this.flush();
        this.gap += c;
      } else {
        // A picture may be several, joined.
        const size = this.word.endsWith("\u200d") ? 0 : columnsOf(c);
        // Lines may end before and after wide characters.
        if (size === 2 || (size === 1 && this.afterWide)) out += this.flush();
        // A word that fills a line is left to the terminal: an address that is broken can't be copied.
        else if (this.width + size > this.columns) {
          out += this.flush();
          this.goesOn = true;
        }
        this.word += c;
        if (size > 0) this.afterWide = size === 2;
        this.width += size;
      }
    }
    return out;
  }

  end(): string {
    return this.flush();
  }

  private flush(): string {
    const { word, gap, column, width } = this;
    if (word === "") return "";
    this.word = this.gap = "";
    this.width = 0;
    this.afterWide = false;
    const begins = !this.goesOn;
    this.goesOn = false;
    if (begins && column > 0 && column + gap.length + width > this.columns) {
      this.column = width;
      return `\n${this.indent}${word}`;
    }
    this.column = column + gap.length + width;
    return gap + word;
  }
}

/** What a terminal takes, which need not know its width. */
export const wrapFor = ({ columns }: CliIO["stdout"]): WordWrap => new WordWrap((columns || 80) - 1);

/** A whole text as the standard error takes it: on a terminal broken between words, and without control characters. */
export function wrapped({ stderr }: CliIO, text: string): string {
  if (!stderr.isTTY) return text;
  const wrap = wrapFor(stderr);
  return wrap.push(printable(text)) + wrap.end();
}
