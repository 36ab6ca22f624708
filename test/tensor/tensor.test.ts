import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { allocate, type DType, dtypes, holds, isDType, viewOf } from "../../src/tensor/dtype.ts";
import { DTypeError, FormatError, ForwardpassError, InputError, ShapeError } from "../../src/tensor/errors.ts";
import { hostTensor, type NestedArray } from "../../src/tensor/host-tensor.ts";
import { checkHostTensor, dtypeOfArray, emptyTensor, isHostTensor, reshaped } from "../../src/tensor/tensor.ts";

describe("hostTensor", () => {
  test("nested arrays: shape, default dtypes", () => {
    expect(
      hostTensor([
        [1, 2],
        [3, 4],
        [5, 6],
      ]),
    ).toEqual({ dtype: "f32", shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) });
    expect(hostTensor(7)).toEqual({ dtype: "f32", shape: [], data: Float32Array.of(7) });
    expect(hostTensor([])).toEqual({ dtype: "f32", shape: [0], data: new Float32Array(0) });
    expect(hostTensor([[], []])).toEqual({ dtype: "f32", shape: [2, 0], data: new Float32Array(0) });
    expect(hostTensor([1n, -2n])).toEqual({ dtype: "i64", shape: [2], data: BigInt64Array.of(1n, -2n) });
    expect(hostTensor([true, false])).toEqual({ dtype: "bool", shape: [2], data: Uint8Array.of(1, 0) });
    expect(hostTensor([["a"], ["b"]])).toEqual({ dtype: "string", shape: [2, 1], data: ["a", "b"] });
    expect(hostTensor([1, 2], { dtype: "i64" }).data).toEqual(BigInt64Array.of(1n, 2n));
    expect(hostTensor([1.5], { dtype: "f16" }).data).toEqual(Uint16Array.of(0x3e00));
    expect(hostTensor([1, 2, 3, 4], { shape: [2, 2] }).shape).toEqual([2, 2]);
  });

  test.each<[NestedArray]>([
    [[[1], [2, 3]]],
    [[[1], 2]],
    [[1, [2]]],
    [[[1, 2], []]],
    [[[], [1]]],
    [[[[1]], [2]]],
    [[[1], [[2]]]],
    [[[], 1]],
    [[1, []]],
  ])("%j is ragged", (values) => {
    expect(() => hostTensor(values)).toThrow(ShapeError);
  });
  test("a shape that is too large for its elements, and arrays without end", () => {
    for (const shape of [[2 ** 33], [2 ** 31, 2 ** 31], [2 ** 20]])
      expect(() => hostTensor([1], { shape })).toThrow(/tensor: 1 elements do not fill/);
    const endless: unknown[] = [];
    endless.push(endless);
    expect(() => hostTensor(endless as never)).toThrow("tensor: arrays are nested more than 64 deep");
  });
  test.each([
    [[1, undefined], {}, "element 1 is undefined; f32 takes numbers"],
    [[null], {}, "element 0 is null; f32 takes numbers"],
    [[1, "2"], {}, 'element 1 is "2"; f32 takes numbers'],
    [{}, {}, "element 0 is an object; f32 takes numbers"],
    [undefined, {}, "element 0 is undefined"],
    [new ArrayBuffer(4), {}, "element 0 is an object"],
    [Symbol("a"), {}, "element 0 is Symbol(a)"],
    [["a", 1], {}, "element 1 is 1; string takes texts"],
    [[1n, 2.5], {}, "element 1 is 2.5; i64 takes whole numbers"],
    [[1.5], { dtype: "i32" }, "element 0 is 1.5; i32 takes whole numbers from -2147483648 to 2147483647"],
    [[0, 2 ** 31], { dtype: "i32" }, "element 1 is 2147483648; i32 takes"],
    [[-1], { dtype: "u8" }, "element 0 is -1; u8 takes whole numbers from 0 to 255"],
    [[8], { dtype: "i4" }, "element 0 is 8; i4 takes whole numbers from -8 to 7"],
    [[Number.NaN], { dtype: "i64" }, "element 0 is NaN; i64 takes"],
    [[2n ** 63n], { dtype: "i64" }, "element 0 is 9223372036854775808; i64 takes"],
    [[1], { dtype: "float32" }, 'unknown dtype "float32"; known: f64 f32'],
  ])("%o as %o: what the dtype has no value for", (values, options, message) => {
    expect(() => hostTensor(values as never, options as never)).toThrow(DTypeError);
    expect(() => hostTensor(values as never, options as never)).toThrow(`tensor: ${message}`);
  });
  test("the ends of what fits", () => {
    const ends = [-(2n ** 63n), 2n ** 63n - 1n];
    expect(hostTensor(ends).data).toEqual(BigInt64Array.from(ends));
    expect(hostTensor([-8, 7], { dtype: "i4" }).data).toEqual(Int8Array.of(-8, 7));
    expect(hostTensor([true, 255n, 0], { dtype: "u8" }).data).toEqual(Uint8Array.of(1, 255, 0));
    expect(hostTensor([2 ** 60], { dtype: "u64" }).data).toEqual(BigUint64Array.of(2n ** 60n));
    expect(hostTensor([1n, Number.NaN, Infinity], { dtype: "f32" }).data).toEqual(Float32Array.of(1, NaN, Infinity));
  });
  test.each([[[-2, -2]], [[1.5, 2]], [4], ["4"], [[4n]]])("no shape: %o", (shape) => {
    expect(() => hostTensor([1, 2, 3, 4], { shape: shape as never })).toThrow(ShapeError);
    expect(() => hostTensor(new Float32Array(4), { shape: shape as never })).toThrow(
      "tensor: shape must be an array of whole numbers >= 0, got ",
    );
  });
  test("options that are none", () => {
    for (const wrong of [[2, 2], "i32", null])
      expect(() => hostTensor([1, 2, 3, 4], wrong as never)).toThrow(
        "tensor: options are an object. There are: dtype, shape",
      );
    expect(() => hostTensor([1], { dytpe: "i32" } as never)).toThrow(
      'tensor: unknown option "dytpe"; did you mean "dtype"? There are: dtype, shape',
    );
  });

  test("any rectangular nesting gives its shape and elements in order", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 4 }), (shape) => {
        let next = 0;
        const build = (depth: number): NestedArray =>
          depth === shape.length ? next++ : Array.from({ length: shape[depth] }, () => build(depth + 1));
        const t = hostTensor(build(0));
        expect(t.shape).toEqual(shape);
        expect(Array.from(t.data as Float32Array)).toEqual(Array.from({ length: next }, (_, i) => i));
      }),
    );
  });

  test("typed arrays are taken as they are", () => {
    const data = Int32Array.of(1, 2, 3, 4);
    const t = hostTensor(data, { shape: [2, 2] });
    expect(t.dtype).toBe("i32");
    expect(t.data).toBe(data);
    expect(hostTensor(Uint16Array.of(1), { dtype: "bf16" }).dtype).toBe("bf16");
    expect(() => hostTensor(data, { dtype: "f32" })).toThrow(DTypeError);
    expect(() => hostTensor(data, { shape: [3] })).toThrow(ShapeError);
    expect(() => hostTensor(new DataView(new ArrayBuffer(4)) as unknown as Int32Array)).toThrow(DTypeError);
    const clamped = new Uint8ClampedArray([1, 2]);
    const pixels = hostTensor(clamped as unknown as Uint8Array);
    expect(pixels.data).toBeInstanceOf(Uint8Array);
    expect((pixels.data as Uint8Array).buffer).toBe(clamped.buffer);
  });
});

