/** Stop strings in text that comes in pieces: what may be the beginning of one is held back. */
export class StopStrings {
  private held = "";

  constructor(private readonly stops: readonly string[]) {}

  /** The text that is safe to give out, and whether a stop string ends it. The stop string itself is dropped. */
  push(piece: string): { text: string; stopped: boolean } {
    const text = this.held + piece;
    const found = this.stops.map((s) => text.indexOf(s)).filter((i) => i >= 0);
    if (found.length > 0) {
      this.held = "";
      return { text: text.slice(0, Math.min(...found)), stopped: true };
    }
    const keep = Math.max(0, ...this.stops.map((s) => overlap(text, s)));
    this.held = text.slice(text.length - keep);
    return { text: text.slice(0, text.length - keep), stopped: false };
  }

  /** What was held back for nothing. */
  end(): string {
    const { held } = this;
    this.held = "";
    return held;
  }
}

/** The longest end of `text` that is a beginning of `stop`. */
function overlap(text: string, stop: string): number {
  for (let n = Math.min(text.length, stop.length - 1); n > 0; n--) if (text.endsWith(stop.slice(0, n))) return n;
  return 0;
}
