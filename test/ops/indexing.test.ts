/** Gathers, scatters, selections and sorts: values from the ONNX documentation, ties, NaN, exact integers and errors. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as ops from "../../src/ops/index.ts";
import type { AnyOp, AttrsOf } from "../../src/ops/op.ts";
import { DTypeError, InputError, ShapeError } from "../../src/tensor/errors.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { i64 } from "../cases/movement.ts";
import { elements, evaluate, evaluateAll, tensor } from "./evaluate.ts";

const indices = (values: Parameters<typeof hostTensor>[0]): HostTensor => hostTensor(values, { dtype: "i64" });

/** Results of an operator that runs on host values. */
const onHost = <O extends AnyOp>({ op }: O, inputs: HostTensor[], attrs?: AttrsOf<O>): HostTensor[] =>
  op.evaluate!(inputs, (attrs ?? {}) as Record<string, unknown>, undefined as never) as HostTensor[];

describe("gather", () => {
  const x = tensor([
    [1, 1.5, 2],
    [2.5, 3.5, 4],
    [4.5, 5.5, 6],
  ]);

  test("rows and columns, negative indices", () => {
    const y = evaluate(ops.gather, [x, indices([[0, -1]])], { axis: 1 });
    expect(y.shape).toEqual([3, 1, 2]);
    expect(elements(y)).toEqual([1, 2, 2.5, 4, 4.5, 6]);
    expect(evaluate(ops.gather, [x, indices(1)]).shape).toEqual([3]);
    expect(evaluate(ops.gather, [tensor(["a", "b"]), indices([1, 1])]).data).toEqual(["b", "b"]);
  });

  test("an index outside names the operator, the index and the axis", () => {
    expect(() => evaluate(ops.gather, [x, indices([3])], { axis: 1 })).toThrow(InputError);
    expect(() => evaluate(ops.gather, [x, indices([-4])])).toThrow("gather: index -4 is outside axis 0 of size 3");
    expect(() => evaluate(ops.gatherElements, [x, indices([[7]])])).toThrow(
      "gatherElements: index 7 is outside axis 0",
    );
    expect(() => evaluate(ops.gatherNd, [x, indices([[0, 5]])])).toThrow("gatherNd: index 5 is outside axis 1");
    expect(() => evaluate(ops.gather, [x, tensor([0.5])])).toThrow(DTypeError);
  });

  test("gatherElements", () => {
    const y = evaluate(
      ops.gatherElements,
      [
        tensor([
          [1, 2],
          [3, 4],
        ]),
        indices([
          [0, 0],
          [1, 0],
        ]),
      ],
      { axis: 1 },
    );
    expect(elements(y)).toEqual([1, 1, 4, 3]);
    expect(() => evaluate(ops.gatherElements, [x, indices([1])])).toThrow(ShapeError);
  });

  test("gatherNd, with and without batch dimensions", () => {
    const data = tensor([
      [
        [0, 1],
        [2, 3],
      ],
      [
        [4, 5],
        [6, 7],
      ],
    ]);
    expect(
      elements(
        evaluate(ops.gatherNd, [
          data,
          indices([
            [0, 1],
            [1, 0],
          ]),
        ]),
      ),
    ).toEqual([2, 3, 4, 5]);
    expect(elements(evaluate(ops.gatherNd, [data, indices([[1], [0]])], { batchDims: 1 }))).toEqual([2, 3, 4, 5]);
    expect(evaluate(ops.gatherNd, [data, indices([[[0, 1]], [[1, 0]]])]).shape).toEqual([2, 1, 2]);
    expect(() => evaluate(ops.gatherNd, [data, indices([[0, 0, 0, 0]])])).toThrow(/tuples of 4/);
  });
});

