import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planFft } from "../../src/backends/cpu/fft.ts";
import { dft } from "../../src/ops/dft.ts";
import { melWeightMatrix } from "../../src/ops/mel-weight-matrix.ts";
import { stft } from "../../src/ops/stft.ts";
import { blackmanWindow, hammingWindow, hannWindow } from "../../src/ops/window-functions.ts";
import { ShapeError } from "../../src/tensor/errors.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { elements, evaluate, expectClose, tensor } from "./evaluate.ts";

const i64 = (v: number): HostTensor => hostTensor([v], { dtype: "i64", shape: [] });
const real = (values: number[]): HostTensor => hostTensor(Float64Array.from(values), { shape: [1, values.length, 1] });

describe("dft", () => {
  test("of 1 2 3 4, whole, one-sided, padded and cut", () => {
    const x = real([1, 2, 3, 4]);
    expectClose(elements(evaluate(dft, [x, undefined, undefined], {})), [10, 0, -2, 2, -2, 0, -2, -2]);
    expectClose(elements(evaluate(dft, [x, undefined, i64(1)], { onesided: true })), [10, 0, -2, 2, -2, 0]);
    expect(evaluate(dft, [x, i64(7), undefined], { onesided: true }).shape).toEqual([1, 4, 2]);
    expectClose(elements(evaluate(dft, [x, i64(2), undefined], {})), [3, 0, -1, 0]);
  });

  test("the inverse undoes it, and one-sided spectra give real signals", () => {
    for (const n of [1, 2, 5, 8, 12]) {
      const x = tensorFrom(n, "f64", [2, n, 3, 2]);
      const there = evaluate(dft, [x, undefined, i64(1)], {});
      const back = evaluate(dft, [there, undefined, i64(1)], { inverse: true });
      expectClose(elements(back), elements(x) as number[], 9);
      const signal = tensorFrom(n, "f64", [n, 1]);
      const half = evaluate(dft, [signal, undefined, i64(0)], { onesided: true });
      const again = evaluate(dft, [half, i64(n), i64(0)], { onesided: true, inverse: true });
      expect(again.shape).toEqual([n, 1]);
      expectClose(elements(again), elements(signal) as number[], 9);
    }
    const half = evaluate(dft, [real([1, 2, 3, 4]), undefined, undefined], { onesided: true });
    expectClose(elements(evaluate(dft, [half, undefined, undefined], { onesided: true, inverse: true })), [1, 2, 3, 4]);
  });

  test("typed errors", () => {
    const complex = tensorFrom(1, "f32", [4, 2]);
    expect(() => evaluate(dft, [complex, undefined, undefined], { onesided: true })).toThrow(/real input/);
    expect(() => evaluate(dft, [real([1]), undefined, undefined], { onesided: true, inverse: true })).toThrow(
      /complex/,
    );
    expect(() => evaluate(dft, [complex, undefined, i64(1)], {})).toThrow(ShapeError);
    expect(() => evaluate(dft, [tensor([[1, 2, 3]]), undefined, undefined], {})).toThrow(ShapeError);
    expect(() => evaluate(dft, [complex, i64(0), undefined], {})).toThrow(/positive/);
  });
});

test("the fast transform of any length is the transform", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 400 }), fc.integer(), (n, seed) => {
      const x = tensorFrom(seed, "f64", [n, 2]);
      const want = elements(evaluate(dft, [x, undefined, i64(0)], {})) as number[];
      const re = Float64Array.from({ length: n }, (_, i) => x.data[2 * i] as number);
      const im = Float64Array.from({ length: n }, (_, i) => x.data[2 * i + 1] as number);
      planFft(n)(re, im);
      const worst = want.reduce((m, w, i) => Math.max(m, Math.abs(w - (i % 2 ? im : re)[i >> 1])), 0);
      expect(worst).toBeLessThan(1e-11 * n);
    }),
    { numRuns: 60 },
  );
});

