import { describe, expect, test } from "vitest";
import { parseProduct } from "../../src/formats/onnx/ops/einsum.ts";
import * as ops from "../../src/ops/index.ts";
import { DTypeError, ShapeError } from "../../src/tensor/errors.ts";
import { elements, evaluate, tensor } from "./evaluate.ts";

const x = tensor([
  [
    [1, 2],
    [3, 4],
  ],
  [
    [5, 6],
    [7, 8],
  ],
  [
    [9, 10],
    [11, 12],
  ],
]);
const axes = (...list: number[]) => tensor(list.map(BigInt));
const empty = (dtype: "f32" | "i32" | "bool" | "u8" | "i64") => ({
  ...tensor([], dtype),
  shape: [2, 0, 4],
});

describe("reductions", () => {
  test("axes and kept dimensions", () => {
    const y = evaluate(ops.reduceSum, [x, axes(1)], { keepDims: false });
    expect([y.shape, elements(y)]).toEqual([
      [3, 2],
      [4, 6, 12, 14, 20, 22],
    ]);
    expect(evaluate(ops.reduceSum, [x, axes(-2)]).shape).toEqual([3, 1, 2]);
    expect(elements(evaluate(ops.reduceSum, [x]))).toEqual([78]);
    expect(evaluate(ops.reduceSum, [x], { keepDims: false }).shape).toEqual([]);
    expect(elements(evaluate(ops.reduceSum, [x, axes(0, 2)]))).toEqual([33, 45]);
  });
  test("each one, by hand", () => {
    const v = tensor([3, -4]);
    const of = (op: typeof ops.reduceSum): unknown => elements(evaluate(op, [v]))[0];
    expect(of(ops.reduceMean)).toBe(-0.5);
    expect(of(ops.reduceProd)).toBe(-12);
    expect(of(ops.reduceMax)).toBe(3);
    expect(of(ops.reduceMin)).toBe(-4);
    expect(of(ops.reduceL1)).toBe(7);
    expect(of(ops.reduceL2)).toBe(5);
    expect(of(ops.reduceSumSquare)).toBe(25);
    expect(of(ops.reduceLogSum)).toBe(Number.NaN);
    expect(of(ops.reduceLogSumExp)).toBeCloseTo(3.00091147, 6);
  });
  test("logSumExp does not overflow", () => {
    expect(elements(evaluate(ops.reduceLogSumExp, [tensor([1000, 1000], "f64")]))[0]).toBeCloseTo(1000 + Math.LN2, 9);
  });
  test("without axes and with noopWithEmptyAxes only the arithmetic of one element is left", () => {
    const v = tensor([-2, 3]);
    expect(elements(evaluate(ops.reduceSum, [v], { noopWithEmptyAxes: true }))).toEqual([-2, 3]);
    expect(elements(evaluate(ops.reduceSumSquare, [v, axes()], { noopWithEmptyAxes: true }))).toEqual([4, 9]);
    expect(elements(evaluate(ops.reduceSum, [v, axes()], {}))).toEqual([1]);
  });
  test("sets without elements", () => {
    const of = (op: typeof ops.reduceSum, dtype: "f32" | "i32" | "bool" | "u8" | "i64"): unknown[] =>
      elements(evaluate(op, [empty(dtype), axes(1)]));
    expect(of(ops.reduceSum, "f32")[7]).toBe(0);
    expect(of(ops.reduceProd, "i64")[7]).toBe(1n);
    expect(of(ops.reduceMax, "f32")[7]).toBe(-Infinity);
    expect(of(ops.reduceMax, "i32")[7]).toBe(-(2 ** 31));
    expect(of(ops.reduceMin, "u8")[7]).toBe(255);
    expect(of(ops.reduceMax, "bool")[7]).toBe(0);
    expect(of(ops.reduceMin, "bool")[7]).toBe(1);
    expect(of(ops.reduceLogSum, "f32")[7]).toBe(-Infinity);
    expect(of(ops.reduceLogSumExp, "f32")[7]).toBe(-Infinity);
  });
  test("64-bit integers are exact and wrap", () => {
    const big = tensor([2n ** 53n, 1n]);
    expect(elements(evaluate(ops.reduceSum, [big]))).toEqual([2n ** 53n + 1n]);
    expect(elements(evaluate(ops.reduceSum, [tensor([2n ** 63n - 1n, 1n])]))).toEqual([-(2n ** 63n)]);
    expect(elements(evaluate(ops.reduceProd, [tensor([65537, 65537], "i32")]))).toEqual([131073]);
  });
  test("bool: False < True", () => {
    const b = tensor([
      [true, false],
      [false, false],
    ]);
    expect(elements(evaluate(ops.reduceMax, [b, axes(1)]))).toEqual([1, 0]);
    expect(elements(evaluate(ops.reduceMin, [b, axes(0)]))).toEqual([0, 0]);
    expect(() => evaluate(ops.reduceSum, [b])).toThrow(DTypeError);
  });
  test("what does not fit", () => {
    expect(() => evaluate(ops.reduceSum, [x, axes(3)])).toThrow(ShapeError);
    expect(() => evaluate(ops.reduceSum, [x, axes(1, -2)])).toThrow(ShapeError);
  });
});

