import { toF64 } from "../tensor/convert.ts";
import { InputError } from "../tensor/errors.ts";
import type { HostTensor, HostValue } from "../tensor/tensor.ts";
import { isHostTensor } from "../tensor/tensor.ts";
import { shapeError } from "./check.ts";
import { i64Tensor } from "./indices.ts";
import { defineOp } from "./op.ts";

export interface NonMaxSuppressionAttrs {
  /** Boxes are x centre, y centre, width, height, instead of two opposite corners y1, x1, y2, x2. Default false. */
  centerPointBox?: boolean;
}

/** Numbers of a box: y1, x1, y2, x2 with the lower corner first (the axes' order doesn't matter to areas), and its area. */
const width = 5;

function cornersOf(boxes: Float64Array, centered: boolean): Float64Array {
  const out = new Float64Array((boxes.length / 4) * width);
  for (let i = 0, j = 0; i < boxes.length; i += 4, j += width) {
    const [a, b, c, d] = [boxes[i], boxes[i + 1], boxes[i + 2], boxes[i + 3]];
    out[j] = centered ? b - d / 2 : Math.min(a, c);
    out[j + 1] = centered ? a - c / 2 : Math.min(b, d);
    out[j + 2] = centered ? b + d / 2 : Math.max(a, c);
    out[j + 3] = centered ? a + c / 2 : Math.max(b, d);
    out[j + 4] = (out[j + 2] - out[j]) * (out[j + 3] - out[j + 1]);
  }
  return out;
}

/**
 * Whether one of the first `count` boxes of `kept` overlaps the one at `at` by more than `iou`: intersection over union,
 * rounded to f32 so that it can be equal to an f32 threshold. Most boxes don't meet: they are told apart first.
 */
function overlaps(kept: Float64Array, count: number, boxes: Float64Array, at: number, iou: number): boolean {
  const low0 = boxes[at];
  const low1 = boxes[at + 1];
  const high0 = boxes[at + 2];
  const high1 = boxes[at + 3];
  const area = boxes[at + 4];
  for (let k = 0; k < count * width; k += width) {
    // One branch that is foreseen for the most part, where each comparison alone would often not be.
    const apart0 = +(kept[k] >= high0) | +(kept[k + 2] <= low0);
    const apart1 = +(kept[k + 1] >= high1) | +(kept[k + 3] <= low1);
    if ((apart0 | apart1) !== 0) continue;
    const size0 = Math.min(kept[k + 2], high0) - Math.max(kept[k], low0);
    const size1 = Math.min(kept[k + 3], high1) - Math.max(kept[k + 1], low1);
    const shared = size0 * size1;
    if (size0 > 0 && size1 > 0 && Math.fround(shared / (kept[k + 4] + area - shared)) > iou) return true;
  }
  return false;
}

/** Moves the id at `root` of a heap down to its place: the highest score on top, of equal ones the lowest id. */
function siftDown(ids: Int32Array, score: Float64Array, root: number, size: number): void {
  const id = ids[root];
  const isBefore = (i: number, j: number): boolean => score[i] > score[j] || (!(score[i] < score[j]) && i < j);
  for (let child = 2 * root + 1; child < size; child = 2 * root + 1) {
    if (child + 1 < size && isBefore(ids[child + 1], ids[child])) child++;
    if (!isBefore(ids[child], id)) break;
    ids[root] = ids[child];
    root = child;
  }
  ids[root] = id;
}

/**
 * Per batch and class: boxes by falling score, without those that overlap an earlier chosen one by more than
 * `iouThreshold` (default 0). boxes [N, S, 4], scores [N, C, S]; at most `maxOutputBoxesPerClass` (default 0: none); only
 * scores above `scoreThreshold`, if given. Result i64 [M, 3]: batch, class and box index.
 * @throws ShapeError where boxes and scores don't fit together
 */
export const nonMaxSuppression = /* @__PURE__ */ defineOp({
  name: "nonMaxSuppression",
  inputs: ["boxes", "scores", "maxOutputBoxesPerClass?", "iouThreshold?", "scoreThreshold?"],
  evaluate([boxes, scores, maxOutput, iouThreshold, scoreThreshold], attrs: NonMaxSuppressionAttrs) {
    return [
      suppress(tensorOf(boxes), tensorOf(scores), attrs, {
        most: scalarOf(maxOutput) ?? 0,
        iou: scalarOf(iouThreshold) ?? 0,
        score: scalarOf(scoreThreshold),
      }),
    ];
  },
});

function tensorOf(v: HostValue | undefined): HostTensor {
  if (!isHostTensor(v)) throw new InputError("nonMaxSuppression: takes tensors", { op: "nonMaxSuppression" });
  return v;
}

/** The only element; undefined where the input is missing or empty. */
function scalarOf(v: HostValue | undefined): number | undefined {
  return v === undefined || v === null ? undefined : toF64(tensorOf(v))[0];
}

interface Limits {
  most: number;
  iou: number;
  score: number | undefined;
}

/** See `nonMaxSuppression`. Without limits `score` all count. */
export function suppress(
  boxes: HostTensor,
  scores: HostTensor,
  { centerPointBox = false }: NonMaxSuppressionAttrs,
  limits: Limits,
): HostTensor {
  const [batches, count, four] = boxes.shape;
  const classes = scores.shape[1];
  const fits = boxes.shape.length === 3 && scores.shape.length === 3 && four === 4;
  if (!fits || scores.shape[0] !== batches || scores.shape[2] !== count)
    shapeError("nonMaxSuppression", "takes boxes [N,S,4] and scores [N,C,S]", boxes, scores);
  const corners = cornersOf(toF64(boxes), centerPointBox);
  const values = toF64(scores);
  const heap = new Int32Array(count);
  const most = Math.max(0, Math.min(count, limits.most));
  /** Boxes of one class. */
  const kept = new Float64Array(most * width);
  const chosen: number[] = [];
  for (let n = 0; n < batches; n++)
    for (let c = 0; c < classes; c++) {
      const score = values.subarray((n * classes + c) * count, (n * classes + c + 1) * count);
      let size = 0;
      for (let i = 0; i < count; i++) if (limits.score === undefined || score[i] > limits.score) heap[size++] = i;
      for (let i = (size >> 1) - 1; i >= 0; i--) siftDown(heap, score, i, size);
      let found = 0;
      for (; size > 0 && found < most; ) {
        const i = heap[0];
        heap[0] = heap[--size];
        siftDown(heap, score, 0, size);
        const at = (n * count + i) * width;
        if (limits.iou < 0 ? found > 0 : overlaps(kept, found, corners, at, limits.iou)) continue;
        for (let k = 0; k < width; k++) kept[found * width + k] = corners[at + k];
        found++;
        chosen.push(n, c, i);
      }
    }
  return i64Tensor(chosen, [chosen.length / 3, 3]);
}
