/** An append-only byte buffer with the number encodings of the WebAssembly binary format. */
export class Writer {
  private bytes = new Uint8Array(256);
  length = 0;

  byte(value: number): void {
    if (this.length === this.bytes.length) this.reserve(1);
    this.bytes[this.length++] = value;
  }

  append(source: ArrayLike<number>): void {
    this.reserve(source.length);
    this.bytes.set(source, this.length);
    this.length += source.length;
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
    this.s64(BigInt(value | 0));
  }

  /** Signed LEB128 of a 64-bit integer. */
  s64(value: bigint): void {
    let rest = BigInt.asIntN(64, value);
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      // Finished once the remaining bits only repeat the sign bit (bit 6) of this group.
      const last = rest === (low & 0x40 ? -1n : 0n);
      this.byte(last ? low : low | 0x80);
      if (last) return;
    }
  }

  f32(value: number): void {
    this.append(new Uint8Array(new Float32Array([value]).buffer));
  }

  f64(value: number): void {
    this.append(new Uint8Array(new Float64Array([value]).buffer));
  }

  /** A UTF-8 name with its length in front. */
  name(text: string): void {
    this.sized(new TextEncoder().encode(text));
  }

  sized(source: Uint8Array): void {
    this.u32(source.length);
    this.append(source);
  }

  toBytes(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.length);
  }

  private reserve(extra: number): void {
    if (this.length + extra <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.length + extra, 2 * this.bytes.length));
    grown.set(this.bytes);
    this.bytes = grown;
  }
}
