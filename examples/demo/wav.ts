/** Sound files: RIFF WAVE with 16-bit samples. */
export interface Sound {
  /** Samples a second. */
  readonly rate: number;
  /** The first channel, -1 to 1. */
  readonly samples: Float32Array;
}

/** Throws where the bytes are no such file. */
export function parseWav(bytes: Uint8Array): Sound {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tag = (at: number): string => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (tag(0) !== "RIFF" || tag(8) !== "WAVE") throw new Error("wav: not a RIFF WAVE file");
  let rate = 0;
  let channels = 0;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const size = view.getUint32(at + 4, true);
    if (tag(at) === "fmt ") {
      if (view.getUint16(at + 8, true) !== 1 || view.getUint16(at + 22, true) !== 16)
        throw new Error("wav: only 16-bit PCM is read");
      channels = view.getUint16(at + 10, true);
      rate = view.getUint32(at + 12, true);
    } else if (tag(at) === "data") {
      if (channels === 0) throw new Error("wav: no format before the data");
      const count = Math.floor(Math.min(size, bytes.length - at - 8) / (2 * channels));
      const samples = Float32Array.from(
        { length: count },
        (_, i) => view.getInt16(at + 8 + 2 * channels * i, true) / 32768,
      );
      return { rate, samples };
    }
    // Chunks start at even offsets.
    at += 8 + size + (size & 1);
  }
  throw new Error("wav: no data");
}
