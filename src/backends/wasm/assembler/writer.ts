import type { OwnBytes } from "../../../tensor/dtype.ts";

const number = /* @__PURE__ */ new DataView(/* @__PURE__ */ new ArrayBuffer(8));
const float32 = /* @__PURE__ */ new Uint8Array(number.buffer, 0, 4);
const float64 = /* @__PURE__ */ new Uint8Array(number.buffer);

/** An append-only byte buffer with the number encodings of the WebAssembly binary format. */
export class Writer {
  private bytes = new Uint8Array(64);
  private used = 0;
  /** In a function's body: the parameter that the first symbolic address is. */
  addressesFrom: number | undefined;

  get length(): number {
    return this.used;
  }

  byte(value: number): void {
    if (this.used === this.bytes.length) this.reserve(1);
    this.bytes[this.used++] = value;
  }

  append(source: ArrayLike<number>): void {
    this.reserve(source.length);
    this.bytes.set(source, this.used);
    this.used += source.length;
  }

  /** Unsigned LEB128 of an integer in 0 .. 2^32 - 1. */
  u32(value: number): void {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) throw new RangeError(`not a u32: ${value}`);
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** Signed LEB128 of a 32-bit integer; 2^31 .. 2^32 - 1 stand for the same bits read as negative. */
  s32(value: number): void {
    if (!Number.isInteger(value) || value < -0x80000000 || value > 0xffffffff) {
      throw new RangeError(`not a 32-bit integer: ${value}`);
    }
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      // Finished once the remaining bits only repeat the sign bit (bit 6) of this group.
      const last = rest === (low & 0x40 ? -1 : 0);
      this.byte(last ? low : low | 0x80);
      if (last) return;
    }
  }

  /** Signed LEB128 of a 64-bit integer. */
  s64(value: bigint): void {
    let rest = BigInt.asIntN(64, value);
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      const last = rest === (low & 0x40 ? -1n : 0n);
      this.byte(last ? low : low | 0x80);
      if (last) return;
    }
  }

  f32(value: number): void {
    number.setFloat32(0, value, true);
    this.append(float32);
  }

  f64(value: number): void {
    number.setFloat64(0, value, true);
    this.append(float64);
  }

  /**
   * A name in ASCII with its length in front: nodes may be called otherwise, but only profilers show that, and some test runners
   * have no encoder of texts.
   */
  name(text: string): void {
    this.u32(text.length);
    for (let i = 0; i < text.length; i++) this.byte(Math.min(text.charCodeAt(i), 0x7f));
  }

  /** What was written from a place on, until more is. */
  view(from = 0, to = this.used): OwnBytes {
    return this.bytes.subarray(from, to);
  }

  /** Forgets what was written from a place on. */
  truncate(length: number): void {
    this.used = length;
  }

  sized(source: Uint8Array): void {
    this.u32(source.length);
    this.append(source);
  }

  toBytes(): OwnBytes {
    return this.bytes.slice(0, this.used);
  }

  private reserve(extra: number): void {
    const wanted = this.used + extra;
    if (wanted <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(wanted, 2 * this.bytes.length));
    grown.set(this.bytes);
    this.bytes = grown;
  }
}
