import { describe, expect, test } from "vitest";
import * as ops from "../../src/ops/index.ts";
import { MersenneTwister } from "../../src/ops/mersenne-twister.ts";
import { DTypeError, ShapeError } from "../../src/tensor/errors.ts";
import { elements, evaluate, evaluateAll, tensor } from "./evaluate.ts";

describe("linear quantization", () => {
  test("per tensor: rounds to even, then adds the zero point, saturating", () => {
    const x = tensor([0, 2, 3, 1000, -254, -1000]);
    const y = evaluate(ops.quantizeLinear, [x, tensor(2), tensor(128, "u8")]);
    expect(y.dtype).toBe("u8");
    expect(elements(y)).toEqual([128, 129, 130, 255, 1, 0]);
  });
  test("per axis", () => {
    const x = tensor([
      [
        [
          [-162, 10],
          [-100, 232],
        ],
        [
          [-20, -50],
          [-76, 0],
        ],
      ],
    ]);
    const scale = tensor([2, 4]);
    const y = evaluate(ops.quantizeLinear, [x, scale, tensor([84, 24], "u8")]);
    expect(elements(y)).toEqual([3, 89, 34, 200, 19, 12, 5, 24]);
    const back = evaluate(ops.dequantizeLinear, [y, scale, tensor([84, 24], "u8")]);
    expect(elements(back)).toEqual([-162, 10, -100, 232, -20, -48, -76, 0]);
  });
  test("in blocks, the last one short", () => {
    const x = tensor([[6, 12, 50]]);
    const attrs = { axis: 1, blockSize: 2, dtype: "i16" as const };
    expect(elements(evaluate(ops.quantizeLinear, [x, tensor([[2, 4]])], attrs))).toEqual([3, 6, 12]);
    expect(() => evaluate(ops.quantizeLinear, [x, tensor([[2, 4, 6]])], attrs)).toThrow(ShapeError);
  });
  test("the quotient is rounded in the precision of the scale", () => {
    // 1 / 0.4 in f16 is 2.5009765625, in f64 2.5: a tie there.
    const y = evaluate(ops.quantizeLinear, [tensor([1], "f16"), tensor(0.4, "f16")], { dtype: "i8" });
    expect(elements(y)).toEqual([2]);
  });
  test("fp8 and fp4", () => {
    const f8 = evaluate(ops.quantizeLinear, [tensor([0, 1, 2, 100000, 200]), tensor(2)], { dtype: "f8e4m3fn" });
    expect(elements(f8)).toEqual([0, 0.5, 1, 448, 96]);
    const f4 = evaluate(ops.quantizeLinear, [tensor([0, 2.5, 4.8, 8.6, -30]), tensor(2)], { dtype: "f4e2m1" });
    expect(elements(f4)).toEqual([0, 1, 2, 4, -6]);
    expect(elements(evaluate(ops.dequantizeLinear, [f8, tensor(2)]))).toEqual([0, 1, 2, 896, 192]);
  });
  test("what does not fit", () => {
    expect(() => evaluate(ops.quantizeLinear, [tensor([1]), tensor(1)], { dtype: "i64" })).toThrow(DTypeError);
    expect(() => evaluate(ops.quantizeLinear, [tensor([[1, 2]]), tensor([1, 2, 3])])).toThrow(ShapeError);
    expect(() => evaluate(ops.dequantizeLinear, [tensor([1], "u8"), tensor(1), tensor(1, "i8")])).toThrow(DTypeError);
  });
  test("dynamic: the example of the ONNX documents", () => {
    const [y, scale, zero] = evaluateAll(ops.dynamicQuantizeLinear, [tensor([0, 2, -3, -2.5, 1.34, 0.5])]);
    expect(elements(y)).toEqual([153, 255, 0, 26, 221, 179]);
    expect(elements(scale)).toEqual([Math.fround(5 / 255)]);
    expect(elements(zero)).toEqual([153]);
  });
  test("dynamic: a last bit may move an element by a whole step", () => {
    // The range is 0 to 255: the scale is 1, and 2.5 lies between two steps.
    const quantized = (v: number): unknown[] => {
      const [y, scale] = evaluateAll(ops.dynamicQuantizeLinear, [tensor([0, v, 255])]);
      expect(elements(scale)).toEqual([1]);
      return elements(y);
    };
    expect(quantized(2.5)).toEqual([0, 2, 255]);
    expect(quantized(2.5 + 2 ** -22)).toEqual([0, 3, 255]);
  });
});

