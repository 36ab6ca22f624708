import { describe, expect, test } from "vitest";
import { gemm } from "../../src/ops/gemm.ts";
import { matmul } from "../../src/ops/matmul.ts";
import { matmulInteger, qlinearMatmul } from "../../src/ops/matmul-integer.ts";
import { matmulNBits } from "../../src/ops/matmul-n-bits.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { DTypeError, ShapeError } from "../../src/tensor/errors.ts";
import { hostTensor, type NestedArray } from "../../src/tensor/host-tensor.ts";
import { evaluateAll } from "./evaluate.ts";

const t = (values: NestedArray, dtype: DType = "f32") => hostTensor(values, { dtype });
const a = t([[1, 2], [3, 4]]); // biome-ignore format: matrices
const b = t([[5, 6], [7, 8]]); // biome-ignore format: matrices

describe("matmul", () => {
  test("multiplies, and swaps axes where asked", () => {
    expect([...evaluateAll(matmul, [a, b], {})[0].data]).toEqual([19, 22, 43, 50]);
    expect([...evaluateAll(matmul, [a, b], { transposeA: true })[0].data]).toEqual([26, 30, 38, 44]);
    expect([...evaluateAll(matmul, [a, b], { transposeB: true, alpha: 2 })[0].data]).toEqual([34, 46, 78, 106]);
  });

  test("drops the axes that vectors lack", () => {
    const v = t([1, 10]);
    expect(evaluateAll(matmul, [v, b], {})[0]).toMatchObject({ shape: [2], data: new Float32Array([75, 86]) });
    expect(evaluateAll(matmul, [a, v], {})[0]).toMatchObject({ shape: [2], data: new Float32Array([21, 43]) });
    expect(evaluateAll(matmul, [v, v], {})[0]).toMatchObject({ shape: [], data: new Float32Array([101]) });
  });

  test("broadcasts batches both ways", () => {
    const x = t([[[[1]]], [[[2]]]]);
    const w = t([[[[1]], [[10]], [[100]]]]);
    const [y] = evaluateAll(matmul, [x, w], {});
    expect(y.shape).toEqual([2, 3, 1, 1]);
    expect([...y.data]).toEqual([1, 10, 100, 2, 20, 200]);
  });

  test("an empty inner dimension sums to zero", () => {
    const none = (shape: number[]) => hostTensor(new Float32Array(0), { shape });
    expect([...evaluateAll(matmul, [none([2, 0]), none([0, 1])], {})[0].data]).toEqual([0, 0]);
  });

  test("64-bit integers are exact and wrap, 32-bit ones too", () => {
    const big = t([[2n ** 62n + 1n]], "i64");
    expect(evaluateAll(matmul, [big, t([[3n]], "i64")], {})[0].data[0]).toBe(BigInt.asIntN(64, 3n * (2n ** 62n + 1n)));
    const [y] = evaluateAll(matmul, [t([[0x7fffffff]], "i32"), t([[0x7fffffff]], "i32")], {});
    expect(y.data[0]).toBe(1);
  });

  test("the epilogue adds the bias, then the residual, then activates", () => {
    const [y] = evaluateAll(matmul, [a, b, t([-20, 0]), t([[0, 1], [-100, 0]])], { activation: { kind: "relu" } }); // biome-ignore format: matrices
    expect([...y.data]).toEqual([0, 23, 0, 50]);
  });

  test("names the shapes it refuses", () => {
    expect(() => evaluateAll(matmul, [t([[1, 2, 3]]), b], {})).toThrow(ShapeError);
    expect(() => evaluateAll(matmul, [t([[1, 2, 3]]), b], {})).toThrow(
      "matmul: inner dimensions differ: f32[1,3] and f32[2,2]",
    );
    expect(() => evaluateAll(matmul, [t(1), b], {})).toThrow(ShapeError);
    expect(() => evaluateAll(matmul, [t([[1, 2]], "f64"), b], {})).toThrow(DTypeError);
    expect(() => evaluateAll(matmul, [a, b, t([1, 2, 3])], {})).toThrow("bias must be [2]");
    expect(() =>
      evaluateAll(
        matmul,
        [
          t([[[1, 2]], [[1, 2]], [[1, 2]]]),
          t([
            [[1], [2]],
            [[1], [2]],
          ]),
        ],
        {},
      ),
    ).toThrow(ShapeError);
    const i = t([[1]], "i32");
    expect(() => evaluateAll(matmul, [i, i], { activation: { kind: "relu" } })).toThrow(DTypeError);
  });
});

