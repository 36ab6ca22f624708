/** Sound files, resampling, spectrograms. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { compile } from "../../src/graph/compile.ts";
import { driveSync } from "../../src/graph/drive.ts";
import { framesOf, logMel, melFilters } from "../../src/tasks/audio/log-mel.ts";
import { resample as resampling } from "../../src/tasks/audio/resample.ts";
import { readWav } from "../../src/tasks/audio/wav.ts";
import { FormatError } from "../../src/tensor/errors.ts";
import { writeWav } from "./wav-writer.ts";

const sine = (hz: number, rate: number, seconds: number): Float32Array =>
  Float32Array.from({ length: rate * seconds }, (_, i) => 0.5 * Math.sin((2 * Math.PI * hz * i) / rate));

const worst = (a: ArrayLike<number>, b: ArrayLike<number>, from = 0, to = a.length): number => {
  let d = 0;
  for (let i = from; i < to; i++) d = Math.max(d, Math.abs(a[i] - b[i]));
  return d;
};

describe("WAV", () => {
  const samples = sine(440, 8000, 0.05);
  test.each([
    [1, 8, 2 / 128],
    [1, 16, 1e-4],
    [1, 24, 1e-6],
    [1, 32, 1e-7],
    [3, 32, 0],
    [3, 64, 0],
  ])("format %i with %i bits", (format, bits, error) => {
    for (const options of [{}, { extensible: true, junk: true }]) {
      const sound = readWav(writeWav([samples], { format, bits, rate: 8000, ...options }));
      expect([sound.rate, sound.samples.length]).toEqual([8000, samples.length]);
      expect(worst(sound.samples, samples)).toBeLessThanOrEqual(error);
    }
  });

  test("channels are averaged", () => {
    const silent = new Float32Array(samples.length);
    const { samples: mixed } = readWav(writeWav([samples, silent], { format: 3, bits: 32, rate: 8000 }));
    expect(
      worst(
        mixed,
        samples.map((v) => v / 2),
      ),
    ).toBe(0);
  });

  test("sizes beyond the end, and a size of nothing, are those of recorders that were interrupted", () => {
    const bytes = writeWav([samples], { format: 1, bits: 16, rate: 8000 });
    expect(readWav(bytes.subarray(0, bytes.length - 100)).samples.length).toBe(samples.length - 50);
    const whole = readWav(bytes);
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(40, 0, true);
    expect(readWav(bytes)).toEqual(whole);
    // No sound follows.
    expect(readWav(bytes.subarray(0, 44)).samples).toHaveLength(0);
  });

  test("what is no sound is refused, and nothing else happens to broken files", () => {
    const bytes = writeWav([samples], { format: 1, bits: 16, rate: 8000 });
    for (const bad of [new Uint8Array(0), bytes.subarray(0, 20), bytes.subarray(0, 36), new Uint8Array(100)])
      expect(() => readWav(bad)).toThrow(FormatError);
    expect(() => readWav(writeWav([samples], { format: 6, bits: 8, rate: 8000 }), "a.wav")).toThrow(
      /^a\.wav: format 6 with 8 bits.*convert it to PCM first/,
    );
    expect(() => readWav(bytes.subarray(0, 36), "a.wav")).toThrow(/^a\.wav: there is no sound in it/);
    fc.assert(
      fc.property(fc.nat(60), fc.nat(255), (at, value) => {
        const broken = bytes.slice();
        broken[at] = value;
        try {
          readWav(broken);
        } catch (e) {
          expect(e).toBeInstanceOf(FormatError);
        }
      }),
    );
  });
});

describe("resampling", () => {
  const resample = (samples: Float32Array, from: number, to: number): Float32Array =>
    driveSync(resampling(samples, from, to));

  /** The sum that it is, with the filter at every place of its own. */
  function direct(samples: Float32Array, from: number, to: number): number[] {
    const cutoff = Math.min(1, to / from);
    return Array.from({ length: Math.round((samples.length * to) / from) }, (_, i) => {
      let sum = 0;
      for (let j = 0; j < samples.length; j++) {
        const x = (j - (i * from) / to) * cutoff;
        if (Math.abs(x) >= 16) continue;
        const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
        sum += samples[j] * cutoff * sinc * Math.cos((Math.PI * x) / 32) ** 2;
      }
      return sum;
    });
  }

  test("is the direct sum in float64, whether weights are kept or not", () => {
    const noise = Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i * i));
    // The last ones have too many places to keep the weights of.
    for (const from of [1000, 8000, 11025, 44100, 48000, 44101, 192000, 96001, 44100.5, 44100.1]) {
      const got = resample(noise, from, 16000);
      const want = direct(noise, from, 16000);
      expect(got.length).toBe(want.length);
      expect(worst(got, want), `${from} Hz`).toBeLessThan(1e-6);
    }
    const rate = fc.oneof(fc.integer({ min: 1000, max: 200_000 }), fc.double({ min: 1000, max: 200_000, noNaN: true }));
    fc.assert(
      fc.property(rate, rate, fc.nat(200), (from, to, length) => {
        const samples = noise.subarray(0, length);
        expect(worst(resample(samples, from, to), direct(samples, from, to))).toBeLessThan(1e-6);
      }),
      { numRuns: 30 },
    );
  });

  test.each([
    [22050, 16000],
    [44100, 16000],
    [8000, 16000],
    [16000, 16000],
  ])("%i Hz to %i Hz keeps a tone", (from, to) => {
    const got = resample(sine(440, from, 0.5), from, to);
    const want = sine(440, to, 0.5);
    expect(got.length).toBe(want.length);
    // Away from the ends, where the filter sees nothing on one side.
    expect(worst(got, want, 400, got.length - 400)).toBeLessThan(2e-3);
  });

  test("what the lower rate can't hold is gone", () => {
    const got = resample(sine(11000, 44100, 0.5), 44100, 16000);
    expect(Math.max(...got.subarray(400, got.length - 400).map(Math.abs))).toBeLessThan(2e-3);
  });
});

