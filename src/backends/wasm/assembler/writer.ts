/** An append-only byte buffer with the number encodings of the WebAssembly binary format. */
export class Writer {
  // Not a typed array: most are a few bytes long, and those are slow to make.
  private readonly bytes: number[] = [];

  byte(value: number): void {
    this.bytes.push(value);
  }

  append(source: ArrayLike<number>): void {
    for (let i = 0; i < source.length; i++) this.bytes.push(source[i]);
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
    return new Uint8Array(this.bytes);
  }
}
