import { FormatError } from "../../tensor/errors.ts";
import { decodeUtf8 } from "../../tensor/utf8.ts";
import type { ByteSource } from "../source.ts";
import type { StringList } from "../string-list.ts";

/** What is read next ends beyond the bytes at hand, but not beyond the file. */
class Missing {
  constructor(readonly end: number) {}
}

/** Bytes of one read. Over a network it is four times what was read before, if that is more. */
const readBytes = 1 << 17;

/**
 * Reads little-endian values from the beginning of a file, whose header's length is written nowhere. A part of it is at hand,
 * which moves on with what is read: everything is read once, but for what lies across the end of a part.
 */
export class Cursor {
  /** In the file, as all offsets are. */
  at = 0;
  /** Of the whole file, in bytes. */
  readonly size: number;
  private bytes: Uint8Array = new Uint8Array(0);
  private view = new DataView(this.bytes.buffer);
  /** Where `bytes` begins. */
  private base = 0;
  /** What is before it is not read again. */
  private kept = 0;

  constructor(private readonly source: ByteSource) {
    this.size = source.size;
  }

  /**
   * What `work` reads. Whenever it needs bytes that are not at hand it is called again, from where it began or last called
   * `keep`, with more of them.
   */
  async whole<T>(work: () => T): Promise<T> {
    this.kept = this.at;
    for (;;) {
      try {
        return work();
      } catch (e) {
        if (!(e instanceof Missing)) throw e;
        await this.load(e.end);
      }
    }
  }

  keep(): void {
    this.kept = this.at;
  }

  /** Moves the part on: from `kept` to `end` or further. */
  private async load(end: number): Promise<void> {
    const loaded = this.base + this.bytes.length;
    const wanted = Math.max(readBytes, end - loaded, this.source.local ? 0 : 3 * loaded);
    const more = await this.source.read(loaded, Math.min(wanted, this.size - loaded));
    const rest = this.bytes.subarray(this.kept - this.base);
    if (rest.length === 0) this.bytes = more;
    else {
      this.bytes = new Uint8Array(rest.length + more.length);
      this.bytes.set(rest);
      this.bytes.set(more, rest.length);
    }
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
    this.base = this.kept;
    this.at = this.kept;
  }

  fail(message: string, offset: number): never {
    throw new FormatError(`${this.source.name}: ${message} (byte ${offset})`, { offset });
  }

  /** Moves on by `length` bytes, and returns where they begin in `bytes`. */
  private take(length: number): number {
    const { at } = this;
    const end = at + length;
    if (end > this.base + this.bytes.length) {
      if (end > this.size) this.fail(`the file of ${this.size} bytes ends inside its header`, at);
      throw new Missing(end);
    }
    this.at = end;
    return at - this.base;
  }

  u8 = (): number => this.view.getUint8(this.take(1));
  i8 = (): number => this.view.getInt8(this.take(1));
  u16 = (): number => this.view.getUint16(this.take(2), true);
  i16 = (): number => this.view.getInt16(this.take(2), true);
  u32 = (): number => this.view.getUint32(this.take(4), true);
  i32 = (): number => this.view.getInt32(this.take(4), true);
  f32 = (): number => this.view.getFloat32(this.take(4), true);
  f64 = (): number => this.view.getFloat64(this.take(8), true);
  bigU64 = (): bigint => this.view.getBigUint64(this.take(8), true);
  bigI64 = (): bigint => this.view.getBigInt64(this.take(8), true);

  /** Beyond 2^53 it is rounded. */
  private float64(): number {
    const at = this.take(8);
    const low = this.view.getUint32(at, true);
    const high = this.view.getUint32(at + 4, true);
    // What is computed with 2^32 is a float to engines, and so is everything after it.
    return high === 0 ? low : low + high * 2 ** 32;
  }

  /** A u64 that must be an exact number. */
  u64(what: string): number {
    const { at } = this;
    const value = this.float64();
    if (!Number.isSafeInteger(value)) this.fail(`${what} is ${value}, beyond 2^53`, at);
    return value;
  }

  /** A number of things that take at least `bytesEach` of the rest of the file. */
  count(bytesEach: number, what: string): number {
    const { at } = this;
    const n = this.float64();
    if (n * bytesEach > this.size - this.at) this.fail(`${n} ${what} do not fit in the file of ${this.size} bytes`, at);
    return n;
  }

  /** `length` bytes, copied: aligned for any element type. */
  async copy(length: number): Promise<ArrayBuffer> {
    const out = new Uint8Array(length);
    let filled = 0;
    await this.whole(() => {
      while (filled < length) {
        const n = Math.min(length - filled, Math.max(1, this.base + this.bytes.length - this.at));
        const from = this.take(n);
        out.set(this.bytes.subarray(from, from + n), filled);
        filled += n;
        this.keep();
      }
    });
    return out.buffer;
  }

  /** Appends strings to `list` until it has `n`. */
  async strings(list: StringList, n: number): Promise<void> {
    await this.whole(() => {
      while (list.length < n) {
        const { at } = this;
        const length = this.count(1, "bytes of a string");
        const from = this.take(length);
        if (list.byteLength + length >= 2 ** 32) this.fail("the strings of an array have more than 4 GiB", at);
        list.push(this.bytes, from, from + length);
        this.keep();
      }
    });
  }

  /** A string's bytes as text. Invalid UTF-8 becomes U+FFFD. */
  text(): string {
    const length = this.count(1, "bytes of a string");
    const from = this.take(length);
    return decodeUtf8(this.bytes.subarray(from, from + length));
  }

  /** As `text`, where invalid UTF-8 would make names collide. */
  name(what: string): string {
    const length = this.count(1, `bytes of a ${what}`);
    const { at } = this;
    const from = this.take(length);
    try {
      return (strict ??= new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })).decode(
        this.bytes.subarray(from, from + length),
      );
    } catch {
      return this.fail(`${what} is not UTF-8`, at);
    }
  }
}

/** Made when it is needed: see src/tensor/utf8.ts. */
let strict: TextDecoder | undefined;
