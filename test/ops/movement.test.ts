/** Layout operators: values from the ONNX documentation, errors, and how they undo each other. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as ops from "../../src/ops/index.ts";
import { DTypeError, ShapeError } from "../../src/tensor/errors.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { i64, layoutShape } from "../cases/movement.ts";
import { elements, evaluate, evaluateAll, iota, tensor } from "./evaluate.ts";

const scalar = (v: number): HostTensor => hostTensor(BigInt(v));
describe("reshape, flatten, squeeze, unsqueeze", () => {
  test("shapes", () => {
    expect(evaluate(ops.reshape, [iota(2, 3, 4), i64([0, -1])]).shape).toEqual([2, 12]);
    expect(evaluate(ops.reshape, [iota(0, 3), i64([3, 0])], { allowZero: true }).shape).toEqual([3, 0]);
    expect(evaluate(ops.flatten, [iota(2, 3, 4)], { axis: -1 }).shape).toEqual([6, 4]);
    expect(evaluate(ops.flatten, [iota(2, 3, 4)], { axis: 0 }).shape).toEqual([1, 24]);
    expect(evaluate(ops.flatten, [iota(2, 3, 4)], { axis: 3 }).shape).toEqual([24, 1]);
    expect(evaluate(ops.squeeze, [iota(1, 3, 1, 5)]).shape).toEqual([3, 5]);
    expect(evaluate(ops.squeeze, [iota(1, 3, 1, 5), i64([-2])]).shape).toEqual([1, 3, 5]);
    expect(evaluate(ops.unsqueeze, [iota(3, 4), i64([-1, 0])]).shape).toEqual([1, 3, 4, 1]);
  });

  test("errors name the operator and the types", () => {
    expect(() => evaluate(ops.reshape, [iota(2, 3), i64([4, -1])])).toThrow(
      /reshape: f32\[2,3\] does not fit \[4,-1\]/,
    );
    expect(() => evaluate(ops.reshape, [iota(2, 3), i64([0, 0, 0])])).toThrow(ShapeError);
    expect(() => evaluate(ops.squeeze, [iota(2, 1), i64([0])])).toThrow(/squeeze: dimension 0 is 2, not 1: f32\[2,1\]/);
    expect(() => evaluate(ops.unsqueeze, [iota(2), i64([0, -3])])).toThrow(/repeat/);
    expect(() => evaluate(ops.flatten, [iota(2)], { axis: 2 })).toThrow(ShapeError);
  });
});

describe("transpose", () => {
  test("reverses by default", () => {
    const y = evaluate(ops.transpose, [
      tensor([
        [1, 2, 3],
        [4, 5, 6],
      ]),
    ]);
    expect(y.shape).toEqual([3, 2]);
    expect(elements(y)).toEqual([1, 4, 2, 5, 3, 6]);
  });

  test("strings move too", () => {
    expect(
      evaluate(ops.transpose, [
        tensor([
          ["a", "b"],
          ["c", "d"],
        ]),
      ]).data,
    ).toEqual(["a", "c", "b", "d"]);
  });

  test("a permutation and its inverse cancel", () => {
    const permuted = layoutShape(1, 5).chain((shape) =>
      fc.tuple(
        fc.constant(shape),
        fc.shuffledSubarray(
          shape.map((_, i) => i),
          { minLength: shape.length },
        ),
      ),
    );
    fc.assert(
      fc.property(permuted, ([shape, perm]) => {
        const x = tensorFrom(1, "f32", shape);
        const inverse = perm.map((_, i) => perm.indexOf(i));
        const back = evaluate(ops.transpose, [evaluate(ops.transpose, [x], { perm })], { perm: inverse });
        expect(back).toEqual(x);
      }),
    );
  });

  test("rejects what is no permutation", () => {
    expect(() => evaluate(ops.transpose, [iota(2, 3)], { perm: [0, 0] })).toThrow(ShapeError);
    expect(() => evaluate(ops.transpose, [iota(2, 3)], { perm: [0] })).toThrow(/perm \[0\] does not fit: f32\[2,3\]/);
  });
});

describe("concat and split", () => {
  test("joins along an axis", () => {
    const y = evaluate(
      ops.concat,
      [
        tensor([[1], [2]]),
        tensor([
          [3, 4],
          [5, 6],
        ]),
      ],
      { axis: -1 },
    );
    expect(elements(y)).toEqual([1, 3, 4, 2, 5, 6]);
    expect(() => evaluate(ops.concat, [iota(2, 3), iota(3, 2)], { axis: 0 })).toThrow(/f32\[2,3\] and f32\[3,2\]/);
    expect(() => evaluate(ops.concat, [iota(2), tensor([1n])], { axis: 0 })).toThrow(DTypeError);
  });

  test("equal parts, the last one smaller", () => {
    const lengths = (n: number, parts: number): number[] =>
      evaluateAll(ops.split, [iota(n)], { parts }).map((t) => t.shape[0]);
    expect(lengths(6, 3)).toEqual([2, 2, 2]);
    expect(lengths(7, 3)).toEqual([3, 3, 1]);
    expect(lengths(5, 4)).toEqual([2, 2, 1, 0]);
  });

  test("sizes must add up", () => {
    const [a, b] = evaluateAll(ops.split, [iota(2, 6), i64([2, 4])], { axis: 1, parts: 2 });
    expect(elements(a)).toEqual([0, 1, 6, 7]);
    expect(elements(b)).toEqual([2, 3, 4, 5, 8, 9, 10, 11]);
    expect(() => evaluateAll(ops.split, [iota(6), i64([2, 3])], { parts: 2 })).toThrow(/sizes \[2,3\]/);
  });

  test("concat undoes split", () => {
    fc.assert(
      fc.property(layoutShape(1), fc.integer({ min: 1, max: 4 }), (shape, parts) => {
        const x = tensorFrom(2, "i64", shape);
        const axis = shape.length - 1;
        expect(evaluate(ops.concat, evaluateAll(ops.split, [x], { axis, parts }), { axis })).toEqual(x);
      }),
    );
  });
});

describe("slice", () => {
  const x = tensor([
    [1, 2, 3, 4],
    [5, 6, 7, 8],
  ]);
  const cut = (starts: number[], ends: number[], axes?: number[], steps?: number[]): HostTensor =>
    evaluate(ops.slice, [x, i64(starts), i64(ends), axes && i64(axes), steps && i64(steps)]);

  test("values from the documentation", () => {
    expect(elements(cut([1, 0], [2, 3], [0, 1], [1, 2]))).toEqual([5, 7]);
    expect(elements(cut([0, 1], [-1, 1000]))).toEqual([2, 3, 4]);
  });

  test("negative steps, clamped bounds, the ends of the integer range", () => {
    expect(elements(cut([-1], [-(2 ** 31)], [1], [-1]))).toEqual([4, 3, 2, 1, 8, 7, 6, 5]);
    expect(elements(cut([100], [0], [1], [-2]))).toEqual([4, 2, 8, 6]);
    const max = hostTensor(BigInt64Array.of(2n ** 63n - 1n));
    expect(evaluate(ops.slice, [x, i64([2]), max, i64([1])]).shape).toEqual([2, 2]);
    expect(cut([3], [1], [1]).shape).toEqual([2, 0]);
  });

  test("errors", () => {
    expect(() => cut([0], [1], [0], [0])).toThrow(/slice: step 0/);
    expect(() => cut([0, 0], [1])).toThrow(ShapeError);
    expect(() => cut([0], [1], [2])).toThrow(/axis 2/);
  });
});

describe("pad", () => {
  const x = tensor([
    [1, 1.25],
    [2.25, 3.5],
    [4.5, 5.75],
  ]);
  const padded = (
    pads: number[],
    mode: "constant" | "reflect" | "edge" | "wrap",
    ...rest: (HostTensor | undefined)[]
  ) => elements(evaluate(ops.pad, [x, i64(pads), ...rest], { mode }));

  test("modes, from the documentation", () => {
    expect(padded([0, 2, 0, 0], "constant")).toEqual([0, 0, 1, 1.25, 0, 0, 2.25, 3.5, 0, 0, 4.5, 5.75]);
    expect(padded([0, 2, 0, 0], "edge")).toEqual([1, 1, 1, 1.25, 2.25, 2.25, 2.25, 3.5, 4.5, 4.5, 4.5, 5.75]);
    expect(padded([0, 2, 0, 0], "reflect")).toEqual([1, 1.25, 1, 1.25, 2.25, 3.5, 2.25, 3.5, 4.5, 5.75, 4.5, 5.75]);
    expect(padded([2, 1, 1, 1], "wrap").slice(0, 8)).toEqual([3.5, 2.25, 3.5, 2.25, 5.75, 4.5, 5.75, 4.5]);
  });

  test("a value, some axes, negative pads", () => {
    expect(padded([1, 0], "constant", tensor(9), i64([-1]))).toEqual([9, 1, 1.25, 9, 2.25, 3.5, 9, 4.5, 5.75]);
    expect(padded([-1, 1, 0, -1], "constant")).toEqual([0, 2.25, 0, 4.5]);
    // What is cropped is gone before the rest is mirrored.
    expect(padded([-1, 0, 1, 0], "reflect")).toEqual([2.25, 3.5, 4.5, 5.75, 2.25, 3.5]);
    expect(evaluate(ops.pad, [tensor(["a"]), i64([1, 0])]).data).toEqual(["", "a"]);
  });

  test("errors", () => {
    expect(() => padded([-2, 0, -2, 0], "constant")).toThrow(/remove more than axis 0 has/);
    expect(() => padded([0, 0, 0], "constant")).toThrow(/3 pads for 2 axes/);
    expect(() => padded([0, 0, 0, 0], "constant", tensor(1n))).toThrow(DTypeError);
    expect(() => evaluate(ops.pad, [iota(0), i64([1, 0])], { mode: "edge" })).toThrow(/nothing to edge along axis 0/);
  });
});

describe("expand, tile, range and constants", () => {
  test("expand broadcasts both ways", () => {
    expect(evaluate(ops.expand, [iota(3, 1), i64([2, 1, 4])]).shape).toEqual([2, 3, 4]);
    expect(elements(evaluate(ops.expand, [tensor([[1], [2]]), i64([1, 2])]))).toEqual([1, 1, 2, 2]);
    expect(() => evaluate(ops.expand, [iota(3), i64([2])])).toThrow(ShapeError);
  });

  test("tile", () => {
    expect(
      elements(
        evaluate(ops.tile, [
          tensor([
            [1, 2],
            [3, 4],
          ]),
          i64([1, 2]),
        ]),
      ),
    ).toEqual([1, 2, 1, 2, 3, 4, 3, 4]);
    expect(() => evaluate(ops.tile, [iota(2, 2), i64([2])])).toThrow(/repeats \[2\] do not fit/);
  });

  test("range", () => {
    const run = (dtype: "f32" | "i64" | "i16", ...v: number[]) =>
      elements(
        evaluate(
          ops.range,
          v.map((x) => hostTensor(x, { dtype })),
        ),
      );
    expect(run("i64", 10, 4, -2)).toEqual([10n, 8n, 6n]);
    expect(run("i16", 3, 9, 3)).toEqual([3, 6]);
    expect(run("f32", 1, 1, 1)).toEqual([]);
    expect(() => run("f32", 0, 1, 0)).toThrow(/range: .* has no end/);
    const big = [2n ** 62n, 2n ** 62n + 3n, 2n].map((v) => tensor(v));
    expect(elements(evaluate(ops.range, big))).toEqual([2n ** 62n, 2n ** 62n + 2n]);
  });

  test("constantOfShape, eyeLike, shape and size", () => {
    const y = evaluate(ops.constantOfShape, [i64([2, 1])], { value: tensor([7n]) });
    expect([y.dtype, elements(y)]).toEqual(["i64", [7n, 7n]]);
    expect(evaluate(ops.constantOfShape, [i64([])]).shape).toEqual([]);
    expect(() => evaluate(ops.constantOfShape, [i64([-1])])).toThrow(ShapeError);
    expect(elements(evaluate(ops.eyeLike, [iota(2, 3)], { k: 1 }))).toEqual([0, 1, 0, 0, 0, 1]);
    expect(evaluate(ops.eyeLike, [iota(2, 2)], { dtype: "bool" }).dtype).toBe("bool");
    expect(elements(evaluate(ops.shape, [iota(2, 3, 4)], { start: -2, end: 9 }))).toEqual([3n, 4n]);
    expect(elements(evaluate(ops.shape, [iota(2, 3)], { start: 2, end: 0 }))).toEqual([]);
    expect(elements(evaluate(ops.size, [iota(2, 3)]))).toEqual([6n]);
  });
});

describe("trilu, blocks and crops", () => {
  test("trilu", () => {
    const x = iota(3, 3);
    expect(elements(evaluate(ops.trilu, [x]))).toEqual([0, 1, 2, 0, 4, 5, 0, 0, 8]);
    expect(elements(evaluate(ops.trilu, [x, scalar(-1)], { upper: false }))).toEqual([0, 0, 0, 3, 0, 0, 6, 7, 0]);
    expect(elements(evaluate(ops.trilu, [x, scalar(5)]))).toEqual(new Array(9).fill(0));
    expect(() => evaluate(ops.trilu, [iota(3)])).toThrow(/trilu: takes rank/);
  });

  test("depthToSpace in both orders", () => {
    const x = iota(1, 8, 1, 1);
    expect(elements(evaluate(ops.depthToSpace, [x], { blockSize: 2 }))).toEqual([0, 2, 4, 6, 1, 3, 5, 7]);
    expect(elements(evaluate(ops.depthToSpace, [x], { blockSize: 2, mode: "CRD" }))).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(() => evaluate(ops.depthToSpace, [iota(1, 3, 2, 2)], { blockSize: 2 })).toThrow(/blocks of 2 x 2/);
  });

  test("spaceToDepth undoes depthToSpace", () => {
    for (const mode of ["DCR", "CRD"] as const) {
      const x = iota(2, 18, 2, 3);
      const y = evaluate(ops.depthToSpace, [x], { blockSize: 3, mode });
      expect(evaluate(ops.spaceToDepth, [y], { blockSize: 3, mode })).toEqual(x);
    }
    expect(() => evaluate(ops.spaceToDepth, [iota(1, 1, 3, 2)], { blockSize: 2 })).toThrow(ShapeError);
  });

  test("centerCropPad leaves the odd element at the end", () => {
    const crop = (n: number, to: number) => elements(evaluate(ops.centerCropPad, [iota(n), i64([to])]));
    expect(crop(5, 2)).toEqual([1, 2]);
    expect(crop(2, 5)).toEqual([0, 0, 1, 0, 0]);
    expect(evaluate(ops.centerCropPad, [iota(4, 2), i64([3])], { axes: [-1] }).shape).toEqual([4, 3]);
    expect(() => evaluate(ops.centerCropPad, [iota(4), i64([3, 3])])).toThrow(ShapeError);
  });
});
