import { describe, expect, test } from "vitest";
import { col2im } from "../../src/ops/col2im.ts";
import { conv } from "../../src/ops/conv.ts";
import { convInteger, qlinearConv } from "../../src/ops/conv-integer.ts";
import { convTranspose } from "../../src/ops/conv-transpose.ts";
import { deformConv } from "../../src/ops/deform-conv.ts";
import { resolveWindow } from "../../src/ops/window.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { ShapeError } from "../../src/tensor/errors.ts";
import { hostTensor, type NestedArray } from "../../src/tensor/host-tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { evaluateAll, iota } from "./evaluate.ts";

const ones = (...shape: number[]) => hostTensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1), { shape });
const t = (values: NestedArray, dtype: DType = "f32", shape?: number[]) => hostTensor(values, { dtype, shape });
const i64 = (...values: number[]) => hostTensor(BigInt64Array.from(values, BigInt));

describe("windows", () => {
  test("paddings by rule", () => {
    const same = (autoPad: "sameUpper" | "sameLower") =>
      resolveWindow("conv", [5, 4], [2, 3], { autoPad, strides: [1, 2] });
    expect(same("sameUpper")).toMatchObject({ output: [5, 2], padBegin: [0, 0], padEnd: [1, 1] });
    expect(same("sameLower")).toMatchObject({ output: [5, 2], padBegin: [1, 1], padEnd: [0, 0] });
    expect(resolveWindow("conv", [5], [3], { autoPad: "valid", strides: [2] }).output).toEqual([2]);
  });

  test("attributes of the wrong length or sign", () => {
    expect(() => resolveWindow("conv", [5, 5], [3, 3], { strides: [1] })).toThrow(ShapeError);
    expect(() => resolveWindow("conv", [5, 5], [3, 3], { strides: [1, 0] })).toThrow("strides");
    expect(() => resolveWindow("conv", [5], [3], { pads: [0, -1] })).toThrow("pads");
    expect(() => resolveWindow("conv", [5], [4], { dilations: [2] })).toThrow("larger than the padded input");
  });
});

describe("conv", () => {
  test("the examples of ONNX Conv", () => {
    const padded = [
      12, 21, 27, 33, 24, 33, 54, 63, 72, 51, 63, 99, 108, 117, 81, 93, 144, 153, 162, 111, 72, 111, 117, 123, 84,
    ];
    expect([...evaluateAll(conv, [iota(1, 1, 5, 5), ones(1, 1, 3, 3)], { pads: [1, 1, 1, 1] })[0].data]).toEqual(
      padded,
    );
    const [y] = evaluateAll(conv, [iota(1, 1, 7, 5), ones(1, 1, 3, 3)], { pads: [1, 0, 1, 0], strides: [2, 2] });
    expect(y.shape).toEqual([1, 1, 4, 2]);
    expect([...y.data]).toEqual([21, 33, 99, 117, 189, 207, 171, 183]);
  });

  test("groups see their own channels only; bias, residual and activation follow", () => {
    const x = t([[[1, 2], [10, 20]]]); // biome-ignore format: channels
    const w = t([[[1]], [[-1]]]);
    expect([...evaluateAll(conv, [x, w], { groups: 2 })[0].data]).toEqual([1, 2, -10, -20]);
    const residual = t([[[0, 1], [0, 30]]]); // biome-ignore format: channels
    const attrs = { groups: 2, activation: { kind: "relu" } } as const;
    expect([...evaluateAll(conv, [x, w, t([1, 2]), residual], attrs)[0].data]).toEqual([2, 4, 0, 12]);
  });

  test("three spatial axes, dilated", () => {
    const [y] = evaluateAll(conv, [iota(1, 1, 3, 3, 3), ones(1, 1, 2, 2, 2)], { dilations: [2, 2, 2] });
    expect(y.shape).toEqual([1, 1, 1, 1, 1]);
    expect(y.data[0]).toBe(0 + 2 + 6 + 8 + 18 + 20 + 24 + 26);
  });

  test("refuses channels and groups that do not fit", () => {
    expect(() => evaluateAll(conv, [iota(1, 3, 4), iota(2, 2, 1)], {})).toThrow(ShapeError);
    expect(() => evaluateAll(conv, [iota(1, 3, 4), iota(2, 1, 1)], { groups: 2 })).toThrow("groups");
    expect(() => evaluateAll(conv, [iota(1, 2, 4), iota(3, 1, 1)], { groups: 2 })).toThrow("groups");
    expect(() => evaluateAll(conv, [iota(1, 3), iota(2, 3)], {})).toThrow(ShapeError);
    expect(() => evaluateAll(conv, [iota(1, 1, 4), iota(1, 1, 2)], { kernelShape: [3] })).toThrow("kernel shape");
  });
});

