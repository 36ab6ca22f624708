/** Sound files for tests. */
export interface WavOptions {
  /** 1: PCM, 3: float. */
  format: number;
  bits: number;
  rate: number;
  /** With the long form of the header. */
  extensible?: boolean;
  /** With a chunk of odd length before the sound. */
  junk?: boolean;
}

export function writeWav(channels: readonly Float32Array[], options: WavOptions): Uint8Array {
  const { format, bits, rate, extensible = false, junk = false } = options;
  const bytes = bits / 8;
  const size = channels[0].length * channels.length * bytes;
  const header = 12 + 8 + (extensible ? 40 : 16) + (junk ? 12 : 0) + 8;
  const out = Buffer.alloc(header + size);
  let at = out.write("RIFF", 0);
  at = out.writeUInt32LE(out.length - 8, at);
  at += out.write("WAVEfmt ", at);
  at = out.writeUInt32LE(extensible ? 40 : 16, at);
  at = out.writeUInt16LE(extensible ? 0xfffe : format, at);
  at = out.writeUInt16LE(channels.length, at);
  at = out.writeUInt32LE(rate, at);
  at = out.writeUInt32LE(rate * channels.length * bytes, at);
  at = out.writeUInt16LE(channels.length * bytes, at);
  at = out.writeUInt16LE(bits, at);
  if (extensible) {
    out.writeUInt16LE(22, at);
    out.writeUInt16LE(format, at + 8);
    at += 24;
  }
  if (junk) {
    at += out.write("LIST", at);
    at = out.writeUInt32LE(3, at) + 4;
  }
  at += out.write("data", at);
  at = out.writeUInt32LE(size, at);
  for (let i = 0; i < channels[0].length; i++)
    for (const c of channels) {
      const v = c[i];
      if (format === 3) at = bits === 32 ? out.writeFloatLE(v, at) : out.writeDoubleLE(v, at);
      else if (bits === 8) at = out.writeUInt8(Math.round(v * 127) + 128, at);
      else at = out.writeIntLE(Math.round(v * (2 ** (bits - 1) - 1)), at, bytes);
    }
  return out;
}
