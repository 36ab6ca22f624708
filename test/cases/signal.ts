import fc from "fast-check";
import { dft } from "../../src/ops/dft.ts";
import { melWeightMatrix } from "../../src/ops/mel-weight-matrix.ts";
import { stft } from "../../src/ops/stft.ts";
import { blackmanWindow, hammingWindow, hannWindow } from "../../src/ops/window-functions.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { opCase, tensorFrom } from "./case.ts";

/** Products of small primes, powers of two, large primes and twice a prime. */
const lengths = fc.oneof(fc.integer({ min: 1, max: 70 }), fc.constantFrom(64, 97, 101, 120, 128, 134, 210, 257));
const i64 = (v: number) => hostTensor([v], { dtype: "i64", shape: [] });

const windowCase = (op: typeof hannWindow) =>
  fc
    .record({
      size: fc.integer({ min: 0, max: 40 }),
      periodic: fc.boolean(),
      dtype: fc.constantFrom<DType>("f32", "f64", "f16", "bf16", "i32"),
    })
    .map(({ size, ...attrs }) => opCase(op, [i64(size)], attrs));

export const signalCases = {
  dft: fc
    .record({
      n: lengths,
      lead: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 0, maxLength: 2 }),
      between: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 0, maxLength: 1 }),
      complex: fc.boolean(),
      inverse: fc.boolean(),
      onesided: fc.boolean(),
      change: fc.constantFrom(0, 0, 0, -1, 3),
      dtype: fc.constantFrom<DType>("f32", "f32", "f32", "f64"),
      seed: fc.integer(),
    })
    .map(({ n, lead, between, complex, inverse, onesided, change, dtype, seed }) => {
      // One-sided transforms fix which side is complex.
      const parts = onesided ? (inverse ? 2 : 1) : complex ? 2 : 1;
      const x = tensorFrom(seed, dtype, [...lead, n, ...between, parts]);
      const length = change === 0 && !(onesided && inverse && n === 1) ? undefined : i64(Math.max(1, n + change));
      return opCase(dft, [x, length, i64(lead.length)], { inverse, onesided });
    }),
  stft: fc
    .record({
      batch: fc.integer({ min: 1, max: 3 }),
      frame: fc.integer({ min: 1, max: 40 }),
      more: fc.integer({ min: 0, max: 60 }),
      step: fc.integer({ min: 1, max: 20 }),
      given: fc.constantFrom("window", "length", "both"),
      complex: fc.boolean(),
      onesided: fc.boolean(),
      dtype: fc.constantFrom<DType>("f32", "f32", "f64"),
      seed: fc.integer(),
    })
    .map(({ batch, frame, more, step, given, complex, onesided, dtype, seed }) => {
      const x = tensorFrom(seed, dtype, [batch, frame + more, complex && !onesided ? 2 : 1]);
      const window = given === "length" ? undefined : tensorFrom(seed + 1, dtype, [frame], { min: 0, max: 1 });
      const length = given === "window" ? undefined : i64(frame);
      return opCase(stft, [x, i64(step), window, length], { onesided });
    }),
  hannWindow: windowCase(hannWindow),
  hammingWindow: windowCase(hammingWindow),
  blackmanWindow: windowCase(blackmanWindow),
  melWeightMatrix: fc
    .record({
      bands: fc.integer({ min: 1, max: 20 }),
      length: fc.constantFrom(16, 33, 256, 400),
      rate: fc.constantFrom(8000, 16000),
      low: fc.constantFrom(0, 20, 125.5),
      high: fc.constantFrom(3800, 4000),
      dtype: fc.constantFrom<DType>("f32", "f64", "f16"),
    })
    .map(({ bands, length, rate, low, high, dtype }) => {
      const hertz = (v: number) => hostTensor([v], { shape: [] });
      return opCase(melWeightMatrix, [i64(bands), i64(length), i64(rate), hertz(low), hertz(high)], { dtype });
    }),
};
