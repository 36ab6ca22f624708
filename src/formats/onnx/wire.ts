/**
 * The protobuf wire format with every length checked: `pbf` does the decoding, this adds the bounds, so that no file,
 * however broken, makes it hang, read outside a message or allocate more than the file holds.
 */
import { PbfReader } from "pbf";
import { FormatError } from "../../tensor/errors.ts";
import { decodeUtf8 } from "../../tensor/utf8.ts";

/** As deep as protobuf's own readers go. A graph inside a graph costs three levels. */
const maxDepth = 100;

enum WireType {
  Varint = 0,
  Fixed64 = 1,
  Bytes = 2,
  Fixed32 = 5,
}

/** A string of a list, and where its bytes are. */
export interface KnownString {
  readonly start: number;
  readonly length: number;
  readonly text: string;
}

/** As many as there are modes that a node of a tree may have. */
const maxKnown = 8;

/** A cursor over a message. Methods read the field that `fields` has just announced. */
export class WireReader {
  private readonly pbf: PbfReader;
  private end: number;
  private depth = 0;

  private constructor(
    bytes: Uint8Array,
    private readonly what: string,
  ) {
    this.pbf = new PbfReader(bytes);
    this.end = bytes.length;
  }

  /**
   * Decodes `bytes` as one message. Errors begin with `what`.
   * @throws FormatError with the byte offset for anything that isn't protobuf
   */
  static read<T>(bytes: Uint8Array, what: string, decode: (wire: WireReader) => T): T {
    // A plain view: Node's Buffer has other ideas of slice().
    const wire = new WireReader(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), what);
    try {
      return decode(wire);
    } catch (e) {
      // What pbf throws: an Error for bad varints and wire types, a RangeError past the end.
      const fromPbf = e instanceof RangeError || (e instanceof Error && Object.getPrototypeOf(e) === Error.prototype);
      if (!fromPbf) throw e;
      const offset = Math.min(wire.pbf.pos, bytes.length);
      throw new FormatError(`${what}: malformed protobuf at byte ${offset}: ${(e as Error).message}`, {
        offset,
        cause: e,
      });
    }
  }

  /** Where the cursor is. */
  get offset(): number {
    return this.pbf.pos;
  }

  fail(what: string, offset = this.pbf.pos): never {
    throw new FormatError(`${this.what}: ${what} (at byte ${offset})`, { offset });
  }

  /** Calls `visit` with the number of each field of the message; fields that it doesn't read are skipped. */
  fields(visit: (field: number) => void): void {
    const { pbf, end } = this;
    for (;;) {
      const field = pbf.nextField(end);
      if (pbf.pos > end) this.fail("a field reaches past the end of its message", end);
      if (field === 0) {
        if (pbf.pos < end) this.fail("field number 0");
        return;
      }
      visit(field);
    }
  }

  /** A nested message. */
  message<T>(decode: (wire: WireReader) => T): T {
    const outer = this.end;
    this.end = this.spanEnd();
    if (++this.depth > maxDepth) this.fail(`messages nest deeper than ${maxDepth} levels`);
    const result = decode(this);
    this.depth--;
    this.end = outer;
    return result;
  }

  /** A view of the field's bytes: nothing is copied. */
  bytes(): Uint8Array {
    const end = this.spanEnd();
    const view = this.pbf.buf.subarray(this.pbf.pos, end);
    this.pbf.pos = end;
    return view;
  }

  string(): string {
    return decodeUtf8(this.bytes());
  }

  /** An int64 or enum as a number. Beyond 2^53 the nearest double. */
  int(): number {
    this.expect(WireType.Varint);
    return this.pbf.readVarint(true);
  }

  /** An int64, exactly: a bigint where no number is it. */
  exact(): number | bigint {
    this.expect(WireType.Varint);
    return this.exactVarint();
  }

  float(): number {
    this.expect(WireType.Fixed32);
    return this.pbf.readFloat();
  }

  /** Appends a repeated int64 field, packed or not, exactly. */
  exacts(out: (number | bigint)[]): void {
    this.repeated(WireType.Varint, () => out.push(this.exactVarint()));
  }

  /** Appends a repeated float field, packed or not. */
  floats(out: number[]): void {
    this.repeated(WireType.Fixed32, () => out.push(this.pbf.readFloat()));
  }

  /** Appends a string, without a view or a copy where its bytes are those of `known`, the few that were read before. */
  strings(out: string[], known: KnownString[]): void {
    const end = this.spanEnd();
    const { pbf } = this;
    const { buf, pos } = pbf;
    const same = ({ start, length }: KnownString): boolean => {
      if (length !== end - pos) return false;
      for (let i = 0; i < length; i++) if (buf[start + i] !== buf[pos + i]) return false;
      return true;
    };
    let found = known.find(same);
    if (!found) {
      found = { start: pos, length: end - pos, text: decodeUtf8(buf.subarray(pos, end)) };
      if (known.length < maxKnown) known.push(found);
    }
    pbf.pos = end;
    out.push(found.text);
  }

  /** Appends the bytes of a repeated numeric field, as if packed. */
  packed(out: Uint8Array[]): void {
    const { pbf } = this;
    if (pbf.type === WireType.Bytes) {
      out.push(this.bytes());
      return;
    }
    const start = pbf.pos;
    pbf.skip(pbf.type);
    if (pbf.pos > this.end) this.fail("a number reaches past the end of its message", start);
    out.push(pbf.buf.subarray(start, pbf.pos));
  }

  private repeated(type: WireType, read: () => void): void {
    const { pbf } = this;
    if (pbf.type !== WireType.Bytes) {
      this.expect(type);
      read();
      return;
    }
    const end = this.spanEnd();
    while (pbf.pos < end) read();
    if (pbf.pos !== end) this.fail("a packed field ends inside a number");
  }

  private exactVarint(): number | bigint {
    const { pbf } = this;
    const start = pbf.pos;
    const v = pbf.readVarint(true);
    return Number.isSafeInteger(v) ? v : varintAt(pbf.buf, start);
  }

  private spanEnd(): number {
    this.expect(WireType.Bytes);
    const start = this.pbf.pos;
    const length = this.pbf.readVarint();
    const end = this.pbf.pos + length;
    if (end > this.end) this.fail(`a field of ${length} bytes reaches past the end of its message`, start);
    return end;
  }

  private expect(type: WireType): void {
    if (this.pbf.type !== type) this.fail(`wire type ${this.pbf.type} where ${type} is expected`);
  }
}

