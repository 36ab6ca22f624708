import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { activationOf, applyActivation } from "../../src/ops/activation.ts";
import * as ops from "../../src/ops/index.ts";
import type { AnyOp, AttrsOf } from "../../src/ops/op.ts";
import { erf, erfc } from "../../src/ops/special.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { DTypeError, InputError, ShapeError } from "../../src/tensor/errors.ts";
import { hostTensor, type NestedArray } from "../../src/tensor/host-tensor.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { elements, evaluate, tensor } from "./evaluate.ts";

const { NaN: nan } = Number;
const inf = Infinity;

const apply1 = <O extends AnyOp>(op: O, x: NestedArray, dtype: DType = "f32", attrs?: AttrsOf<O>) =>
  elements(evaluate(op, [tensor(x, dtype)], attrs));
const apply2 = <O extends AnyOp>(op: O, a: NestedArray, b: NestedArray, dtype: DType = "f32", attrs?: AttrsOf<O>) =>
  elements(evaluate(op, [tensor(a, dtype), tensor(b, dtype)], attrs));

describe("unary operators", () => {
  test("round takes halves to even", () => {
    const x = [0.1, 0.5, 0.9, 1.2, 1.5, 1.8, 2.3, 2.5, 2.7, -1.1, -1.5, -1.9, -2.2, -2.5, -2.8];
    expect(apply1(ops.round, x)).toEqual([0, 0, 1, 1, 2, 2, 2, 2, 3, -1, -2, -2, -2, -2, -3]);
  });
  test("erf to double precision", () => {
    // Values of DLMF table 7.23.
    expect(erf(0.5)).toBeCloseTo(0.5204998778130465, 15);
    expect(erf(-2)).toBeCloseTo(-0.9953222650189527, 15);
    expect(erfc(5) / 1.5374597944280349e-12).toBeCloseTo(1, 12);
    expect([erf(inf), erf(-inf), erf(nan), erfc(-inf)]).toEqual([1, -1, nan, 2]);
  });
  test("abs and neg of the smallest i64 wrap, as two's complement does", () => {
    const smallest = -(1n << 63n);
    expect(apply1(ops.abs, [smallest, -5n], "i64")).toEqual([smallest, 5n]);
    expect(apply1(ops.neg, [smallest, -5n], "i64")).toEqual([smallest, 5n]);
  });
  test("sign keeps NaN, relu takes integers", () => {
    expect(apply1(ops.sign, [-3, 0, 9, nan])).toEqual([-1, 0, 1, nan]);
    expect(apply1(ops.relu, [-3, 0, 9], "i32")).toEqual([0, 0, 9]);
    expect(apply1(ops.relu, [-1, nan])).toEqual([0, nan]);
  });
  test("activations at points that the ONNX documents give", () => {
    expect(apply1(ops.elu, [-1, 0, 1], "f64", { alpha: 2 })).toEqual([2 * Math.expm1(-1), 0, 1]);
    expect(apply1(ops.leakyRelu, [-1, 0, 1], "f64", { alpha: 0.1 })).toEqual([-0.1, 0, 1]);
    expect(apply1(ops.hardSigmoid, [-1, 0, 1], "f64", { alpha: 0.5, beta: 0.6 })).toEqual([
      0.09999999999999998, 0.6, 1,
    ]);
    expect(apply1(ops.thresholdedRelu, [-1.5, 0, 1.2, 2.2, 2], "f64", { alpha: 2 })).toEqual([0, 0, 0, 2.2, 0]);
    expect(apply1(ops.shrink, [-2, -1, 0, 1, 2], "f32", { lambda: 1.5, bias: 1.5 })).toEqual([-0.5, 0, 0, 0, 0.5]);
    expect(apply1(ops.softsign, [-1, 0, 1])).toEqual([-0.5, 0, 0.5]);
    const [low, , high] = apply1(ops.gelu, [-1, 0, 1], "f64") as number[];
    expect(low).toBeCloseTo(-0.15865526, 7);
    expect(high).toBeCloseTo(0.84134474, 7);
    expect((apply1(ops.gelu, [1], "f64", { approximate: "tanh" }) as number[])[0]).toBeCloseTo(0.841192, 6);
  });
  test("sigmoid and softplus neither overflow nor lose their tails", () => {
    expect(apply1(ops.sigmoid, [-700, 700], "f64")).toEqual([Math.exp(-700), 1]);
    expect(apply1(ops.softplus, [-700, 800], "f64")).toEqual([Math.exp(-700), 800]);
  });
  test("every activation is the operator of its name", () => {
    for (const op of [ops.relu, ops.sigmoid, ops.silu, ops.gelu, ops.hardSwish, ops.mish, ops.selu, ops.celu]) {
      const a = activationOf(op.op.name)!;
      expect(apply1<AnyOp>(op, [-1.5, 0.25], "f64")).toEqual([-1.5, 0.25].map((v) => applyActivation(a, v)));
    }
    expect(applyActivation(undefined, -7)).toBe(-7);
    expect(activationOf("add")).toBeUndefined();
    expect(activationOf("swish", { alpha: 1.702 })).toEqual({ kind: "swish", alpha: 1.702 });
  });
  test("floats only, where the specification says so", () => {
    expect(() => apply1(ops.sqrt, [1], "i32")).toThrow(DTypeError);
    expect(() => apply1(ops.sqrt, [1], "i32")).toThrow("sqrt: takes float tensors: i32[1]");
    expect(() => apply1(ops.neg, [1], "u8")).toThrow(DTypeError);
  });
});

