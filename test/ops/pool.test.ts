import { describe, expect, test } from "vitest";
import { maxUnpool } from "../../src/ops/max-unpool.ts";
import { averagePool, globalAveragePool, globalLpPool, globalMaxPool, lpPool, maxPool } from "../../src/ops/pool.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { DTypeError, ShapeError } from "../../src/tensor/errors.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { evaluateAll } from "./evaluate.ts";

const plane = (rows: number[][], dtype: DType = "f32") => hostTensor([[rows]], { dtype });
const counted = (n: number) =>
  plane(Array.from({ length: n }, (_, r) => Array.from({ length: n }, (_, c) => r * n + c + 1)));

describe("maxPool", () => {
  test("the examples of ONNX MaxPool, with indices", () => {
    const attrs = { kernelShape: [5, 5], pads: [2, 2, 2, 2] };
    const [y, at] = evaluateAll(maxPool, [counted(5)], attrs);
    expect([...y.data.slice(0, 6)]).toEqual([13, 14, 15, 15, 15, 18]);
    expect([...at.data.slice(0, 6)]).toEqual([12n, 13n, 14n, 14n, 14n, 17n]);
    const column = evaluateAll(maxPool, [counted(5)], { kernelShape: [2, 2], strides: [2, 2], columnMajor: true })[1];
    expect([...column.data]).toEqual([6n, 16n, 8n, 18n]);
  });

  test("rounding up keeps partial windows, but none that starts in the padding", () => {
    expect([
      ...evaluateAll(maxPool, [counted(4)], { kernelShape: [3, 3], strides: [2, 2], ceilMode: true })[0].data,
    ]).toEqual([11, 12, 15, 16]);
    const two = hostTensor(new Float32Array([1, 2, 3, 4]), { shape: [1, 1, 2, 2] });
    const attrs = { kernelShape: [1, 1], strides: [2, 2], ceilMode: true };
    expect(evaluateAll(maxPool, [two], attrs)[0].shape).toEqual([1, 1, 1, 1]);
  });

  test("the first of equal elements; NaN wins; 8-bit integers", () => {
    expect(evaluateAll(maxPool, [plane([[7, 7], [7, 7]])], { kernelShape: [2, 2] })[1].data[0]).toBe(0n); // biome-ignore format: rows
    const [y, at] = evaluateAll(maxPool, [plane([[1, Number.NaN, 2]])], { kernelShape: [1, 3] });
    expect(y.data[0]).toBeNaN();
    expect(at.data[0]).toBe(1n);
    expect(
      evaluateAll(maxPool, [plane([[-5, -7]], "i8")], { kernelShape: [1, 2], pads: [0, 1, 0, 0] })[0].data[0],
    ).toBe(-5);
    expect(() => evaluateAll(maxPool, [plane([[1]], "i32")], { kernelShape: [1, 1] })).toThrow(DTypeError);
  });

  test("dilated, and refusals", () => {
    expect([...evaluateAll(maxPool, [counted(4)], { kernelShape: [2, 2], dilations: [2, 2] })[0].data]).toEqual([
      11, 12, 15, 16,
    ]);
    expect(() => evaluateAll(maxPool, [counted(2)], { kernelShape: [3, 3] })).toThrow(ShapeError);
    expect(() => evaluateAll(maxPool, [counted(2)], { kernelShape: [2] })).toThrow(ShapeError);
  });
});

describe("averagePool", () => {
  const attrs = { kernelShape: [3], pads: [1, 1], strides: [2] };
  const x = hostTensor(new Float32Array([1, 2, 3, 4]), { shape: [1, 1, 4] });

  test("padding counts only where asked, and what lies beyond it never", () => {
    expect([...evaluateAll(averagePool, [x], attrs)[0].data]).toEqual([1.5, 3]);
    expect([...evaluateAll(averagePool, [x], { ...attrs, countIncludePad: true })[0].data]).toEqual([1, 3]);
    // The last window covers element 4, the padding, and one position past it.
    const up = evaluateAll(averagePool, [x], { ...attrs, ceilMode: true, countIncludePad: true })[0];
    expect([...up.data]).toEqual([1, 3, 2]);
  });
});

test("p-norms and pooling of whole channels", () => {
  const x = hostTensor(new Float32Array([3, -4, 6, 8]), { shape: [1, 2, 2] });
  expect([...evaluateAll(lpPool, [x], { kernelShape: [2] })[0].data]).toEqual([5, 10]);
  expect([...evaluateAll(lpPool, [x], { kernelShape: [2], p: 1 })[0].data]).toEqual([7, 14]);
  expect(evaluateAll(globalLpPool, [x], {})[0]).toMatchObject({ shape: [1, 2, 1], data: new Float32Array([5, 10]) });
  expect([...evaluateAll(globalAveragePool, [x], {})[0].data]).toEqual([-0.5, 7]);
  expect([...evaluateAll(globalMaxPool, [x], {})[0].data]).toEqual([3, 8]);
});

describe("maxUnpool", () => {
  test("undoes maxPool, into a larger shape too", () => {
    const x = hostTensor(new Float32Array([1, 2, 3, 4]), { shape: [1, 1, 2, 2] });
    const indices = hostTensor(new BigInt64Array([5n, 7n, 13n, 15n]), { shape: [1, 1, 2, 2] });
    const attrs = { kernelShape: [2, 2], strides: [2, 2] };
    const [y] = evaluateAll(maxUnpool, [x, indices], attrs);
    expect([...y.data]).toEqual([0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 3, 0, 4]);
    const [wide] = evaluateAll(maxUnpool, [x, indices, hostTensor(new BigInt64Array([1n, 1n, 5n, 5n]))], attrs);
    expect(Array.from(wide.data as Float32Array).flatMap((v, i) => (v ? [[v, i]] : []))).toEqual([[1, 6], [2, 8], [3, 16], [4, 18]]); // biome-ignore format: pairs
    const outside = hostTensor(new BigInt64Array([16n, 0n, 0n, 0n]), { shape: [1, 1, 2, 2] });
    expect(() => evaluateAll(maxUnpool, [x, outside], attrs)).toThrow("index 16");
  });
});