describe("arg-reductions", () => {
  const v = tensor([
    [2, 2],
    [3, 10],
  ]);
  test("the examples of the ONNX documents", () => {
    expect(elements(evaluate(ops.argMax, [v], { axis: 1, keepDims: false }))).toEqual([0n, 1n]);
    expect(elements(evaluate(ops.argMax, [v], { axis: 1, selectLastIndex: true }))).toEqual([1n, 1n]);
    expect(elements(evaluate(ops.argMin, [v], { axis: 1, selectLastIndex: true }))).toEqual([1n, 0n]);
    expect(evaluate(ops.argMax, [v]).shape).toEqual([1, 2]);
  });
  test("NaN is beyond every number", () => {
    expect(elements(evaluate(ops.argMax, [tensor([1, Number.NaN, 3])]))).toEqual([1n]);
    expect(elements(evaluate(ops.argMin, [tensor([1, Number.NaN, 3])]))).toEqual([1n]);
  });
  test("an empty axis has no position", () => {
    expect(() => evaluate(ops.argMax, [empty("f32")], { axis: 1 })).toThrow(ShapeError);
  });
});

describe("running sums and products", () => {
  const v = tensor([1, 2, 3]);
  const along = tensor(0n);
  test("the examples of the ONNX documents", () => {
    expect(elements(evaluate(ops.cumSum, [v, along]))).toEqual([1, 3, 6]);
    expect(elements(evaluate(ops.cumSum, [v, along], { exclusive: true }))).toEqual([0, 1, 3]);
    expect(elements(evaluate(ops.cumSum, [v, along], { reverse: true }))).toEqual([6, 5, 3]);
    expect(elements(evaluate(ops.cumSum, [v, along], { exclusive: true, reverse: true }))).toEqual([5, 3, 0]);
    expect(elements(evaluate(ops.cumProd, [v, along], { exclusive: true }))).toEqual([1, 1, 2]);
    expect(elements(evaluate(ops.cumProd, [v, along], { exclusive: true, reverse: true }))).toEqual([6, 3, 1]);
  });
  test("integers keep all their bits", () => {
    expect(elements(evaluate(ops.cumSum, [tensor([2n ** 60n, 1n]), along]))).toEqual([2n ** 60n, 2n ** 60n + 1n]);
  });
  test("what does not fit", () => {
    expect(() => evaluate(ops.cumSum, [v, tensor(1n)])).toThrow(ShapeError);
    expect(() => evaluate(ops.cumSum, [v, tensor([0n, 0n])])).toThrow(ShapeError);
  });
});

describe("einsum", () => {
  const a = tensor([
    [1, 2],
    [3, 4],
  ]);
  const of = (equation: string, ...xs: (typeof a)[]): unknown => elements(evaluate(ops.einsum, xs, { equation }));
  test("products, traces, diagonals, sums, transposes", () => {
    expect(of("ij,jk->ik", a, a)).toEqual([7, 10, 15, 22]);
    expect(of("ij,jk", a, a)).toEqual([7, 10, 15, 22]);
    expect(of("ii", a)).toEqual([5]);
    expect(of("ii->i", a)).toEqual([1, 4]);
    expect(of("ij->", a)).toEqual([10]);
    expect(of("ji", a)).toEqual([1, 3, 2, 4]);
    expect(of("i,j->ij", tensor([1, 2]), tensor([3, 4]))).toEqual([3, 4, 6, 8]);
    expect(of("ij,ij,ij->i", a, a, a)).toEqual([9, 91]);
  });
  test("an ellipsis stands for what the letters leave, and broadcasts", () => {
    const batch = tensor([
      [
        [1, 2],
        [3, 4],
      ],
      [
        [5, 6],
        [7, 8],
      ],
    ]);
    expect(of("...ij,...jk->...ik", batch, a)).toEqual([7, 10, 15, 22, 23, 34, 31, 46]);
    expect(of("...i", batch)).toEqual(elements(batch));
    expect(of("i...->...", batch)).toEqual([6, 8, 10, 12]);
  });
  test("upper case is not lower case, and comes first", () => {
    expect(of("aB", a)).toEqual([1, 3, 2, 4]);
  });
  test("what does not fit", () => {
    expect(() => of("ij,jk->ik", a)).toThrow(ShapeError);
    expect(() => of("ijk", a)).toThrow(ShapeError);
    expect(() => of("ij->iz", a)).toThrow(ShapeError);
    expect(() => of("ij,jk->ik", a, tensor([[1, 2, 3]]))).not.toThrow();
    expect(() => of("ij,ij->ij", a, tensor([[1, 2, 3]]))).toThrow(ShapeError);
    expect(() => of("i1", a)).toThrow(ShapeError);
  });
  test("which equations are products of matrices", () => {
    expect(parseProduct("bhid,bhjd->bhij")).toMatchObject({
      batch: ["b", "h"],
      rows: ["i"],
      columns: ["j"],
      inner: ["d"],
    });
    expect(parseProduct("ij,kj")).toMatchObject({ output: "ik", inner: ["j"] });
    expect(parseProduct("ii,ij->j")).toBeUndefined();
    expect(parseProduct("...ij,jk->...ik")).toBeUndefined();
    expect(parseProduct("ij,jk,kl->il")).toBeUndefined();
  });
});
