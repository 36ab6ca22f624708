import { toF64 } from "../tensor/convert.ts";
import { InputError } from "../tensor/errors.ts";
import type { HostTensor, HostValue } from "../tensor/tensor.ts";
import { isHostTensor } from "../tensor/tensor.ts";
import { shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

export interface NonMaxSuppressionAttrs {
  /** Boxes are x centre, y centre, width, height, instead of two opposite corners y1, x1, y2, x2. Default false. */
  centerPointBox?: boolean;
}

/** Corners with the lower one first: y1, x1, y2, x2 (the axes' order doesn't matter to areas). */
type Box = readonly [number, number, number, number];

function boxAt(boxes: Float64Array, i: number, centered: boolean): Box {
  const [a, b, c, d] = boxes.subarray(4 * i, 4 * i + 4);
  if (centered) return [b - d / 2, a - c / 2, b + d / 2, a + c / 2];
  return [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
}

const area = ([y1, x1, y2, x2]: Box): number => (y2 - y1) * (x2 - x1);

/** Intersection over union, rounded to f32 so that it can be equal to an f32 threshold. */
function overlap(p: Box, q: Box): number {
  const height = Math.min(p[2], q[2]) - Math.max(p[0], q[0]);
  const width = Math.min(p[3], q[3]) - Math.max(p[1], q[1]);
  if (!(height > 0 && width > 0)) return 0;
  const shared = height * width;
  return Math.fround(shared / (area(p) + area(q) - shared));
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
  const corners = toF64(boxes);
  const values = toF64(scores);
  const all = Array.from({ length: batches * count }, (_, i) => boxAt(corners, i, centerPointBox));
  const chosen: number[] = [];
  for (let n = 0; n < batches; n++)
    for (let c = 0; c < classes; c++) {
      const score = values.subarray((n * classes + c) * count, (n * classes + c + 1) * count);
      const order = [...score.keys()].filter((i) => limits.score === undefined || score[i] > limits.score);
      order.sort((i, j) => score[j] - score[i] || i - j);
      const kept: Box[] = [];
      for (const i of order) {
        if (kept.length >= limits.most) break;
        const box = all[n * count + i];
        if (kept.some((k) => overlap(k, box) > limits.iou)) continue;
        kept.push(box);
        chosen.push(n, c, i);
      }
    }
  return { dtype: "i64", shape: [chosen.length / 3, 3], data: BigInt64Array.from(chosen, BigInt) };
}
