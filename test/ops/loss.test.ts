import { describe, expect, test } from "vitest";
import * as ops from "../../src/ops/index.ts";
import { toF64 } from "../../src/tensor/convert.ts";
import { DTypeError, ShapeError } from "../../src/tensor/errors.ts";
import { elements, evaluate, tensor } from "./evaluate.ts";

describe("nllLoss: the examples of the ONNX documents", () => {
  const x = tensor([
    [
      [1, 2],
      [2, 2],
      [3, 2],
    ],
    [
      [0, 1],
      [2, 2],
      [1, 2],
    ],
  ]);
  const target = tensor([
    [2n, 1n],
    [0n, 2n],
  ]);
  const weight = tensor([0.2, 0.3, 0.1]);
  test("none, sum, mean", () => {
    expect(elements(evaluate(ops.nllLoss, [x, target], { reduction: "none" }))).toEqual([-3, -2, -0, -2]);
    expect(toF64(evaluate(ops.nllLoss, [x, target, weight], { reduction: "sum" }))[0]).toBeCloseTo(-1.1, 6);
    expect(toF64(evaluate(ops.nllLoss, [x, target, weight]))[0]).toBeCloseTo(-1.1 / 0.7, 6);
  });
  test("ignored targets do not count, wherever they point", () => {
    const some = tensor([
      [2n, -5n],
      [0n, 2n],
    ]);
    const y = evaluate(ops.nllLoss, [x, some], { ignoreIndex: -5 });
    expect(toF64(y)[0]).toBeCloseTo(-5 / 3, 6);
    expect(() => evaluate(ops.nllLoss, [x, some])).toThrow(ShapeError);
  });
  test("what does not fit", () => {
    expect(() => evaluate(ops.nllLoss, [x, tensor([0n, 1n])])).toThrow(ShapeError);
    expect(() => evaluate(ops.nllLoss, [x, target, tensor([1, 2])])).toThrow(ShapeError);
    expect(() =>
      evaluate(ops.nllLoss, [
        x,
        tensor([
          [2, 1],
          [0, 2],
        ]),
      ]),
    ).toThrow(DTypeError);
  });
});
