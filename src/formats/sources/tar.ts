/** Files of a tar archive, as it streams in: ustar with the extensions of pax and GNU. Source: POSIX.1-2008, pax. */
import { FormatError } from "../../tensor/errors.ts";

export interface TarFile {
  readonly path: string;
  readonly size: number;
  /** Its content in pieces. To be read before the next file is asked for; what is left is passed over. */
  readonly content: AsyncIterable<Uint8Array>;
}

const blockBytes = 512;
/** Extended headers are a few names and numbers. */
const maxExtension = 1 << 20;

/** @throws FormatError with byte offset for what isn't a tar archive, or ends early */
export async function* tarFiles(stream: ReadableStream<Uint8Array>, name = "tar"): AsyncGenerator<TarFile> {
  const input = new Pieces(stream, name);
  try {
    let extended: { path?: string; size?: number } = {};
    for (;;) {
      const at = input.at;
      const header = await input.take(blockBytes);
      // Archives end with blocks of zeros, some without.
      if (!header || header.every((b) => b === 0)) return;
      const { type, path, size: own } = parseHeader(header, (what) => input.fail(what, at));
      const size = type === "0" ? (extended.size ?? own) : own;
      const end = input.at + Math.ceil(size / blockBytes) * blockBytes;
      if (type === "x" || type === "L") {
        if (size > maxExtension) input.fail(`an extended header of ${size} bytes`, at);
        const content = (await input.take(size)) ?? input.fail("it ends early", input.at);
        extended = { ...extended, ...(type === "x" ? paxRecords(content) : { path: textOf(content) }) };
      } else {
        if (type === "0") yield { path: extended.path ?? path, size, content: input.pieces(size) };
        extended = {};
      }
      await input.skipTo(end);
    }
  } finally {
    await input.cancel();
  }
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).replace(/\0.*$/s, "");

function parseHeader(b: Uint8Array, fail: (what: string) => never): { type: string; path: string; size: number } {
  const text = (from: number, length: number): string => textOf(b.subarray(from, from + length));
  const number = (from: number, length: number): number => {
    // Sizes beyond eight octal digits are binary, with the top bit set.
    if (b[from] & 0x80) return b.subarray(from + 1, from + length).reduce((n, byte) => n * 256 + byte, 0);
    const digits = text(from, length).trim();
    return /^[0-7]*$/.test(digits) ? Number.parseInt(digits || "0", 8) : fail(`the number "${digits}"`);
  };
  let sum = 8 * 0x20;
  for (let i = 0; i < blockBytes; i++) if (i < 148 || i >= 156) sum += b[i];
  if (number(148, 8) !== sum) fail("a header with a wrong checksum");
  const size = number(124, 12);
  if (!Number.isSafeInteger(size)) fail(`a file of ${size} bytes`);
  const prefix = text(257, 5) === "ustar" && b[262] === 0 ? text(345, 155) : "";
  const path = prefix ? `${prefix}/${text(0, 100)}` : text(0, 100);
  const type = b[156] === 0 ? "0" : String.fromCharCode(b[156]);
  return { type: path.endsWith("/") && type === "0" ? "5" : type, path, size };
}

/** Records are `LENGTH KEY=VALUE` and a line end; the length counts all of that, in bytes. */
function paxRecords(bytes: Uint8Array): { path?: string; size?: number } {
  const found: { path?: string; size?: number } = {};
  for (let at = 0; at < bytes.length; ) {
    const length = Number.parseInt(textOf(bytes.subarray(at, at + 20)), 10);
    if (!(length > 0)) break;
    const [, key, value] = /^\d+ ([^=]+)=(.*)\n$/s.exec(textOf(bytes.subarray(at, at + length))) ?? [];
    if (key === "path") found.path = value;
    if (key === "size") found.size = Number(value);
    at += length;
  }
  return found;
}

/** A stream by the byte. */
class Pieces {
  at = 0;
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private rest: Uint8Array = new Uint8Array(0);

  constructor(
    stream: ReadableStream<Uint8Array>,
    private readonly name: string,
  ) {
    this.reader = stream.getReader();
  }

  fail(what: string, at: number): never {
    throw new FormatError(`${this.name}: ${what} in the archive (byte ${at})`, { offset: at });
  }

  cancel = (): Promise<void> => this.reader.cancel();

  /** At most `length` bytes, undefined at the end. */
  private async some(length: number): Promise<Uint8Array | undefined> {
    while (this.rest.length === 0) {
      const { done, value } = await this.reader.read();
      if (done) return undefined;
      this.rest = value;
    }
    const piece = this.rest.subarray(0, length);
    this.rest = this.rest.subarray(piece.length);
    this.at += piece.length;
    return piece;
  }

  /** Exactly `length` bytes; undefined where the stream is at its end. */
  async take(length: number): Promise<Uint8Array | undefined> {
    const out = new Uint8Array(length);
    let n = 0;
    for await (const piece of this.pieces(length, true)) {
      out.set(piece, n);
      n += piece.length;
    }
    return n === length ? out : undefined;
  }

  async *pieces(length: number, mayEnd = false): AsyncGenerator<Uint8Array> {
    for (let left = length; left > 0; ) {
      const piece = await this.some(left);
      if (!piece) {
        if (mayEnd && left === length) return;
        this.fail("it ends early", this.at);
      }
      left -= piece.length;
      yield piece;
    }
  }

  async skipTo(end: number): Promise<void> {
    for await (const _ of this.pieces(end - this.at));
  }
}