describe("binary operators", () => {
  test("integers wrap and divide towards zero", () => {
    expect(apply2(ops.add, [200], [100], "u8")).toEqual([44]);
    expect(apply2(ops.mul, [2147483647], [2147483647], "i32")).toEqual([1]);
    expect(apply2(ops.sub, [1n], [2n], "u64")).toEqual([(1n << 64n) - 1n]);
    expect(apply2(ops.div, [-7, 7, -7, 7], [2, -2, -2, 0], "i32")).toEqual([-3, -3, 3, 0]);
    expect(apply2(ops.mul, [3037000500n], [3037000500n], "i64")).toEqual([3037000500n * 3037000500n - (1n << 64n)]);
  });
  test("mod follows the divisor, fmod the dividend", () => {
    const a = [-4, 7, 5, 4, -7, 8];
    const b = [2, -3, 8, -2, 3, 5];
    expect(apply2(ops.mod, a, b, "i32")).toEqual([0, -2, 5, 0, 2, 3]);
    expect(apply2(ops.mod, a, b, "i64", { fmod: true })).toEqual([0n, 1n, 5n, 0n, -1n, 3n]);
    expect(apply2(ops.mod, [-4.3, 7.2, 5], [2.1, -3.4, 8], "f64", { fmod: true })).toEqual([-4.3 % 2.1, 7.2 % -3.4, 5]);
    expect(apply2(ops.mod, [0, 0, inf, 1, 1, -1, nan], [-2, 2, 2, 0, inf, inf, 1], "f64")).toEqual([
      -0,
      0,
      nan,
      nan,
      1,
      inf,
      nan,
    ]);
  });
  test("pow takes exponents of another dtype", () => {
    const pow = (x: HostTensor, e: HostTensor) => elements(evaluate(ops.pow, [x, e]));
    expect(pow(tensor([1, 2, 3]), tensor([4n, 5n, 6n]))).toEqual([1, 32, 729]);
    expect(pow(tensor([1n, 2n, -3n]), tensor([4, 5, 3], "f32"))).toEqual([1n, 32n, -27n]);
    expect(pow(tensor([3n, 2n, -1n, 2n]), tensor([41n, 63n, -3n, -1n]))).toEqual([
      BigInt.asIntN(64, 3n ** 41n),
      -(1n << 63n),
      -1n,
      0n,
    ]);
    expect(pow(tensor([1, -1]), tensor([nan, inf]))).toEqual([1, 1]);
  });
  test("min and max hand on NaN", () => {
    expect(apply2(ops.min, [1, nan, 3], [2, 0, nan])).toEqual([1, nan, nan]);
    expect(apply2(ops.max, [1, 5], [2, 4], "u64")).toEqual([2n, 5n]);
  });
  test("broadcasting both ways, and its limits", () => {
    const y = evaluate(ops.add, [tensor([[1], [2]]), tensor([10, 20, 30])]);
    expect(y.shape).toEqual([2, 3]);
    expect(elements(y)).toEqual([11, 21, 31, 12, 22, 32]);
    expect(() => apply2(ops.add, [1, 2], [1, 2, 3])).toThrow(ShapeError);
    expect(() => evaluate(ops.add, [tensor([1]), tensor([1n])])).toThrow(
      "add: inputs differ in dtype: f32[1] and i64[1]",
    );
    expect(() => evaluate(ops.prelu, [tensor([1]), tensor([1, 2])])).toThrow(ShapeError);
    expect(() => evaluate(ops.swiglu, [tensor([1, 2]), tensor([1])])).toThrow(ShapeError);
  });
  test("shifts beyond the width", () => {
    const shift = (a: NestedArray, b: NestedArray, dtype: DType, direction: "left" | "right") =>
      apply2(ops.bitShift, a, b, dtype, { direction });
    expect(shift([16, 4, 1], [1, 2, 9], "u8", "right")).toEqual([8, 1, 0]);
    expect(shift([-8, -8, 8, -8], [1, 40, 40, -1], "i32", "right")).toEqual([-4, -1, 0, -1]);
    expect(shift([255, 1, 1], [1, 8, 7], "u8", "left")).toEqual([254, 0, 128]);
  });
  test("bits and logic", () => {
    expect(apply2(ops.bitwiseAnd, [12, -1], [10, 7], "i32")).toEqual([8, 7]);
    expect(apply1(ops.bitwiseNot, [0, 5], "u8")).toEqual([255, 250]);
    expect(apply1(ops.bitwiseNot, [0n], "i64")).toEqual([-1n]);
    expect(apply2(ops.xor, [true, true, false], [true, false, false], "bool")).toEqual([0, 1, 0]);
    expect(() => apply2(ops.and, [1], [1])).toThrow(DTypeError);
    expect(() => apply2(ops.bitwiseOr, [1], [1])).toThrow(DTypeError);
  });
  test("comparisons: i64 exactly, strings, NaN", () => {
    const big = 1n << 62n;
    expect(apply2(ops.equal, [big], [big + 1n], "i64")).toEqual([0]);
    expect(apply2(ops.less, [big], [big + 1n], "i64")).toEqual([1]);
    expect(apply2(ops.equal, ["a", "b"], ["a", "c"], "string")).toEqual([1, 0]);
    expect(apply2(ops.equal, [nan], [nan])).toEqual([0]);
    expect(apply2(ops.greaterOrEqual, [2, 1, nan], [2, 2, 0])).toEqual([1, 0, 0]);
    expect(apply1(ops.isInf, [inf, -inf, nan], "f32", { detectNegative: false })).toEqual([1, 0, 0]);
    expect(apply1(ops.isNan, [inf, nan, 0])).toEqual([0, 1, 0]);
  });
});