/** A signed 64-bit varint of at most 10 bytes. */
function varintAt(bytes: Uint8Array, at: number): bigint {
  let value = 0n;
  for (let i = 0; i < 10; i++) {
    value |= BigInt(bytes[at + i] & 0x7f) << BigInt(7 * i);
    if (bytes[at + i] < 0x80) break;
  }
  return BigInt.asIntN(64, value);
}

/**
 * Decodes varints into 32-bit integers (their low 32 bits), or into 64-bit ones as pairs of low and high words.
 * @returns how many there are; stops storing past `out`'s end but keeps counting
 */
export function decodeVarints(chunks: readonly Uint8Array[], out: Int32Array, words: 1 | 2): number {
  let count = 0;
  for (const bytes of chunks)
    for (let at = 0; at < bytes.length; count++) {
      let low = 0;
      let high = 0;
      for (let shift = 0; ; shift += 7) {
        if (at >= bytes.length || shift > 63) throw new FormatError("onnx: malformed varint in tensor data");
        const b = bytes[at++];
        const bits = b & 0x7f;
        if (shift < 32) low |= bits << shift;
        if (shift >= 28) high |= shift < 32 ? bits >>> (32 - shift) : bits << (shift - 32);
        if (b < 0x80) break;
      }
      const i = count * words;
      if (i >= out.length) continue;
      out[i] = low;
      if (words === 2) out[i + 1] = high;
    }
  return count;
}