describe("scatter", () => {
  test("elements: the last update wins, reductions take all", () => {
    const x = tensor([1, 2, 3, 4, 5]);
    const at = indices([1, -4, 3]);
    const u = tensor([10, 20, 30]);
    expect(elements(evaluate(ops.scatterElements, [x, at, u]))).toEqual([1, 20, 3, 30, 5]);
    expect(elements(evaluate(ops.scatterElements, [x, at, u], { reduction: "add" }))).toEqual([1, 32, 3, 34, 5]);
    expect(elements(evaluate(ops.scatterElements, [x, at, u], { reduction: "mul" }))).toEqual([1, 400, 3, 120, 5]);
    expect(elements(evaluate(ops.scatterElements, [x, at, u], { reduction: "min" }))).toEqual([1, 2, 3, 4, 5]);
    expect(elements(evaluate(ops.scatterElements, [x, at, u], { reduction: "max" }))).toEqual([1, 20, 3, 30, 5]);
  });

  test("64-bit integers stay exact", () => {
    const big = 2n ** 53n;
    const y = evaluate(ops.scatterElements, [tensor([big]), indices([0]), tensor([1n])], { reduction: "add" });
    expect(elements(y)).toEqual([big + 1n]);
  });

  test("nd: slices", () => {
    const y = evaluate(
      ops.scatterNd,
      [
        tensor([
          [1, 2],
          [3, 4],
        ]),
        indices([[-1], [-1]]),
        tensor([
          [5, 6],
          [7, 8],
        ]),
      ],
      {
        reduction: "add",
      },
    );
    expect(elements(y)).toEqual([1, 2, 15, 18]);
  });

  test("errors", () => {
    const x = tensor([[1, 2]]);
    expect(() => evaluate(ops.scatterNd, [x, indices([[0, 2]]), tensor([1])])).toThrow("index 2 is outside axis 1");
    expect(() => evaluate(ops.scatterNd, [x, indices([[0]]), tensor([1])])).toThrow(/updates must be \[1,2\]/);
    expect(() => evaluate(ops.scatterElements, [x, indices([[0]]), tensor([[1, 2]])])).toThrow(ShapeError);
    expect(() => evaluate(ops.scatterElements, [x, indices([[0]]), tensor([[1n]])])).toThrow(DTypeError);
    const s = tensor([["a"]]);
    expect(() => evaluate(ops.scatterElements, [s, indices([[0]]), s], { reduction: "add" })).toThrow(
      /cannot add strings/,
    );
  });

  test("tensorScatter writes at each batch's position", () => {
    const cache = hostTensor(new Float32Array(8), { shape: [2, 4, 1] });
    const update = tensor([
      [[1], [2]],
      [[3], [4]],
    ]);
    const write = (starts: number[], mode?: "circular") =>
      elements(evaluate(ops.tensorScatter, [cache, update, i64(starts)], { mode }));
    expect(write([1, 2])).toEqual([0, 1, 2, 0, 0, 0, 3, 4]);
    expect(write([3, 0], "circular")).toEqual([2, 0, 0, 1, 3, 4, 0, 0]);
    expect(() => write([3, 0])).toThrow("tensorScatter: 2 steps from 3 leave axis 1 of size 4");
  });
});

describe("oneHot, reverseSequence, arrayFeatureExtractor", () => {
  test("oneHot counts negative indices from the end and ignores those outside", () => {
    const y = evaluate(ops.oneHot, [tensor([0, -1.9, 5, -3], "f32"), tensor(3n), tensor([2, 9])], { axis: 0 });
    expect(y.shape).toEqual([3, 4]);
    expect(elements(y)).toEqual([9, 2, 2, 9, 2, 2, 2, 2, 2, 9, 2, 2]);
    expect(() => evaluate(ops.oneHot, [tensor([0n]), tensor(3n), tensor([1])])).toThrow(/two values/);
  });

  test("reverseSequence, from the documentation", () => {
    const x = tensor([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9, 10, 11],
      [12, 13, 14, 15],
    ]);
    const y = evaluate(ops.reverseSequence, [x, i64([1, 2, 3, 4])], { batchAxis: 0, timeAxis: 1 });
    expect(elements(y)).toEqual([0, 1, 2, 3, 5, 4, 6, 7, 10, 9, 8, 11, 15, 14, 13, 12]);
    expect(() => evaluate(ops.reverseSequence, [x, i64([1, 2, 3, 5])])).toThrow("length 5 is outside [0, 4] of axis 0");
  });

  test("arrayFeatureExtractor", () => {
    expect(
      elements(
        evaluate(ops.arrayFeatureExtractor, [
          tensor([
            [1, 2, 3],
            [4, 5, 6],
          ]),
          indices([2, 0]),
        ]),
      ),
    ).toEqual([3, 1, 6, 4]);
    expect(evaluate(ops.arrayFeatureExtractor, [tensor([1, 2]), indices([1])]).shape).toEqual([1, 1]);
    expect(() => evaluate(ops.arrayFeatureExtractor, [tensor([1, 2]), indices([2])])).toThrow(InputError);
  });
});

