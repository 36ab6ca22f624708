import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ShapeError } from "../../src/tensor/errors.ts";
import {
  broadcastShapes,
  broadcastStrides,
  forEachOffset,
  formatType,
  normalizeAxes,
  normalizeAxis,
  sameShape,
  sizeBetween,
  sizeOf,
  stridesOf,
} from "../../src/tensor/shape.ts";

const shape = fc.array(fc.nat(4), { maxLength: 4 });

/** Shapes that broadcast, made from a target by dropping leading axes and setting others to 1. */
const broadcastable = shape.chain((target) =>
  fc.tuple(
    fc.constant(target),
    fc.array(
      fc
        .tuple(fc.nat(target.length), fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }))
        .map(([drop, ones]) => target.slice(drop).map((d, i) => (ones[i] ? 1 : d))),
      { minLength: 1, maxLength: 3 },
    ),
  ),
);

describe("sizes and strides", () => {
  test("examples", () => {
    expect(sizeOf([])).toBe(1);
    expect(sizeOf([2, 0, 3])).toBe(0);
    expect(stridesOf([2, 3, 4])).toEqual([12, 4, 1]);
    expect(stridesOf([])).toEqual([]);
    expect(sizeBetween([2, 3, 4], 1, 3)).toBe(12);
    expect(sizeBetween([2, 3, 4], 1, 1)).toBe(1);
    expect(sameShape([1, 2], [1, 2])).toBe(true);
    expect(sameShape([1, 2], [1, 2, 1])).toBe(false);
    expect(formatType({ dtype: "f32", shape: ["batch", 3] })).toBe("f32[batch,3]");
  });

  test("offsets by strides count up in row-major order", () => {
    fc.assert(
      fc.property(shape, (s) => {
        const seen: number[] = [];
        forEachOffset(s, [stridesOf(s)], (linear, [offset]) => {
          expect(linear).toBe(seen.length);
          seen.push(offset);
        });
        expect(seen).toEqual(Array.from({ length: sizeOf(s) }, (_, i) => i));
      }),
    );
  });
});

describe("broadcasting", () => {
  test("follows NumPy", () => {
    expect(broadcastShapes("add", [2, 1, 4], [3, 1], [])).toEqual([2, 3, 4]);
    expect(broadcastShapes("add")).toEqual([]);
    expect(broadcastShapes("add", [0], [1])).toEqual([0]);
    expect(broadcastShapes("add", [1], [0])).toEqual([0]);
    expect(broadcastShapes("add", [3, 0], [1, 1])).toEqual([3, 0]);
    for (const [a, b] of [
      [[2], [3]],
      [[0], [2]],
      [
        [2, 3],
        [2, 1, 2],
      ],
    ])
      expect(() => broadcastShapes("add", a, b)).toThrow(ShapeError);
    expect(() => broadcastShapes("add", [2], [3])).toThrow("add: shapes do not broadcast: [2] and [3]");
  });

  test("strides read the element that index arithmetic names", () => {
    fc.assert(
      fc.property(broadcastable, ([target, shapes]) => {
        const out = broadcastShapes("op", target, ...shapes);
        expect(out).toEqual(target);
        const strides = shapes.map((s) => broadcastStrides(s, target));
        forEachOffset(target, strides, (linear, offsets) => {
          const index = stridesOf(target).map((stride, d) => Math.floor(linear / stride) % target[d]);
          shapes.forEach((s, t) => {
            const own = s.map((d, i) => (d === 1 ? 0 : index[target.length - s.length + i]));
            expect(offsets[t]).toBe(own.reduce((sum, i, d) => sum + i * stridesOf(s)[d], 0));
          });
        });
      }),
    );
  });

  test("does not depend on the order", () => {
    fc.assert(
      fc.property(shape, shape, (a, b) => {
        const attempt = (x: number[], y: number[]) => {
          try {
            return broadcastShapes("op", x, y);
          } catch (error) {
            expect(error).toBeInstanceOf(ShapeError);
            return "refused";
          }
        };
        expect(attempt(a, b)).toEqual(attempt(b, a));
      }),
    );
  });
});

describe("axes", () => {
  test("negative ones count from the end, others are refused", () => {
    expect([0, 2, -1, -3].map((a) => normalizeAxis("sum", a, 3))).toEqual([0, 2, 2, 0]);
    for (const axis of [3, -4, 0.5, Number.NaN]) expect(() => normalizeAxis("sum", axis, 3)).toThrow(ShapeError);
    expect(() => normalizeAxis("sum", 0, 0)).toThrow(ShapeError);
    expect(normalizeAxes("sum", [-1, 0], 3)).toEqual([2, 0]);
    expect(() => normalizeAxes("sum", [1, -2], 3)).toThrow(/repeat/);
  });
});