describe("where and clip", () => {
  test("where moves any dtype", () => {
    const condition = tensor([true, false], "bool");
    expect(elements(evaluate(ops.where, [condition, tensor(["a", "b"]), tensor(["c"])]))).toEqual(["a", "c"]);
    expect(elements(evaluate(ops.where, [condition, tensor(1n), tensor([[3n, 4n]])]))).toEqual([1n, 4n]);
    expect(() => evaluate(ops.where, [tensor([1]), tensor([1]), tensor([1])])).toThrow(DTypeError);
  });
  test("clip: either bound may miss, the upper one wins, NaN stays", () => {
    const x = tensor([-2, 0, 2, nan]);
    expect(elements(evaluate(ops.clip, [x, tensor(-1), tensor(1)]))).toEqual([-1, 0, 1, nan]);
    expect(elements(evaluate(ops.clip, [x, undefined, tensor(1)]))).toEqual([-2, 0, 1, nan]);
    expect(elements(evaluate(ops.clip, [x, tensor(2), tensor(1)]))).toEqual([1, 1, 1, nan]);
    expect(elements(evaluate(ops.clip, [tensor([-9n, 9n]), tensor(-1n)]))).toEqual([-1n, 9n]);
    expect(() => evaluate(ops.clip, [x, tensor([1, 2])])).toThrow(ShapeError);
    expect(() => evaluate(ops.clip, [tensor([1n]), tensor(1)])).toThrow(DTypeError);
  });
});

