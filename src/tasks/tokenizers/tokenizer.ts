/** Text to token numbers and back. */
import { InputError } from "../../tensor/errors.ts";

export interface EncodeOptions {
  /** Put the model's first token in front, where it has one and wants it. Default true. */
  readonly begin?: boolean;
  /** Take `<|name|>` and the like for the special tokens of that name. Default false: users may write what they like. */
  readonly special?: boolean;
}

export interface Tokenizer {
  readonly size: number;
  /** The token a text begins with. */
  readonly begin: number | undefined;
  /** Whether texts get a space in front that is not theirs. */
  readonly leadingSpace?: boolean;
  /** The tokens an answer ends with. */
  readonly end: ReadonlySet<number>;
  /** @throws InputError for anything but a text */
  encode(text: string, options?: EncodeOptions): number[];
  /** Two texts as an encoder takes them together, with its marks around them; of each token the text, 0 or 1, by the model's rule. */
  pair?(first: string, second: string): { ids: number[]; types: number[] };
  /** The bytes a token stands for: none for special tokens. They may be part of a character. */
  bytes(token: number): Uint8Array;
  /** The name of a special token, `<|eot_id|>`. */
  specialName(token: number): string | undefined;
}

/** @throws InputError for anything but a text */
export function checkText(text: string): void {
  if (typeof text !== "string") throw new InputError(`encode: takes a text, got ${typeof text}`);
}

/** Of options. @throws InputError for anything but a tokenizer or none */
export function checkTokenizer(who: string, tokenizer: Tokenizer | undefined): void {
  if (tokenizer !== undefined && typeof tokenizer?.encode !== "function")
    throw new InputError(`${who}: tokenizer takes a Tokenizer, as that of another model`);
}

/** Where tokens stand among others: the first time, or the last. */
export function placeOf(own: readonly number[], ids: readonly number[], last = false): number | undefined {
  const end = ids.length - own.length;
  for (let i = 0; i <= end; i++) {
    const at = last ? end - i : i;
    if (own.every((id, k) => id === ids[at + k])) return at;
  }
  return undefined;
}

/** The text of tokens. Bytes that are not UTF-8 become U+FFFD. */
export function decode(tokenizer: Tokenizer, tokens: Iterable<number>): string {
  const stream = new TextStream(tokenizer, true);
  let text = "";
  for (const t of tokens) text += stream.push(t);
  return text + stream.end();
}

/** Tokens to text as they come: never half a character. */
export class TextStream {
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  private strip: boolean;

  /** @param begins whether these tokens begin a text, and do not continue one */
  constructor(
    private readonly tokenizer: Pick<Tokenizer, "bytes" | "leadingSpace">,
    begins: boolean,
  ) {
    this.strip = begins && tokenizer.leadingSpace === true;
  }

  /** The text that is complete now, possibly none. */
  push(token: number): string {
    const text = this.decoder.decode(this.tokenizer.bytes(token), { stream: true });
    if (!this.strip || text === "") return text;
    this.strip = false;
    return text.startsWith(" ") ? text.slice(1) : text;
  }

  /** What is left of a character that was never finished. */
  end(): string {
    return this.decoder.decode();
  }
}
