import { describe, expect, test } from "vitest";
import * as ops from "../../src/ops/index.ts";
import { toF64 } from "../../src/tensor/convert.ts";
import { DTypeError, ShapeError } from "../../src/tensor/errors.ts";
import { elements, evaluate, tensor } from "./evaluate.ts";

describe("softmax", () => {
  test("the example of the ONNX documents", () => {
    const y = toF64(evaluate(ops.softmax, [tensor([[-1, 0, 1]])]));
    [0.09003058, 0.24472848, 0.66524094].forEach((v, i) => {
      expect(y[i]).toBeCloseTo(v, 7);
    });
  });
  test("large numbers do not overflow", () => {
    const x = tensor([
      [0, 1, 2, 3],
      [10000, 10001, 10002, 10003],
    ]);
    const y = toF64(evaluate(ops.softmax, [x]));
    expect([...y.subarray(4)]).toEqual([...y.subarray(0, 4)]);
    expect(y[0]).toBeCloseTo(0.032058604, 7);
  });
  test("along an axis that is not the last", () => {
    const y = elements(
      evaluate(
        ops.softmax,
        [
          tensor([
            [1, 2],
            [1, 2],
          ]),
        ],
        { axis: 0 },
      ),
    );
    expect(y).toEqual([0.5, 0.5, 0.5, 0.5]);
  });
  test("logSoftmax is its logarithm where that exists", () => {
    const y = toF64(evaluate(ops.logSoftmax, [tensor([[-1, 0, 1]])]));
    [-2.4076059, -1.4076059, -0.40760596].forEach((v, i) => {
      expect(y[i]).toBeCloseTo(v, 6);
    });
    expect(elements(evaluate(ops.logSoftmax, [tensor([0, -1000])]))).toEqual([0, -1000]);
  });
  test("hardmax takes the first of equal maxima", () => {
    const x = tensor([
      [3, 0, 1, 2],
      [2, 5, 1, 5],
    ]);
    expect(elements(evaluate(ops.hardmax, [x]))).toEqual([1, 0, 0, 0, 0, 1, 0, 0]);
    expect(elements(evaluate(ops.hardmax, [x], { axis: 0 }))).toEqual([1, 0, 1, 0, 0, 1, 0, 1]);
  });
  test("scalars and empty rows", () => {
    expect(elements(evaluate(ops.softmax, [tensor(7)]))).toEqual([1]);
    expect(evaluate(ops.softmax, [{ dtype: "f32", shape: [2, 0], data: new Float32Array() }]).shape).toEqual([2, 0]);
  });
  test("what does not fit", () => {
    expect(() => evaluate(ops.softmax, [tensor([1, 2])], { axis: 1 })).toThrow(ShapeError);
    expect(() => evaluate(ops.softmax, [tensor([1], "i32")])).toThrow(DTypeError);
  });
});