test("the fast transform is fast: a prime length near 10^5 takes no minutes", () => {
  const re = Float64Array.from({ length: 99991 }, (_, i) => Math.cos((2 * Math.PI * 7 * i) / 99991));
  const im = new Float64Array(99991);
  const before = performance.now();
  planFft(99991)(re, im);
  expect(performance.now() - before).toBeLessThan(5000);
  // A pure tone has two bins.
  expect(re[7]).toBeCloseTo(99991 / 2, 4);
  expect(re[99991 - 7]).toBeCloseTo(99991 / 2, 4);
  expect(Math.max(...re.subarray(8, 99984).map(Math.abs))).toBeLessThan(1e-5);
});

describe("stft", () => {
  test("frames are windowed transforms", () => {
    const x = tensorFrom(3, "f64", [2, 20, 1]);
    const window = tensorFrom(4, "f64", [6], { min: 0, max: 1 });
    const y = evaluate(stft, [x, i64(4), window, undefined], {});
    expect(y.shape).toEqual([2, 4, 4, 2]);
    const frame = Float64Array.from(
      { length: 6 },
      (_, t) => (x.data[20 + 8 + t] as number) * (window.data[t] as number),
    );
    const want = evaluate(dft, [hostTensor(frame, { shape: [6, 1] }), undefined, i64(0)], { onesided: true });
    expectClose(elements(y).slice((4 + 2) * 8, (4 + 3) * 8), elements(want) as number[], 9);
    expect(evaluate(stft, [x, i64(4), undefined, i64(6)], { onesided: false }).shape).toEqual([2, 4, 6, 2]);
  });

  test("typed errors", () => {
    const x = tensorFrom(3, "f32", [1, 8, 1]);
    expect(() => evaluate(stft, [x, i64(2), tensor([1, 1]), i64(3)], {})).toThrow(/window/);
    expect(() => evaluate(stft, [x, i64(2), undefined, i64(9)], {})).toThrow(/shorter/);
    expect(() => evaluate(stft, [x, i64(0), undefined, i64(3)], {})).toThrow(ShapeError);
    expect(() => evaluate(stft, [tensorFrom(1, "f32", [1, 8, 2]), i64(2), undefined, i64(3)], {})).toThrow(/real/);
  });
});

test("window functions", () => {
  expectClose(elements(evaluate(hannWindow, [i64(4)], {})), [0, 0.5, 1, 0.5]);
  expectClose(elements(evaluate(hannWindow, [i64(5)], { periodic: false })), [0, 0.5, 1, 0.5, 0]);
  expectClose(elements(evaluate(hammingWindow, [i64(2)], {})), [4 / 46, 1]);
  expectClose(elements(evaluate(blackmanWindow, [i64(4)], { dtype: "f64" })), [0, 0.34, 1, 0.34]);
  expectClose(elements(evaluate(hannWindow, [i64(1)], { periodic: false })), [1]);
  expect(evaluate(hannWindow, [i64(4)], { dtype: "i32" })).toEqual({
    dtype: "i32",
    shape: [4],
    data: Int32Array.of(0, 0, 1, 0),
  });
  expect(evaluate(hannWindow, [i64(0)], {}).shape).toEqual([0]);
  expect(() => evaluate(hannWindow, [i64(-1)], {})).toThrow(ShapeError);
});

test("mel filters: the example of the ONNX documentation", () => {
  const hertz = (v: number): HostTensor => hostTensor([v], { shape: [] });
  const y = evaluate(melWeightMatrix, [i64(8), i64(16), i64(8192), hertz(0), hertz(8192 / 2)], {});
  expect(y.shape).toEqual([9, 8]);
  const rows = [
    [1, 1, 0, 0, 0, 0, 0, 0],
    [0, 0, 1, 1, 0, 0, 0, 0],
    [0, 0, 0, 0, 1, 0, 0, 0],
    [0, 0, 0, 0, 0, 1, 0, 0],
    [0, 0, 0, 0, 0, 0, 1, 0],
    [0, 0, 0, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
  ];
  expectClose(elements(y), rows.flat());
});
