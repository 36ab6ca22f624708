import { fromF64, toF64 } from "../tensor/convert.ts";
import { sizeOf } from "../tensor/shape.ts";
import { expectFloat, expectRank, sameDType, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

export interface MaxRoiPoolAttrs {
  /** Height and width of the result. */
  pooledShape: readonly number[];
  /** Elements of x for one unit of the regions' coordinates. Default 1. */
  spatialScale?: number;
}

/** Half away from zero, as C's round. */
const round = (v: number): number => Math.sign(v) * Math.floor(Math.abs(v) + 0.5);
const clamp = (v: number, n: number): number => Math.max(0, Math.min(n, v));

/**
 * The maximum of every bin of the regions rois [R, 5] (batch index, x1, y1, x2, y2, ends included) of x [N, C, H, W].
 * Empty bins give 0. Source: Fast R-CNN, arXiv 1504.08083.
 * @throws ShapeError where shapes don't fit or a batch index is outside
 */
export const maxRoiPool = /* @__PURE__ */ defineOp({
  name: "maxRoiPool",
  inputs: ["x", "rois"],
  infer([x, rois], { pooledShape }: MaxRoiPoolAttrs) {
    expectFloat("maxRoiPool", x);
    expectRank("maxRoiPool", x, 4);
    sameDType("maxRoiPool", x, rois);
    if (rois.shape.length !== 2 || rois.shape[1] !== 5) shapeError("maxRoiPool", "takes rois [R,5]", rois);
    if (pooledShape.length !== 2 || pooledShape.some((d) => !(d > 0)))
      shapeError("maxRoiPool", `pooledShape must be two positive lengths, got [${pooledShape}]`);
    return { dtype: x.dtype, shape: [rois.shape[0], x.shape[1], ...pooledShape] };
  },
  reference([x, rois], { spatialScale = 1 }, [y]) {
    const [batches, channels, height, width] = x.shape;
    const [regions, , outHeight, outWidth] = y.shape;
    const src = toF64(x);
    const boxes = toF64(rois);
    const out = new Float64Array(sizeOf(y.shape));
    let to = 0;
    for (let r = 0; r < regions; r++) {
      const batch = boxes[r * 5];
      if (!(batch >= 0 && batch < batches))
        shapeError("maxRoiPool", `batch index ${batch} is outside a batch of ${batches}`);
      const [x1, y1, x2, y2] = [1, 2, 3, 4].map((k) => round(boxes[r * 5 + k] * spatialScale));
      const binHeight = Math.max(y2 - y1 + 1, 1) / outHeight;
      const binWidth = Math.max(x2 - x1 + 1, 1) / outWidth;
      for (let c = 0; c < channels; c++) {
        const base = (Math.trunc(batch) * channels + c) * height * width;
        for (let py = 0; py < outHeight; py++)
          for (let px = 0; px < outWidth; px++) {
            const top = clamp(Math.floor(py * binHeight) + y1, height);
            const bottom = clamp(Math.ceil((py + 1) * binHeight) + y1, height);
            const left = clamp(Math.floor(px * binWidth) + x1, width);
            const right = clamp(Math.ceil((px + 1) * binWidth) + x1, width);
            let max = bottom <= top || right <= left ? 0 : Number.NEGATIVE_INFINITY;
            for (let i = top; i < bottom; i++)
              for (let j = left; j < right; j++) max = Math.max(max, src[base + i * width + j]);
            out[to++] = max;
          }
      }
    }
    fromF64(out, y);
  },
});