describe("cast", () => {
  const cast = (x: NestedArray, from: DType, to: DType, rules = {}) =>
    evaluate(ops.cast, [tensor(x, from)], { to, ...rules });
  test("integers lose their high bits, floats their fraction", () => {
    expect(elements(cast([200], "i16", "i8"))).toEqual([-56]);
    expect(elements(cast([(1n << 40n) + 5n, -1n], "i64", "i32"))).toEqual([5, -1]);
    expect(elements(cast([-1n], "i64", "u64"))).toEqual([(1n << 64n) - 1n]);
    expect(elements(cast([1.9, -1.9], "f32", "i32"))).toEqual([1, -1]);
    expect(elements(cast([-9, 7, 8], "i32", "i4"))).toEqual([7, 7, -8]);
    expect(elements(cast([0, -0, 0.3, nan], "f32", "bool"))).toEqual([0, 0, 1, 1]);
  });
  test("floats out of range go by way of 32 bits, or 64", () => {
    const x = [inf, 3e9, 300, -1, -200.7, -3e9, -inf, nan];
    const [low, high] = [-(2 ** 31), 2 ** 31 - 1];
    for (const from of ["f32", "f64"] as const) {
      const to = (dtype: DType) => elements(cast(x, from, dtype));
      expect(to("i32")).toEqual([high, high, 300, -1, -200, low, low, 0]);
      expect(to("u32")).toEqual([2 ** 32 - 1, 3e9, 300, 2 ** 32 - 1, 2 ** 32 - 200, 2 ** 31, 2 ** 31, 0]);
      expect(to("i16")).toEqual([-1, -1, 300, -1, -200, 0, 0, 0]);
      expect(to("u8")).toEqual([255, 255, 44, 255, 56, 0, 0, 0]);
      expect(to("i4")).toEqual([-1, -1, -4, -1, -8, 0, 0, 0]);
      expect(to("i64")).toEqual([2n ** 63n - 1n, ...[3e9, 300, -1, -200, -3e9].map(BigInt), -(2n ** 63n), 0n]);
    }
  });
  test("fp8 saturates or not, as the tables of ONNX Cast say", () => {
    const x = [1e6, -1e6, inf, nan];
    expect(elements(cast(x, "f32", "f8e4m3fn"))).toEqual([448, -448, 448, nan]);
    expect(elements(cast(x, "f32", "f8e5m2"))).toEqual([57344, -57344, 57344, nan]);
    expect(elements(cast(x, "f32", "f8e4m3fn", { saturate: false }))).toEqual([nan, nan, nan, nan]);
    expect(elements(cast(x, "f32", "f8e5m2", { saturate: false }))).toEqual([inf, -inf, inf, nan]);
    expect(elements(cast([0.3, 5.1, 100, -0.2], "f32", "f4e2m1"))).toEqual([0.5, 6, 6, -0]);
  });
  test("f8e8m0 rounds as asked", () => {
    const x = [1, 1.2, 1.5, 3.1, 0.75];
    const bits = (rules = {}) => Array.from(cast(x, "f32", "f8e8m0", rules).data as Uint8Array);
    expect(bits()).toEqual([127, 128, 128, 129, 127]);
    expect(bits({ roundMode: "down" })).toEqual([127, 127, 127, 128, 126]);
    expect(bits({ roundMode: "nearest" })).toEqual([127, 127, 128, 129, 127]);
    const edges = (rules = {}) => Array.from(cast([0, inf, nan], "f32", "f8e8m0", rules).data as Uint8Array);
    expect(edges()).toEqual([0, 254, 255]);
    expect(edges({ saturate: false, roundMode: "nearest" })).toEqual([255, 255, 255]);
  });
  test("strings are printed as NumPy prints and read back", () => {
    expect(cast([0.1, 1, -2.5, 1e-5, 1e20, nan, -inf, 123456], "f32", "string").data).toEqual([
      "0.1",
      "1.0",
      "-2.5",
      "1e-05",
      "1e+20",
      "nan",
      "-inf",
      "123456.0",
    ]);
    expect(cast([true, false], "bool", "string").data).toEqual(["True", "False"]);
    expect(cast([-5n], "i64", "string").data).toEqual(["-5"]);
    expect(elements(cast(["3.14", "1e-5", "+INF", "-inf", "NaN"], "string", "f64"))).toEqual([
      3.14,
      1e-5,
      inf,
      -inf,
      nan,
    ]);
    expect(elements(cast(["9223372036854775807", "100.5"], "string", "i64"))).toEqual([(1n << 63n) - 1n, 100n]);
    expect(() => cast(["Hello World!"], "string", "f32")).toThrow(InputError);
    fc.assert(
      fc.property(fc.float({ noNaN: true }), (v) => {
        expect(elements(evaluate(ops.cast, [cast([v], "f32", "string")], { to: "f32" }))).toEqual([v]);
      }),
    );
  });
  test("bitCast keeps bits and width", () => {
    expect(elements(evaluate(ops.bitCast, [tensor([1, -2])], { to: "u32" }))).toEqual([0x3f800000, 0xc0000000]);
    const nibbles = hostTensor(Int8Array.of(-1, 7), { dtype: "i4" });
    expect(elements(evaluate(ops.bitCast, [nibbles], { to: "u4" }))).toEqual([15, 7]);
    expect(() => evaluate(ops.bitCast, [tensor([1])], { to: "f64" })).toThrow(DTypeError);
  });
});