describe("topk", () => {
  const top = (x: HostTensor, k: number, attrs = {}): [unknown[], unknown[]] => {
    const [values, at] = evaluateAll(ops.topk, [x, i64([k])], attrs);
    return [elements(values), elements(at)];
  };

  test("the lower index first among equals, both ways", () => {
    expect(top(tensor([1, 3, 3, 0]), 3)).toEqual([
      [3, 3, 1],
      [1n, 2n, 0n],
    ]);
    expect(top(tensor([1, 0, 3, 0]), 3, { largest: false })).toEqual([
      [0, 0, 1],
      [1n, 3n, 0n],
    ]);
  });

  test("NaN is larger than every number", () => {
    expect(top(tensor([1, Number.NaN, Infinity]), 2)).toEqual([
      [Number.NaN, Infinity],
      [1n, 2n],
    ]);
    expect(top(tensor([1, Number.NaN, 2]), 2, { largest: false })).toEqual([
      [1, 2],
      [0n, 2n],
    ]);
  });

  test("64-bit integers are compared exactly", () => {
    const big = 2n ** 53n;
    expect(top(tensor([big, big + 1n]), 1)).toEqual([[big + 1n], [1n]]);
  });

  test("along an axis, and too many", () => {
    expect(
      top(
        tensor([
          [1, 5],
          [4, 2],
        ]),
        1,
        { axis: 0 },
      ),
    ).toEqual([
      [4, 5],
      [1n, 0n],
    ]);
    expect(() => top(tensor([1, 2]), 3)).toThrow(/topk: axis 0 has no 3 elements: f32\[2\]/);
  });
});

