import { fromF64, toF64 } from "../tensor/convert.ts";
import { sizeOf } from "../tensor/shape.ts";
import { expectFloat, expectRank, sameDType, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

export interface RoiAlignAttrs {
  /** Default `avg`. */
  mode?: "avg" | "max";
  outputHeight?: number;
  outputWidth?: number;
  /** Samples along each side of a bin; 0: as many as the bin has elements, rounded up. Default 0. */
  samplingRatio?: number;
  /** Elements of x for one unit of the regions' coordinates. Default 1. */
  spatialScale?: number;
  /** `half_pixel` (default) takes half an element off the coordinates; `output_half_pixel` does not. */
  coordinateTransformationMode?: "half_pixel" | "output_half_pixel";
}

/** Regions as a grid of bins with sample positions. Shared by the reference and the kernels. */
export interface RoiBins {
  readonly startY: number;
  readonly startX: number;
  readonly binHeight: number;
  readonly binWidth: number;
  readonly samplesY: number;
  readonly samplesX: number;
}

/** In a bin. More would take minutes. */
export const mostSamples = 2 ** 30;

/** Region r of `rois` [R, 4] (x1, y1, x2, y2) cut into bins. Throws ShapeError for more samples than that. */
export function roiBins(rois: ArrayLike<number>, r: number, attrs: RoiAlignAttrs): RoiBins {
  const { outputHeight = 1, outputWidth = 1, samplingRatio = 0, spatialScale = 1 } = attrs;
  const shifted = (attrs.coordinateTransformationMode ?? "half_pixel") === "half_pixel";
  const offset = shifted ? 0.5 : 0;
  const at = (k: number): number => rois[r * 4 + k] * spatialScale - offset;
  const startX = at(0);
  const startY = at(1);
  let width = at(2) - startX;
  let height = at(3) - startY;
  // Without the shift, malformed regions are forced to be one element wide.
  if (!shifted) {
    width = Math.max(width, 1);
    height = Math.max(height, 1);
  }
  const binHeight = height / outputHeight;
  const binWidth = width / outputWidth;
  const samplesY = samplingRatio > 0 ? samplingRatio : Math.max(0, Math.ceil(binHeight));
  const samplesX = samplingRatio > 0 ? samplingRatio : Math.max(0, Math.ceil(binWidth));
  if (samplesY * samplesX > mostSamples)
    shapeError(
      "roiAlign",
      `region ${r} takes ${samplesY} x ${samplesX} samples for each bin, which would take minutes`,
    );
  return { startY, startX, binHeight, binWidth, samplesY, samplesX };
}

/**
 * The two neighbours of position v in an axis of n elements and the weight of the second. Undefined beyond one element
 * outside the axis, where samples count as zero.
 */
export function roiNeighbours(v: number, n: number): readonly [number, number, number] | undefined {
  // Written so that NaN is outside.
  if (!(v >= -1 && v <= n)) return undefined;
  const inside = Math.max(v, 0);
  const low = Math.floor(inside);
  return low >= n - 1 ? [n - 1, n - 1, 0] : [low, low + 1, inside - low];
}

/**
 * Pools each region of x [N, C, H, W] to [C, outputHeight, outputWidth] from bilinear samples: rois [R, 4] as x1, y1,
 * x2, y2; batchIndices [R]. Source: Mask R-CNN, arXiv 1703.06870. `max` takes the largest of the samples' four weighted
 * neighbours, not of their sums: so do the ONNX test data and the runtimes that follow them.
 * @throws ShapeError where shapes don't fit, a batch index is outside, or a region takes more than 2^30 samples for a bin
 */
export const roiAlign = /* @__PURE__ */ defineOp({
  name: "roiAlign",
  inputs: ["x", "rois", "batchIndices"],
  infer([x, rois, batchIndices], { outputHeight = 1, outputWidth = 1 }: RoiAlignAttrs) {
    expectFloat("roiAlign", x);
    expectRank("roiAlign", x, 4);
    expectRank("roiAlign", rois, 2);
    sameDType("roiAlign", x, rois);
    if (rois.shape[1] !== 4 || batchIndices.shape.length !== 1 || batchIndices.shape[0] !== rois.shape[0])
      shapeError("roiAlign", "takes rois [R,4] and batch indices [R]", rois, batchIndices);
    if (!(outputHeight > 0 && outputWidth > 0)) shapeError("roiAlign", `output ${outputHeight} x ${outputWidth}`);
    return { dtype: x.dtype, shape: [rois.shape[0], x.shape[1], outputHeight, outputWidth] };
  },
  reference([x, rois, batchIndices], attrs, [y]) {
    const [batches, channels, height, width] = x.shape;
    const [regions, , outHeight, outWidth] = y.shape;
    const src = toF64(x);
    const boxes = toF64(rois);
    const places = toF64(batchIndices).map((index) => checkBatchIndex(index, batches));
    const out = new Float64Array(sizeOf(y.shape));
    let to = 0;
    for (let r = 0; r < regions; r++) {
      const b = roiBins(boxes, r, attrs);
      const batch = places[r];
      for (let c = 0; c < channels; c++) {
        const base = (batch * channels + c) * height * width;
        for (let py = 0; py < outHeight; py++)
          for (let px = 0; px < outWidth; px++) {
            let sum = 0;
            let max = Number.NEGATIVE_INFINITY;
            for (let iy = 0; iy < b.samplesY; iy++)
              for (let ix = 0; ix < b.samplesX; ix++) {
                const ny = roiNeighbours(b.startY + (py + (iy + 0.5) / b.samplesY) * b.binHeight, height);
                const nx = roiNeighbours(b.startX + (px + (ix + 0.5) / b.samplesX) * b.binWidth, width);
                if (!ny || !nx) {
                  max = Math.max(max, 0);
                  continue;
                }
                const [y0, y1, wy] = ny;
                const [x0, x1, wx] = nx;
                const parts = [
                  (1 - wy) * (1 - wx) * src[base + y0 * width + x0],
                  (1 - wy) * wx * src[base + y0 * width + x1],
                  wy * (1 - wx) * src[base + y1 * width + x0],
                  wy * wx * src[base + y1 * width + x1],
                ];
                sum += parts[0] + parts[1] + parts[2] + parts[3];
                max = Math.max(max, ...parts);
              }
            const samples = b.samplesY * b.samplesX;
            out[to++] = samples === 0 ? 0 : attrs.mode === "max" ? max : sum / samples;
          }
      }
    }
    fromF64(out, y);
  },
});

/** A batch index inside [0, batches). Throws ShapeError. */
export function checkBatchIndex(index: number, batches: number): number {
  if (!Number.isInteger(index) || index < 0 || index >= batches)
    shapeError("roiAlign", `batch index ${index} is outside a batch of ${batches}`);
  return index;
}
