import { describe, expect, test } from "vitest";
import * as ops from "../../src/ops/index.ts";
import { DTypeError, ShapeError } from "../../src/tensor/errors.ts";
import { elements, evaluate, evaluateAll, expectClose, tensor } from "./evaluate.ts";

const image = tensor([[[[-1, 0, 1]], [[2, 3, 4]]]]);

describe("normalisation", () => {
  test("batchNorm with given statistics", () => {
    const y = evaluate(ops.batchNorm, [image, tensor([1, 1.5]), tensor([0, 1]), tensor([0, 3]), tensor([1, 1.5])], {
      epsilon: 0,
    });
    expectClose(y, [-1, 0, 1, -0.2247449, 1, 2.2247449]);
  });
  test("batchNormTraining uses the batch's own, and moves the running ones", () => {
    const [y, mean, variance] = evaluateAll(
      ops.batchNormTraining,
      [image, tensor([1, 1]), tensor([0, 0]), tensor([10, 10]), tensor([1, 1])],
      { epsilon: 0, momentum: 0.9 },
    );
    expectClose(y, [-1.2247449, 0, 1.2247449, -1.2247449, 0, 1.2247449]);
    expectClose(mean, [9, 9.3]);
    expectClose(variance, [0.9 + 0.2 / 3, 0.9 + 0.2 / 3]);
  });
  test("instanceNorm: the example of the ONNX documents", () => {
    const y = evaluate(ops.instanceNorm, [image, tensor([1, 1.5]), tensor([0, 1])], { epsilon: 1e-5 });
    expectClose(y, [-1.2247356, 0, 1.2247356, -0.8371034, 1, 2.8371034]);
  });
  test("groupNorm by channels and, as before opset 21, by groups", () => {
    const x = tensor([[[1], [3], [10], [20]]]);
    const perChannel = [x, tensor([1, 2, 1, 2]), tensor([0, 0, 5, 5])];
    expectClose(evaluate(ops.groupNorm, perChannel, { groups: 2, epsilon: 0 }), [-1, 2, 4, 7]);
    const perGroup = [x, tensor([1, 2]), tensor([0, 5])];
    expectClose(evaluate(ops.groupNorm, perGroup, { groups: 2, epsilon: 0 }), [-1, 1, 3, 7]);
    expect(() => evaluate(ops.groupNorm, perGroup, { groups: 3 })).toThrow(ShapeError);
  });
  test("with one group it is layerNorm over a sample, with as many as channels instanceNorm", () => {
    const [one, zero] = [tensor([1, 1]), tensor([0, 0])];
    const group = elements(evaluate(ops.groupNorm, [image, one, zero], { groups: 1 }));
    const layer = elements(evaluate(ops.layerNorm, [image, tensor(1)], { axis: 1 }));
    expect(group).toEqual(layer);
    const each = elements(evaluate(ops.groupNorm, [image, one, zero], { groups: 2 }));
    expect(each).toEqual(elements(evaluate(ops.instanceNorm, [image, one, zero])));
  });
  test("layerNorm and its statistics", () => {
    const x = tensor([
      [1, 3],
      [0, 4],
    ]);
    expectClose(evaluate(ops.layerNorm, [x, tensor([1, 2]), tensor([0, 1])], { epsilon: 0 }), [-1, 3, -1, 3]);
    const [mean, inverse] = evaluateAll(ops.layerNormStatistics, [x], { epsilon: 0 });
    expect([mean.shape, elements(mean), elements(inverse)]).toEqual([
      [2, 1],
      [2, 2],
      [1, 0.5],
    ]);
    expectClose(
      evaluate(ops.layerNorm, [x, tensor(1)], { axis: 0, epsilon: 0 }),
      [-2, 2, -4, 4].map((v) => v / Math.sqrt(10)),
    );
    expect(() => evaluate(ops.layerNorm, [x, tensor([1, 2, 3])])).toThrow(ShapeError);
    expect(() => evaluate(ops.layerNorm, [tensor([[1]], "i32"), tensor([1])])).toThrow(DTypeError);
  });
  test("rmsNorm does not move the mean", () => {
    expectClose(
      evaluate(ops.rmsNorm, [tensor([3, 4]), tensor([1, 10])], { epsilon: 0 }),
      [3, 40].map((v) => v / Math.sqrt(12.5)),
    );
    expect(evaluate(ops.rmsNorm, [tensor([3, 4], "f16"), tensor([1, 1])]).dtype).toBe("f32");
  });
  test("localResponseNorm over channels around", () => {
    const x = tensor([[[1], [2], [3]]]);
    const y = evaluate(ops.localResponseNorm, [x], { size: 3, alpha: 3, beta: 1, bias: 1 });
    expectClose(y, [1 / 6, 2 / 15, 3 / 14]);
    // Of an even size the half after the channel is the larger one.
    const even = evaluate(ops.localResponseNorm, [x], { size: 2, alpha: 2, beta: 1, bias: 1 });
    expectClose(even, [1 / 6, 2 / 14, 3 / 10]);
  });
  test("lpNorm, with zeros for rows without length", () => {
    const x = tensor([
      [3, 4],
      [0, 0],
    ]);
    expectClose(evaluate(ops.lpNorm, [x]), [0.6, 0.8, 0, 0]);
    expectClose(evaluate(ops.lpNorm, [x], { p: 1, axis: 1 }), [3 / 7, 4 / 7, 0, 0]);
    expect(() => evaluate(ops.lpNorm, [x], { p: 3 as 1 })).toThrow(ShapeError);
  });
  test("meanVarianceNorm over the axes that are named", () => {
    const x = tensor([
      [[[1]], [[10]]],
      [[[3]], [[30]]],
    ]);
    expectClose(evaluate(ops.meanVarianceNorm, [x]), [-1, -1, 1, 1]);
    expectClose(evaluate(ops.meanVarianceNorm, [x], { axes: [1] }), [-1, 1, -1, 1]);
  });
});
