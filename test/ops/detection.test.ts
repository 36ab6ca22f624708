import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { det } from "../../src/ops/det.ts";
import { maxRoiPool } from "../../src/ops/max-roi-pool.ts";
import { nonMaxSuppression } from "../../src/ops/non-max-suppression.ts";
import { roiAlign } from "../../src/ops/roi-align.ts";
import { DTypeError, ShapeError } from "../../src/tensor/errors.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { elements, evaluate, tensor } from "./evaluate.ts";

const i64 = (...values: number[]): HostTensor => tensor(values, "i64");
const nms = (inputs: (HostTensor | undefined)[], centerPointBox = false): HostTensor =>
  (nonMaxSuppression.op.evaluate!(inputs, { centerPointBox }, undefined as never) as HostTensor[])[0];

/** By sorting, of boxes with whole corners. */
function nmsBySorting(boxes: number[][], scores: number[], most: number, iou: number, least: number): number[] {
  const area = ([y1, x1, y2, x2]: number[]): number => (y2 - y1) * (x2 - x1);
  const overlap = (p: number[], q: number[]): number => {
    const height = Math.min(p[2], q[2]) - Math.max(p[0], q[0]);
    const width = Math.min(p[3], q[3]) - Math.max(p[1], q[1]);
    const shared = height > 0 && width > 0 ? height * width : 0;
    return shared === 0 ? 0 : Math.fround(shared / (area(p) + area(q) - shared));
  };
  const order = [...scores.keys()].filter((i) => scores[i] > least).sort((i, j) => scores[j] - scores[i] || i - j);
  const kept: number[] = [];
  for (const i of order) if (kept.length < most && kept.every((k) => overlap(boxes[k], boxes[i]) <= iou)) kept.push(i);
  return kept;
}

describe("nonMaxSuppression", () => {
  test("chooses what sorting does, with scores that are often equal", () => {
    const box = fc
      .tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 0, max: 9 })))
      .map(([y, x, h, w]) => [y, x, y + h, x + w]);
    const entry = fc.tuple(box, fc.integer({ min: 0, max: 8 }));
    fc.assert(
      fc.property(
        fc.array(entry, { minLength: 1, maxLength: 40 }),
        fc.nat(12),
        fc.constantFrom(0, 0.25, 0.5),
        (list, most, iou) => {
          const [boxes, scores] = [list.map(([b]) => b), list.map(([, s]) => s / 8)];
          const got = nms([tensor([boxes]), tensor([[scores]]), i64(most), tensor([iou]), tensor([0.25])]);
          const want = nmsBySorting(boxes, scores, most, iou, 0.25);
          expect(Array.from(got.data, Number)).toEqual(want.flatMap((i) => [0, 0, i]));
        },
      ),
    );
  });

  const boxes = tensor([
    [
      [0, 0, 1, 1],
      [0, 0.1, 1, 1.1],
      [0, -0.1, 1, 0.9],
      [0, 10, 1, 11],
      [0, 10.1, 1, 11.1],
      [0, 100, 1, 101],
    ],
  ]);
  const scores = tensor([[[0.9, 0.75, 0.6, 0.95, 0.5, 0.3]]]);
  const chosen = (t: HostTensor): number[] => elements(t).flatMap((v, i) => (i % 3 === 2 ? [Number(v)] : []));

  test("the ONNX documentation's boxes", () => {
    expect(chosen(nms([boxes, scores, i64(3), tensor([0.5]), tensor([0])]))).toEqual([3, 0, 5]);
    expect(chosen(nms([boxes, scores, i64(3), tensor([0.5]), tensor([0.4])]))).toEqual([3, 0]);
    expect(chosen(nms([boxes, scores, i64(2), tensor([0.5]), undefined]))).toEqual([3, 0]);
    expect(chosen(nms([boxes, scores, i64(30), undefined, undefined]))).toEqual([3, 0, 5]);
    expect(nms([boxes, scores]).shape).toEqual([0, 3]);
  });

  test("corners in any order, centres and sizes", () => {
    const flipped = tensor([
      [
        [1, 1, 0, 0],
        [0, 0.1, 1, 1.1],
        [2, 2, 3, 3],
      ],
    ]);
    const s = tensor([[[0.9, 0.8, 0.7]]]);
    expect(chosen(nms([flipped, s, i64(9), tensor([0.5])]))).toEqual([0, 2]);
    const centred = tensor([
      [
        [0.5, 0.5, 1, 1],
        [0.6, 0.5, 1, 1],
        [2.5, 2.5, 1, 1],
      ],
    ]);
    expect(chosen(nms([centred, s, i64(9), tensor([0.5])], true))).toEqual([0, 2]);
  });

  test("an overlap equal to the threshold is kept; ties go to the lower index", () => {
    // 7 of 10 in common; 0.7 has no exact f32.
    const pair = tensor([
      [
        [0, 0, 1, 10],
        [0, 0, 1, 7],
      ],
    ]);
    const even = tensor([[[0.5, 0.5]]]);
    expect(chosen(nms([pair, even, i64(9), tensor([0.7])]))).toEqual([0, 1]);
    expect(chosen(nms([pair, even, i64(9), tensor([0.69])]))).toEqual([0]);
  });

  test("batches and classes are apart, shapes are checked", () => {
    const two = tensor([[[0, 0, 1, 1]], [[0, 0, 1, 1]]]);
    const y = nms([
      two,
      tensor([
        [[0.1], [0.2]],
        [[0.3], [0.4]],
      ]),
      i64(1),
    ]);
    expect(elements(y).map(Number)).toEqual([0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 0]);
    expect(() => nms([two, tensor([[[0.1]]]), i64(1)])).toThrow(ShapeError);
  });
});