describe("random tensors", () => {
  test("a seed gives NumPy's numbers", () => {
    const uniform = new MersenneTwister(0);
    expect([uniform.uniform(), uniform.uniform()]).toEqual([0.5488135039273248, 0.7151893663724195]);
    const normal = new MersenneTwister(0);
    expect(normal.normal()).toBeCloseTo(1.764052345967664, 14);
    expect(normal.normal()).toBeCloseTo(0.4001572083672233, 14);
  });
  test("without a seed every run differs", () => {
    const draw = () => elements(evaluate(ops.randomUniform, [], { shape: [8] }));
    expect(draw()).not.toEqual(draw());
  });
  test("moments", () => {
    const x = elements(evaluate(ops.randomNormal, [], { shape: [20000], mean: 3, scale: 2, seed: 7 })) as number[];
    const mean = x.reduce((s, v) => s + v, 0) / x.length;
    const variance = x.reduce((s, v) => s + (v - mean) ** 2, 0) / x.length;
    expect(mean).toBeCloseTo(3, 1);
    expect(Math.sqrt(variance)).toBeCloseTo(2, 1);
  });
  test("bernoulli and multinomial follow their probabilities", () => {
    const p = tensor(new Array(4000).fill(0.3));
    const ones = elements(evaluate(ops.bernoulli, [p], { seed: 1, dtype: "i32" })) as number[];
    expect(ones.reduce((s, v) => s + v, 0) / 4000).toBeCloseTo(0.3, 1);
    const logits = tensor([[Math.log(1), Math.log(3)]]);
    const y = evaluate(ops.multinomial, [logits], { seed: 1, sampleSize: 4000 });
    expect([y.dtype, y.shape]).toEqual(["i32", [1, 4000]]);
    expect((elements(y) as number[]).reduce((s, v) => s + v, 0) / 4000).toBeCloseTo(0.75, 1);
  });
  test("shape and dtype come from an input or the attributes", () => {
    const y = evaluate(ops.randomNormal, [tensor([[1, 2]], "f16")], { seed: 1 });
    expect([y.dtype, y.shape]).toEqual(["f16", [1, 2]]);
    expect(() => evaluate(ops.randomNormal, [], {})).toThrow(ShapeError);
    expect(() => evaluate(ops.randomUniform, [], { shape: [1], dtype: "i32" })).toThrow(DTypeError);
  });
});

describe("dropout", () => {
  const x = tensor([[1, 2, 3, 4]]);
  test("changes nothing at inference", () => {
    const [y, mask] = evaluateAll(ops.dropout, [x, tensor(0.5)], { seed: 0 });
    expect(elements(y)).toEqual([1, 2, 3, 4]);
    expect(elements(mask)).toEqual([1, 1, 1, 1]);
  });
  test("in training drops where NumPy's uniform numbers are below the ratio", () => {
    // RandomState(0).uniform(): 0.549, 0.715, 0.603, 0.545.
    const [y, mask] = evaluateAll(ops.dropout, [x, tensor(0.6), tensor(true)], { seed: 0 });
    expect(elements(mask)).toEqual([0, 1, 1, 0]);
    expect((elements(y) as number[]).map((v) => Math.round(v * 10) / 10)).toEqual([0, 5, 7.5, 0]);
  });
});