describe("tensors from outside", () => {
  const good = { dtype: "f32" as DType, shape: [2], data: Float32Array.of(1, 2) };
  test.each<[string, object, new (...a: never[]) => Error]>([
    ["no dtype", { dtype: undefined }, DTypeError],
    ["dtype", { dtype: "float32" }, DTypeError],
    ["dtype of the prototype", { dtype: "toString" }, DTypeError],
    ["negative dimension", { shape: [-2] }, ShapeError],
    ["fraction", { shape: [1.5] }, ShapeError],
    ["shape missing", { shape: undefined }, ShapeError],
    ["wrong size", { shape: [3] }, ShapeError],
    ["no data", { data: undefined }, InputError],
    ["wrong array", { data: [1, 2] }, DTypeError],
    ["strings with a number", { dtype: "string", data: ["a", 1] }, DTypeError],
    ["strings with a hole", { dtype: "string", data: Object.assign(new Array(2), { 0: "a" }) }, DTypeError],
  ])("%s is refused with the input's name", (_, change, error) => {
    const check = () => checkHostTensor({ ...good, ...change } as never, 'input "x"');
    expect(check).toThrow(error);
    expect(check).toThrow(/^input "x": /);
  });

  test("reshape shares memory and keeps the size", () => {
    const t = reshaped(good, [1, 2, 1]);
    expect(t.data).toBe(good.data);
    expect(() => reshaped(good, [3])).toThrow("reshape: f32[2] has 2 elements, [3] has 3");
    expect(isHostTensor(good)).toBe(true);
    expect([null, undefined, [good]].some((v) => isHostTensor(v))).toBe(false);
  });
});

describe("dtypes", () => {
  test("allocate, view and holds agree for every one", () => {
    for (const dtype of Object.keys(dtypes) as DType[]) {
      const data = allocate(dtype, 3);
      expect(data.length).toBe(3);
      expect(holds(dtype, data)).toBe(true);
      expect(emptyTensor({ dtype, shape: [3] }).data).toEqual(data);
      if (dtype === "string") expect(() => viewOf(dtype, new ArrayBuffer(8), 0, 1)).toThrow(TypeError);
      else {
        expect(viewOf(dtype, new ArrayBuffer(32), 8, 3).byteLength).toBe(3 * dtypes[dtype].bytes);
        expect((data as Uint8Array).BYTES_PER_ELEMENT).toBe(dtypes[dtype].bytes);
      }
    }
    expect([isDType("f32"), isDType("constructor"), isDType(3)]).toEqual([true, false, false]);
    expect(dtypeOfArray(new BigUint64Array(1))).toBe("u64");
    expect(dtypeOfArray(new DataView(new ArrayBuffer(1)))).toBeUndefined();
  });
});

test("errors have the properties that are known, and no others", () => {
  expect(Object.keys(new ShapeError("message", { op: "matmul", offset: 0 })).sort()).toEqual(["name", "offset", "op"]);
});

test("errors share a base class, keep the byte offset and take one node name", () => {
  const error = new FormatError("bad", { offset: 0, cause: "why" });
  expect(error).toBeInstanceOf(ForwardpassError);
  expect([error.name, error.offset, error.cause]).toEqual(["FormatError", 0, "why"]);
  expect(new ShapeError("matmul: no").at("a").at("b").message).toBe('matmul: no (node "a")');
});
