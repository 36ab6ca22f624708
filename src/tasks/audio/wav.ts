/** Sound files: RIFF WAVE with PCM or float samples. */
import { driveSync, type Work } from "../../graph/drive.ts";
import { FormatError } from "../../tensor/errors.ts";

export interface Sound {
  /** Samples a second. */
  readonly rate: number;
  /** The mean of the channels, -1 to 1. */
  readonly samples: Float32Array;
}

type ReadSample = (view: DataView, at: number) => number;

const [pcm, float, extensible] = [1, 3, 0xfffe];
/** Samples after which the work may be stopped. */
const samplesAtOnce = 2 ** 16;
/** By format and bits of a sample. */
const readers: Readonly<Record<string, ReadSample>> = {
  [`${pcm}/8`]: (v, at) => (v.getUint8(at) - 128) / 128,
  [`${pcm}/16`]: (v, at) => v.getInt16(at, true) / 2 ** 15,
  [`${pcm}/24`]: (v, at) => (v.getUint16(at, true) + v.getInt8(at + 2) * 2 ** 16) / 2 ** 23,
  [`${pcm}/32`]: (v, at) => v.getInt32(at, true) / 2 ** 31,
  [`${float}/32`]: (v, at) => v.getFloat32(at, true),
  [`${float}/64`]: (v, at) => v.getFloat64(at, true),
};

const isWav = (bytes: Uint8Array): boolean =>
  bytes.length >= 12 && tagOf(bytes, 0) === "RIFF" && tagOf(bytes, 8) === "WAVE";

/** @throws FormatError where the bytes are no such file, or its samples are compressed */
export const readWav = (bytes: Uint8Array, name?: string): Sound => driveSync(soundIn(bytes, name));

/** As `readWav`, bit by bit. */
export function* soundIn(bytes: Uint8Array, name = "wav"): Work<Sound> {
  if (!isWav(bytes))
    throw new FormatError(`${name}: not a WAV file, or compressed; convert it to PCM first`, { offset: 0 });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let format: ReturnType<typeof readFormat> | undefined;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const tag = tagOf(bytes, at);
    const [told, rest] = [view.getUint32(at + 4, true), bytes.length - at - 8];
    // Recorders that were interrupted leave sizes that go beyond the end, or none: the sound is all that follows.
    const size = told === 0 && tag === "data" ? rest : Math.min(told, rest);
    if (tag === "fmt ") format = readFormat(view, at + 8, size, name);
    else if (tag === "data") {
      if (!format) throw new FormatError(`${name}: no format before the data`, { offset: at });
      return { rate: format.rate, samples: yield* mixed(view, at + 8, size, format) };
    }
    // Chunks start at even offsets.
    at += 8 + size + (size & 1);
  }
  throw new FormatError(`${name}: there is no sound in it`, { offset: bytes.length });
}

const tagOf = (bytes: Uint8Array, at: number): string => String.fromCharCode(...bytes.subarray(at, at + 4));

function readFormat(view: DataView, at: number, size: number, name: string) {
  if (size < 16) throw new FormatError(`${name}: the format is cut short`, { offset: at });
  const tag = view.getUint16(at, true);
  const kind = tag === extensible && size >= 26 ? view.getUint16(at + 24, true) : tag;
  const [channels, rate, bits] = [
    view.getUint16(at + 2, true),
    view.getUint32(at + 4, true),
    view.getUint16(at + 14, true),
  ];
  const read = readers[`${kind}/${bits}`];
  if (!read || channels === 0 || rate === 0)
    throw new FormatError(
      `${name}: format ${kind} with ${bits} bits, ${channels} channels, ${rate} Hz can't be read; convert it to PCM first`,
      { offset: at },
    );
  return { channels, rate, bytes: bits / 8, read };
}

function* mixed(view: DataView, at: number, size: number, f: ReturnType<typeof readFormat>): Work<Float32Array> {
  const frame = f.channels * f.bytes;
  const samples = new Float32Array(Math.floor(size / frame));
  const atOnce = Math.ceil(samplesAtOnce / f.channels);
  for (let i = 0; i < samples.length; i++) {
    if (i % atOnce === 0) yield;
    let sum = 0;
    for (let c = 0; c < f.channels; c++) sum += f.read(view, at + i * frame + c * f.bytes);
    samples[i] = sum / f.channels;
  }
  return samples;
}