describe("roiAlign", () => {
  const x = hostTensor(
    Float32Array.from({ length: 16 }, (_, i) => i),
    { shape: [1, 1, 4, 4] },
  );
  const align = (roi: number[], attrs: Parameters<typeof evaluate<typeof roiAlign>>[2]) =>
    elements(evaluate(roiAlign, [x, tensor([roi]), i64(0)], attrs));

  test("a plane is sampled exactly, with and without the half pixel", () => {
    // x + 4 y at the centres of the bins.
    expect(align([0, 0, 4, 4], { outputHeight: 2, outputWidth: 2 })).toEqual([2.5, 4.5, 10.5, 12.5]);
    const legacy = { coordinateTransformationMode: "output_half_pixel" as const, samplingRatio: 1 };
    expect(align([0, 0, 2, 2], legacy)).toEqual([5]);
    expect(align([0, 0, 2, 2], { samplingRatio: 1 })).toEqual([2.5]);
    expect(align([0, 0, 4, 4], { ...legacy, spatialScale: 0.5 })).toEqual([5]);
    // Without the half pixel a region is at least one element wide.
    expect(align([1, 1, 1, 1], legacy)).toEqual([7.5]);
  });

  test("max takes the largest weighted neighbour", () => {
    // One sample at 0.5, 0.5: a quarter of each of 0, 1, 4, 5.
    expect(align([0, 0, 2, 2], { mode: "max", samplingRatio: 1 })).toEqual([1.25]);
  });

  test("far outside is zero, and errors name the operator", () => {
    expect(align([50, 50, 60, 60], {})).toEqual([0]);
    expect(() => evaluate(roiAlign, [x, tensor([[0, 0, 1, 1]]), i64(1)], {})).toThrow(/roiAlign: batch index 1/);
    expect(() => evaluate(roiAlign, [x, tensor([[0, 0, 1]]), i64(0)], {})).toThrow(ShapeError);
    expect(() => evaluate(roiAlign, [tensor([[[[1]]]], "i32"), tensor([[0, 0, 1, 1]]), i64(0)], {})).toThrow(
      DTypeError,
    );
  });
});

test("maxRoiPool: bins with both ends included", () => {
  const x = hostTensor(
    Float32Array.from({ length: 16 }, (_, i) => i),
    { shape: [1, 1, 4, 4] },
  );
  const rois = tensor([
    [0, 0, 0, 3, 3],
    [0, 0, 0, 6, 6],
    [0, 9, 9, 9, 9],
  ]);
  const y = evaluate(maxRoiPool, [x, rois], { pooledShape: [2, 2], spatialScale: 0.5 });
  expect(y.shape).toEqual([3, 1, 2, 2]);
  // Regions 0..1.5 rounded to 0..2; 0..3; 4.5 rounded to 5, outside.
  expect(elements(y)).toEqual([5, 6, 9, 10, 5, 7, 13, 15, 0, 0, 0, 0]);
  expect(() => evaluate(maxRoiPool, [x, tensor([[3, 0, 0, 1, 1]])], { pooledShape: [1, 1] })).toThrow(ShapeError);
});

test("det", () => {
  expect(
    elements(
      evaluate(det, [
        tensor([
          [1, 2],
          [3, 4],
        ]),
      ]),
    ),
  ).toEqual([-2]);
  expect(
    evaluate(det, [
      tensor([
        [
          [0, 1],
          [1, 0],
        ],
        [
          [2, 0],
          [0, 3],
        ],
      ]),
    ]),
  ).toMatchObject({ shape: [2], data: Float32Array.of(-1, 6) });
  expect(
    elements(
      evaluate(det, [
        tensor([
          [1, 2],
          [2, 4],
        ]),
      ]),
    ),
  ).toEqual([0]);
  expect(elements(evaluate(det, [hostTensor(new Float32Array(0), { shape: [0, 0] })]))).toEqual([1]);
  expect(() => evaluate(det, [tensor([[1, 2]])])).toThrow(ShapeError);
});