describe("gemm", () => {
  test("alpha a b + beta c for every broadcast of c", () => {
    const run = (c: NestedArray) => [...evaluateAll(gemm, [a, b, t(c)], { alpha: 0.5, beta: 2 })[0].data];
    expect(run(1)).toEqual([11.5, 13, 23.5, 27]);
    expect(run([1, 2])).toEqual([11.5, 15, 23.5, 29]);
    expect(run([[1], [2]])).toEqual([11.5, 13, 25.5, 29]);
    expect(run([[1, 2], [3, 4]])).toEqual([11.5, 15, 27.5, 33]); // biome-ignore format: matrices
    expect([...evaluateAll(gemm, [a, b], { transposeA: true, transposeB: true })[0].data]).toEqual([23, 31, 34, 46]);
  });

  test("refuses batches, and biases that do not broadcast", () => {
    expect(() => evaluateAll(gemm, [t([[[1]]]), t([[[1]]])], {})).toThrow(ShapeError);
    expect(() => evaluateAll(gemm, [a, b, t([1, 2, 3])], {})).toThrow(ShapeError);
    expect(() => evaluateAll(gemm, [t([[1, 2]]), b, t([[1], [2]])], {})).toThrow("broadcast");
  });
});

describe("quantized products", () => {
  test("the example of ONNX MatMulInteger", () => {
    const x = t([[11, 7, 3], [10, 6, 2], [9, 5, 1], [8, 4, 0]], "u8"); // biome-ignore format: matrices
    const w = t([[1, 4], [2, 5], [3, 6]], "u8"); // biome-ignore format: matrices
    const [y] = evaluateAll(matmulInteger, [x, w, t([12], "u8"), t([0], "u8")], {});
    expect([...y.data]).toEqual([-38, -83, -44, -98, -50, -113, -56, -128]);
  });

  test("zero points go along rows of a and columns of b", () => {
    const x = t([[5, 6], [7, 8]], "u8"); // biome-ignore format: matrices
    const [y] = evaluateAll(matmulInteger, [x, x, t([5, 7], "u8"), t([5, 6], "u8")], {});
    expect([...y.data]).toEqual([2, 2, 2, 2]);
  });

  test("the example of ONNX QLinearMatMul", () => {
    const x = t([[208, 236, 0, 238], [3, 214, 255, 29]], "u8"); // biome-ignore format: matrices
    const w = t([[152, 51, 244], [60, 26, 255], [0, 127, 246], [127, 254, 247]], "u8"); // biome-ignore format: matrices
    const s = (v: number) => t([v]);
    const z = (v: number) => t([v], "u8");
    const [y] = evaluateAll(qlinearMatmul, [x, s(0.0066), z(113), w, s(0.00705), z(114), s(0.0107), z(118)], {});
    expect(y.dtype).toBe("u8");
    expect([...y.data]).toEqual([168, 115, 255, 1, 66, 151]);
  });

  test("4-bit weights: low half first, zero point 8 unless given", () => {
    const packed = new Uint8Array(8).fill(0x88);
    packed[0] = 0xa9; // 9 then 10
    const w = hostTensor(packed, { shape: [1, 1, 8] });
    const x = t([[3, 5, ...new Array(14).fill(1)]]);
    const attrs = { k: 16, n: 1, blockSize: 16 };
    expect([...evaluateAll(matmulNBits, [x, w, t([0.5])], attrs)[0].data]).toEqual([(3 * 1 + 5 * 2) * 0.5]);
    const zero = hostTensor(new Uint8Array([0xf7]));
    expect([...evaluateAll(matmulNBits, [x, w, t([0.5]), zero], attrs)[0].data]).toEqual([(3 * 2 + 5 * 3 + 14) * 0.5]);
    expect(() => evaluateAll(matmulNBits, [x, w, t([0.5, 1])], attrs)).toThrow(ShapeError);
    expect(() => evaluateAll(matmulNBits, [x, w, t([0.5])], { ...attrs, bits: 5 })).toThrow(ShapeError);
  });

  test("refuses floats, and zero points of another dtype", () => {
    const x = t([[1]], "u8");
    expect(() => evaluateAll(matmulInteger, [a, b], {})).toThrow(DTypeError);
    expect(() => evaluateAll(matmulInteger, [x, x, t([1], "i8")], {})).toThrow(DTypeError);
  });
});