describe("results whose size depends on the data", () => {
  test("nonZero gives coordinates; a scalar has none", () => {
    const [at] = onHost(ops.nonZero, [
      tensor([
        [1, 0],
        [1, 1],
      ]),
    ]);
    expect(at.shape).toEqual([2, 3]);
    expect(elements(at)).toEqual([0n, 1n, 1n, 0n, 0n, 1n]);
    expect(onHost(ops.nonZero, [tensor(3)])[0].shape).toEqual([0, 1]);
  });

  test("compress", () => {
    const x = tensor([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    const mask = tensor([false, true, true]);
    expect(elements(onHost(ops.compress, [x, mask], { axis: 0 })[0])).toEqual([3, 4, 5, 6]);
    expect(elements(onHost(ops.compress, [x, tensor([false, true, false, false, true])])[0])).toEqual([2, 5]);
    expect(() => onHost(ops.compress, [x, mask], { axis: 1 })).toThrow(ShapeError);
    expect(() => onHost(ops.compress, [x, tensor([1n])])).toThrow(DTypeError);
  });

  test("unique, the documentation's examples", () => {
    const all = (x: HostTensor, attrs = {}): unknown[][] => onHost(ops.unique, [x], attrs).map(elements);
    expect(all(tensor([2, 1, 1, 3, 4, 3]), { sorted: false })).toEqual([
      [2, 1, 3, 4],
      [0n, 1n, 3n, 4n],
      [0n, 1n, 1n, 2n, 3n, 2n],
      [1n, 2n, 2n, 1n],
    ]);
    expect(
      all(
        tensor([
          [1, 3],
          [2, 3],
        ]),
      ),
    ).toEqual([
      [1, 2, 3],
      [0n, 2n, 1n],
      [0n, 2n, 1n, 2n],
      [1n, 1n, 2n],
    ]);
    expect(
      all(
        tensor([
          [1, 0, 0],
          [1, 0, 0],
          [2, 3, 4],
        ]),
        { axis: 0 },
      ),
    ).toEqual([
      [1, 0, 0, 2, 3, 4],
      [0n, 2n],
      [0n, 0n, 1n],
      [2n, 1n],
    ]);
    const x = tensor([
      [
        [1, 1],
        [0, 1],
        [2, 1],
        [0, 1],
      ],
      [
        [1, 1],
        [0, 1],
        [2, 1],
        [0, 1],
      ],
    ]);
    expect(all(x, { axis: 1 }).slice(1)).toEqual([
      [1n, 0n, 2n],
      [1n, 0n, 2n, 0n],
      [2n, 1n, 1n],
    ]);
    expect(all(tensor([Number.NaN, 1, Number.NaN]))[0]).toEqual([1, Number.NaN]);
    expect(all(tensor(["b", "a", "b"]))[0]).toEqual(["a", "b"]);
  });

  test("unique, of any dtype along any axis, by its definition", () => {
    const some = {
      i64: [0n, 1n, -1n, 2n ** 32n, 2n ** 53n + 1n, 2n ** 53n, -(2n ** 63n)],
      u64: [0n, 1n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n],
      f64: [0, -0, 1, Number.NaN, -Infinity, 2 ** -1074, 0.1],
      f32: [0, -0, 1, Number.NaN, Infinity, -2.5],
      i8: [0, 1, -1, 127, -128],
      string: ["", "a", "b", "a,b", "B"],
    } as const;
    const dtypes = Object.keys(some) as (keyof typeof some)[];
    const below = (a: unknown, b: unknown): boolean =>
      (a as number) < (b as number) || (Number.isNaN(b) && !Number.isNaN(a));
    const isSame = (a: unknown, b: unknown): boolean => a === b || (Number.isNaN(a) && Number.isNaN(b));
    fc.assert(
      fc.property(
        fc.constantFrom(...dtypes),
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 }),
        fc.option(fc.nat({ max: 2 }), { nil: undefined }),
        fc.boolean(),
        fc.boolean(),
        fc.infiniteStream(fc.nat()),
        (dtype, dims, along, long, sorted, picks) => {
          const shape = long ? [40, ...dims.slice(1)] : dims;
          const values: readonly unknown[] = some[dtype];
          const size = shape.reduce((a, b) => a * b, 1);
          const data = Array.from({ length: size }, () => values[picks.next().value! % values.length]);
          const x = hostTensor(data as number[], { dtype, shape });
          const axis = along === undefined ? undefined : along % shape.length;
          const [outer, n, inner] =
            axis === undefined
              ? [1, size, 1]
              : [0, axis, axis + 1].map((from, i) =>
                  shape.slice(from, [axis, axis + 1, shape.length][i]).reduce((a, b) => a * b, 1),
                );
          const slice = (i: number): unknown[] =>
            Array.from(
              { length: outer * inner },
              (_, k) => data[(Math.floor(k / inner) * n + i) * inner + (k % inner)],
            );
          const slices = Array.from({ length: n }, (_, i) => slice(i));
          const equal = (i: number, j: number): boolean => slices[i].every((v, k) => isSame(v, slices[j][k]));
          const first = slices.flatMap((_, i) => (slices.some((_, j) => j < i && equal(i, j)) ? [] : [i]));
          if (sorted)
            first.sort((i, j) => {
              const k = slices[i].findIndex((v, at) => !isSame(v, slices[j][at]));
              return below(slices[i][k], slices[j][k]) ? -1 : 1;
            });
          const inverse = slices.map((_, i) => first.findIndex((j) => equal(i, j)));
          const [y, ...rest] = onHost(ops.unique, [x], { axis, sorted });
          expect(y.shape).toEqual(
            axis === undefined ? [first.length] : shape.map((d, a) => (a === axis ? first.length : d)),
          );
          const want = Array.from({ length: outer }, (_, o) =>
            first.flatMap((i) => slices[i].slice(o * inner, (o + 1) * inner)),
          ).flat();
          expect(elements(y)).toEqual(want);
          expect(rest.map((t) => elements(t).map(Number))).toEqual([
            first,
            inverse,
            first.map((i) => slices.filter((_, j) => equal(i, j)).length),
          ]);
        },
      ),
      { numRuns: 500 },
    );
  });
});