describe("convTranspose", () => {
  test("the examples of ONNX ConvTranspose", () => {
    const x = iota(1, 1, 3, 3);
    const w = ones(1, 2, 3, 3);
    const plane = [0, 1, 3, 3, 2, 3, 8, 15, 12, 7, 9, 21, 36, 27, 15, 9, 20, 33, 24, 13, 6, 13, 21, 15, 8];
    expect([...evaluateAll(convTranspose, [x, w], {})[0].data]).toEqual([...plane, ...plane]);
    const shaped = evaluateAll(convTranspose, [x, w], { strides: [3, 2], outputShape: [10, 8] })[0];
    expect(shaped.shape).toEqual([1, 2, 10, 8]);
    expect([...shaped.data.slice(0, 8)]).toEqual([0, 0, 1, 1, 3, 2, 2, 0]);
    expect([...shaped.data.slice(72, 80)]).toEqual(new Array(8).fill(0));
    const padded = evaluateAll(convTranspose, [x, w], { strides: [3, 2], outputPadding: [1, 1] })[0];
    expect(padded.data).toEqual(shaped.data);
    const cut = evaluateAll(convTranspose, [x, w], { strides: [3, 2], pads: [1, 2, 1, 2] })[0];
    expect(cut.shape).toEqual([1, 2, 7, 3]);
    expect([...cut.data.slice(0, 9)]).toEqual([1, 1, 3, 1, 1, 3, 7, 4, 9]);
    const same = evaluateAll(convTranspose, [x, w], { strides: [2, 2], autoPad: "sameUpper" })[0];
    expect(same.shape).toEqual([1, 2, 6, 6]);
    expect([...same.data.slice(0, 6)]).toEqual([0, 0, 1, 1, 3, 2]);
  });

  test("is the adjoint of conv: <conv(x), y> = <x, convTranspose(y)>", () => {
    const attrs = { strides: [2, 1], pads: [1, 0, 0, 1], dilations: [1, 2], groups: 2 };
    const x = tensorFrom(1, "f64", [2, 4, 6, 7]);
    const w = tensorFrom(2, "f64", [6, 2, 3, 2]);
    const [cx] = evaluateAll(conv, [x, w], attrs);
    const y = tensorFrom(3, "f64", cx.shape);
    const [ty] = evaluateAll(convTranspose, [y, w], { ...attrs, outputShape: undefined });
    const dot = (p: ArrayLike<number>, q: ArrayLike<number>): number =>
      Array.from(p).reduce((s, v, i) => s + v * q[i], 0);
    expect(ty.shape).toEqual(x.shape);
    expect(dot(cx.data as Float64Array, y.data as Float64Array)).toBeCloseTo(
      dot(x.data as Float64Array, ty.data as Float64Array),
      8,
    );
  });

  test("refuses padding that eats the output", () => {
    expect(() => evaluateAll(convTranspose, [iota(1, 1, 1), ones(1, 1, 2)], { pads: [1, 1] })).toThrow(ShapeError);
  });
});

describe("other convolutions", () => {
  test("the example of ONNX ConvInteger: padding is the zero point", () => {
    const x = t([2, 3, 4, 5, 6, 7, 8, 9, 10], "u8", [1, 1, 3, 3]);
    const w = t([1, 1, 1, 1], "u8", [1, 1, 2, 2]);
    expect([...evaluateAll(convInteger, [x, w, t(1, "u8")], {})[0].data]).toEqual([12, 16, 24, 28]);
    const padded = [1, 3, 5, 3, 5, 12, 16, 9, 11, 24, 28, 15, 7, 15, 17, 9];
    expect([...evaluateAll(convInteger, [x, w, t(1, "u8")], { pads: [1, 1, 1, 1] })[0].data]).toEqual(padded);
  });

  test("qlinearConv rounds halves to even, saturates, adds the bias in i32", () => {
    const one = (v: number, dtype: DType = "f32") => t(v, dtype);
    const x = t([1, 3, 5, 255], "u8", [1, 1, 4]);
    const w = t([1, -1], "i8", [2, 1, 1]);
    const inputs = [x, one(1), one(0, "u8"), w, t([1, 2]), t([0, 0], "i8"), one(2), one(10, "u8"), t([0, 4], "i32")];
    expect([...evaluateAll(qlinearConv, inputs, {})[0].data]).toEqual([10, 12, 12, 138, 13, 11, 9, 0]);
  });

  test("deformConv without displacement is conv; half a pixel interpolates; a mask scales", () => {
    const x = iota(1, 1, 3, 3);
    const w = ones(1, 1, 2, 2);
    const still = t(new Array(32).fill(0), "f32", [1, 8, 2, 2]);
    expect(evaluateAll(deformConv, [x, w, still], {})[0].data).toEqual(evaluateAll(conv, [x, w], {})[0].data);
    const moved = new Float32Array(32);
    moved[0] = 0.5; // first tap, vertical, first window: reads (0 + 3) / 2 instead of 0
    const offset = hostTensor(moved, { shape: [1, 8, 2, 2] });
    expect(evaluateAll(deformConv, [x, w, offset], {})[0].data[0]).toBe(8 + 1.5);
    const mask = t(new Array(16).fill(0.5), "f32", [1, 4, 2, 2]);
    expect(evaluateAll(deformConv, [x, w, still, t([1]), mask], {})[0].data[0]).toBe(5);
    expect(() => evaluateAll(deformConv, [x, w, t([[1]])], {})).toThrow(ShapeError);
  });

  test("col2im sums where windows overlap", () => {
    const [y] = evaluateAll(col2im, [t([[[1, 2, 3], [10, 20, 30]]]), i64(4), i64(2)], {}); // biome-ignore format: columns
    expect(y).toMatchObject({ shape: [1, 1, 4], data: new Float32Array([1, 12, 23, 30]) });
    expect(() => evaluateAll(col2im, [t([[[1, 2], [10, 20]]]), i64(4), i64(2)], {})).toThrow("3 windows"); // biome-ignore format: columns
  });
});
