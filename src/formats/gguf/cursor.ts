import { FormatError } from "../../tensor/errors.ts";

/** The parser reached the end of the bytes at hand, but not of the file. */
export class TruncatedView extends Error {}

/** Reads little-endian values from the beginning of a file, of which `bytes` are loaded. */
export class Cursor {
  at = 0;
  private readonly view: DataView;

  constructor(
    private readonly fileName: string,
    private readonly bytes: Uint8Array,
    /** Of the whole file, in bytes. */
    readonly size: number,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  fail(message: string, offset: number): never {
    throw new FormatError(`${this.fileName}: ${message} (byte ${offset})`, { offset });
  }

  /** Moves on by `length` bytes, which must be loaded, and returns where they begin. */
  take(length: number): number {
    const { at } = this;
    if (at + length > this.bytes.length) {
      if (at + length > this.size) this.fail(`the file of ${this.size} bytes ends inside its header`, at);
      throw new TruncatedView();
    }
    this.at = at + length;
    return at;
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

  /** A u64 that must be an exact number. */
  u64(what: string): number {
    const at = this.take(8);
    const value = this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * 2 ** 32;
    if (!Number.isSafeInteger(value)) this.fail(`${what} is ${value}, beyond 2^53`, at);
    return value;
  }

  /** A number of things that take at least `bytesEach` of the rest of the file. */
  count(bytesEach: number, what: string): number {
    const { at } = this;
    const n = this.u64(`the number of ${what}`);
    if (n * bytesEach > this.size - this.at) this.fail(`${n} ${what} do not fit in the file of ${this.size} bytes`, at);
    return n;
  }

  /** `length` bytes, copied: aligned for any element type. */
  copy(length: number): ArrayBuffer {
    const at = this.take(length);
    return this.bytes.slice(at, at + length).buffer;
  }

  /** A string's bytes as text. Invalid UTF-8 becomes U+FFFD: vocabularies hold pieces of characters. */
  text(): string {
    const length = this.count(1, "bytes of a string");
    const at = this.take(length);
    return lenient.decode(this.bytes.subarray(at, at + length));
  }

  /** As `text`, where invalid UTF-8 would make names collide. */
  name(what: string): string {
    const length = this.count(1, `bytes of a ${what}`);
    const at = this.take(length);
    try {
      return strict.decode(this.bytes.subarray(at, at + length));
    } catch {
      return this.fail(`${what} is not UTF-8`, at);
    }
  }
}

const lenient = new TextDecoder("utf-8", { ignoreBOM: true });
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
