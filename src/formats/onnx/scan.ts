/** The messages of a model file without the data of large initialisers, which becomes external data of the same file. */
import { FormatError } from "../../tensor/errors.ts";
import { type ByteSource, checkRange } from "../source.ts";
import { largeData } from "./tensor-proto.ts";

/** The location that such tensors have: no file beside the model can be called this. */
export const ownFile = ".";

// Small: most of what follows a large tensor is the next one, and pieces keep the windows that they are in.
const windowBytes = 1 << 14;

/** Which fields hold the messages on the way to initialisers, and the data in them. */
interface Level {
  readonly field: number;
  readonly inner?: Level;
}
const modelLevel: Level = { field: 7, inner: { field: 5, inner: { field: 9 } } };

/**
 * The bytes of the model, with the data of large initialisers replaced by references to `ownFile`.
 * @throws FormatError for what isn't protobuf
 */
export async function withoutWeights(source: ByteSource, signal?: AbortSignal): Promise<Uint8Array> {
  return concatenate(await new Scan(source, signal).message(modelLevel, source.size));
}

class Scan {
  private at = 0;
  private window: Uint8Array = new Uint8Array(0);
  private windowAt = 0;

  constructor(
    private readonly source: ByteSource,
    private readonly signal?: AbortSignal,
  ) {}

  async message({ field: wanted, inner }: Level, end: number): Promise<Uint8Array[]> {
    const pieces: Uint8Array[] = [];
    while (this.at < end) {
      const start = this.at;
      const tag = await this.varint();
      const type = tag & 7;
      const length = await this.lengthOf(type);
      const from = this.at;
      const to = from + length;
      if (to > end) this.fail("a field reaches past the end of its message", start);
      if (type === 2 && tag >>> 3 === wanted && inner) {
        const content = await this.message(inner, to);
        pieces.push(varints(tag, sizeOf(content)), ...content);
      } else if (type === 2 && tag >>> 3 === wanted && length >= largeData) pieces.push(reference(from, length));
      else pieces.push(await this.bytes(start, to));
      this.at = to;
    }
    return pieces;
  }

  /** Bytes of a field's content after the cursor; a varint is passed over. */
  private async lengthOf(type: number): Promise<number> {
    if (type === 1) return 8;
    if (type === 5) return 4;
    if (type !== 0 && type !== 2) this.fail(`wire type ${type}`, this.at);
    const value = await this.varint();
    return type === 2 ? value : 0;
  }

  private async varint(): Promise<number> {
    const start = this.at;
    let value = 0;
    for (let factor = 1; factor < 2 ** 70; factor *= 128) {
      if (this.at >= this.source.size) break;
      if (this.at < this.windowAt || this.at >= this.windowAt + this.window.length) await this.move();
      const b = this.window[this.at++ - this.windowAt];
      value += (b & 127) * factor;
      if (b < 128) return value;
    }
    return this.fail("a malformed number", start);
  }

  private async move(): Promise<void> {
    const length = Math.min(windowBytes, this.source.size - this.at);
    this.window = await this.source.read(this.at, length, this.signal);
    this.windowAt = this.at;
  }

  private async bytes(from: number, to: number): Promise<Uint8Array> {
    const { window, windowAt } = this;
    if (from >= windowAt && to <= windowAt + window.length) return window.subarray(from - windowAt, to - windowAt);
    checkRange(this.source, from, to - from);
    return this.source.read(from, to - from, this.signal);
  }

  private fail(what: string, offset: number): never {
    throw new FormatError(`${this.source.name}: malformed protobuf at byte ${offset}: ${what}`, { offset });
  }
}

const sizeOf = (pieces: readonly Uint8Array[]): number => pieces.reduce((n, p) => n + p.length, 0);

function concatenate(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(sizeOf(pieces));
  let at = 0;
  for (const p of pieces) {
    all.set(p, at);
    at += p.length;
  }
  return all;
}

function varints(...values: number[]): Uint8Array {
  const out: number[] = [];
  for (let v of values) {
    for (; v >= 128; v = Math.floor(v / 128)) out.push((v % 128) | 128);
    out.push(v);
  }
  return Uint8Array.from(out);
}

/** TensorProto's `external_data` (13: entries of key 1 and value 2) and `data_location` (14) = EXTERNAL. */
function reference(offset: number, length: number): Uint8Array {
  const text = new TextEncoder();
  const delimited = (field: number, content: Uint8Array): Uint8Array =>
    concatenate([varints(field * 8 + 2, content.length), content]);
  const entry = (key: string, value: string | number): Uint8Array =>
    delimited(13, concatenate([delimited(1, text.encode(key)), delimited(2, text.encode(`${value}`))]));
  return concatenate([
    entry("location", ownFile),
    entry("offset", offset),
    entry("length", length),
    varints(14 * 8, 1),
  ]);
}