describe("log-mel spectrograms", () => {
  const config = { rate: 16000, window: 400, hop: 160, bands: 80 };

  test("filters have the published values", () => {
    // librosa.filters.mel(sr=16000, n_fft=400, n_mels=80), which Whisper ships.
    const { data, shape } = melFilters(config);
    expect(shape).toEqual([80, 201]);
    for (const [at, want] of [
      [0, 0],
      [1, 0.024862595],
      [202, 0.0019908219],
      [203, 0.022871772],
    ])
      expect(data[at]).toBeCloseTo(want, 8);
  });

  test.each([
    ["cpu", () => cpu()],
    ["wasm", () => wasm({ threads: 1 })],
  ])("on %s they are those of plain sums in float64", async (_, open) => {
    const samples = sine(440, 16000, 0.1).map((v, i) => v + 0.1 * Math.sin(i * i * 0.001));
    const length = 3200;
    using session = await compile(logMel(config), { device: open() });
    const { mel } = await session.run({ frames: framesOf(samples, length, config) });
    const want = naive(samples, length);
    expect(mel.shape).toEqual([80, 20]);
    expect(worst(mel.data as Float32Array, want)).toBeLessThan(2e-4);
  });

  /** Reflected at the beginning, silent after the end. */
  function naive(samples: Float32Array, length: number): number[] {
    const { window, hop, bands } = config;
    const filters = melFilters(config).data as Float32Array;
    const levels = Array.from({ length: bands }, () => new Array<number>(length / hop));
    for (let f = 0; f < length / hop; f++) {
      const power = Array.from({ length: window / 2 + 1 }, (_, k) => {
        let [re, im] = [0, 0];
        for (let n = 0; n < window; n++) {
          const hann = Math.sin((Math.PI * n) / window) ** 2;
          const v = hann * (samples[Math.abs(f * hop + n - window / 2)] ?? 0);
          re += v * Math.cos((2 * Math.PI * k * n) / window);
          im -= v * Math.sin((2 * Math.PI * k * n) / window);
        }
        return re * re + im * im;
      });
      for (let b = 0; b < bands; b++) {
        const energy = power.reduce((sum, p, k) => sum + p * filters[b * power.length + k], 0);
        levels[b][f] = Math.log10(Math.max(energy, 1e-10));
      }
    }
    const loudest = Math.max(...levels.flat());
    return levels.flat().map((v) => (Math.max(v, loudest - 8) + 4) / 4);
  }
});
