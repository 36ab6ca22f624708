/**
 * Sampling at computed positions, f32.
 * - gridSample/bilinear: offsets and weights of a point's four neighbours are found once and serve all channels.
 * - gridSample/cubic: the same, with four rows and four columns a point.
 * - roiAlign/tables: neighbours along each axis are found once for a region, instead of for each sample and channel.
 * - affineGrid/planes: coordinates of rows and columns are found once, while planning.
 */
import { affineGrid, normalised } from "../../ops/affine-grid.ts";
import { gridElement, gridPosition, gridSample } from "../../ops/grid-sample.ts";
import { cubicWeight } from "../../ops/resample.ts";
import { checkBatchIndex, roiAlign, roiBins, roiNeighbours } from "../../ops/roi-align.ts";
import { type HostStep, type Kernel, kernel } from "../backend.ts";

// Operations on f32 whose results are rounded to it are done in it, without conversions: twice as fast.
const { fround } = Math;

const gridBilinear = kernel<HostStep, typeof gridSample>(
  gridSample,
  "cpu/gridSample/bilinear",
  ([x, grid], _, attrs) => {
    if (x.dtype !== "f32" || grid.dtype !== "f32" || x.shape.length !== 4) return undefined;
    if ((attrs.mode ?? "linear") !== "linear") return undefined;
    const [batches, channels, height, width] = x.shape;
    const points = grid.shape[1] * grid.shape[2];
    const plane = height * width;
    return {
      workspaceBytes: points * 32,
      run([src, positions], [out], { buffer, byteOffset }) {
        const offsets = new Int32Array(buffer, byteOffset, points * 4);
        const weights = new Float32Array(buffer, byteOffset + points * 16, points * 4);
        for (let n = 0; n < batches; n++) {
          for (let p = 0; p < points; p++) {
            const at = (n * points + p) * 2;
            const vx = gridPosition(positions[at] as number, width, attrs, false);
            const vy = gridPosition(positions[at + 1] as number, height, attrs, false);
            const x0 = Math.floor(vx);
            const y0 = Math.floor(vy);
            weights[4 * p] = (1 - (vy - y0)) * (1 - (vx - x0));
            weights[4 * p + 1] = (1 - (vy - y0)) * (vx - x0);
            weights[4 * p + 2] = (vy - y0) * (1 - (vx - x0));
            weights[4 * p + 3] = (vy - y0) * (vx - x0);
            if (x0 >= 0 && y0 >= 0 && x0 + 1 < width && y0 + 1 < height) {
              offsets[4 * p] = -2 - (y0 * width + x0);
              continue;
            }
            const left = gridElement(x0, width, attrs);
            const right = gridElement(x0 + 1, width, attrs);
            const top = gridElement(y0, height, attrs);
            const bottom = gridElement(y0 + 1, height, attrs);
            offsets[4 * p] = top < 0 || left < 0 ? -1 : top * width + left;
            offsets[4 * p + 1] = top < 0 || right < 0 ? -1 : top * width + right;
            offsets[4 * p + 2] = bottom < 0 || left < 0 ? -1 : bottom * width + left;
            offsets[4 * p + 3] = bottom < 0 || right < 0 ? -1 : bottom * width + right;
          }
          for (let c = 0; c < channels; c++) {
            const base = (n * channels + c) * plane;
            const to = (n * channels + c) * points;
            samplePlane(src as Float32Array, base, width, offsets, weights, out as Float32Array, to);
          }
        }
      },
    };
  },
);

/** A first offset below -1 stands for a point inside the plane: -2 less that of the first of its four neighbours. */
function samplePlane(
  x: Float32Array,
  base: number,
  width: number,
  offsets: Int32Array,
  weights: Float32Array,
  y: Float32Array,
  to: number,
): void {
  for (let k = 0; k < offsets.length; k += 4, to++) {
    const a = offsets[k];
    if (a < -1) {
      const at = base - 2 - a;
      const first = fround(fround(weights[k] * x[at]) + fround(weights[k + 1] * x[at + 1]));
      const second = fround(fround(weights[k + 2] * x[at + width]) + fround(weights[k + 3] * x[at + width + 1]));
      y[to] = fround(first + second);
      continue;
    }
    const b = offsets[k + 1];
    const c = offsets[k + 2];
    const d = offsets[k + 3];
    // Zeros around the input are not read: a weight of 0 would not silence an infinity.
    y[to] =
      (a < 0 ? 0 : weights[k] * x[base + a]) +
      (b < 0 ? 0 : weights[k + 1] * x[base + b]) +
      (c < 0 ? 0 : weights[k + 2] * x[base + c]) +
      (d < 0 ? 0 : weights[k + 3] * x[base + d]);
  }
}

const gridCubic = kernel<HostStep, typeof gridSample>(gridSample, "cpu/gridSample/cubic", ([x, grid], _, attrs) => {
  if (x.dtype !== "f32" || grid.dtype !== "f32" || x.shape.length !== 4 || attrs.mode !== "cubic") return undefined;
  const [batches, channels, height, width] = x.shape;
  const points = grid.shape[1] * grid.shape[2];
  const plane = height * width;
  return {
    workspaceBytes: points * 64,
    run([src, positions], [out], { buffer, byteOffset }) {
      const offsets = new Int32Array(buffer, byteOffset, points * 8);
      const weights = new Float32Array(buffer, byteOffset + points * 32, points * 8);
      const fill = (at: number, v: number, n: number, stride: number): void => {
        const first = Math.floor(v) - 1;
        for (let t = 0; t < 4; t++) {
          const i = gridElement(first + t, n, attrs);
          offsets[at + t] = i < 0 ? -1 : i * stride;
          weights[at + t] = cubicWeight(first + t - v, -0.75);
        }
      };
      for (let n = 0; n < batches; n++) {
        for (let p = 0; p < points; p++) {
          const at = (n * points + p) * 2;
          fill(8 * p, gridPosition(positions[at + 1] as number, height, attrs, false), height, width);
          fill(8 * p + 4, gridPosition(positions[at] as number, width, attrs, false), width, 1);
        }
        for (let c = n * channels; c < (n + 1) * channels; c++)
          sampleCubic(src as Float32Array, c * plane, offsets, weights, out as Float32Array, c * points);
      }
    },
  };
});

/** Each point has four rows and four columns: their offsets, -1 for what is not read, and weights. */
function sampleCubic(
  x: Float32Array,
  base: number,
  offsets: Int32Array,
  weights: Float32Array,
  y: Float32Array,
  to: number,
): void {
  for (let k = 0; k < offsets.length; k += 8) {
    const [a, b, c, d] = [offsets[k + 4], offsets[k + 5], offsets[k + 6], offsets[k + 7]];
    const [wa, wb, wc, wd] = [weights[k + 4], weights[k + 5], weights[k + 6], weights[k + 7]];
    const whole = (a | b | c | d) >= 0;
    let sum = 0;
    for (let r = k; r < k + 4; r++) {
      if (offsets[r] < 0) continue;
      const at = base + offsets[r];
      sum +=
        weights[r] *
        (whole
          ? wa * x[at + a] + wb * x[at + b] + wc * x[at + c] + wd * x[at + d]
          : (a < 0 ? 0 : wa * x[at + a]) +
            (b < 0 ? 0 : wb * x[at + b]) +
            (c < 0 ? 0 : wc * x[at + c]) +
            (d < 0 ? 0 : wd * x[at + d]));
    }
    y[to++] = sum;
  }
}

/** Neighbours and weights of all samples along one axis of a region. A first neighbour of -1: outside. */
class SampleTable {
  low = new Int32Array(64);
  high = new Int32Array(64);
  weight = new Float32Array(64);

  fill(start: number, bin: number, bins: number, samples: number, n: number, stride: number): void {
    const count = bins * samples;
    if (count > this.low.length) {
      this.low = new Int32Array(2 * count);
      this.high = new Int32Array(2 * count);
      this.weight = new Float32Array(2 * count);
    }
    for (let p = 0, k = 0; p < bins; p++)
      for (let i = 0; i < samples; i++, k++) {
        const found = roiNeighbours(start + (p + (i + 0.5) / samples) * bin, n);
        this.low[k] = found ? found[0] * stride : -1;
        this.high[k] = found ? found[1] * stride : -1;
        this.weight[k] = found ? found[2] : 0;
      }
  }
}

const roiTables = kernel<HostStep, typeof roiAlign>(roiAlign, "cpu/roiAlign/tables", ([x], [y], attrs) => {
  if (x.dtype !== "f32") return undefined;
  const [batches, channels, height, width] = x.shape;
  const [regions, , outHeight, outWidth] = y.shape;
  const rows = new SampleTable();
  const columns = new SampleTable();
  const pool = attrs.mode === "max" ? poolMax : poolAverage;
  return {
    run([src, rois, indices], [out]) {
      let to = 0;
      for (let r = 0; r < regions; r++) {
        const b = roiBins(rois as Float32Array, r, attrs);
        const batch = checkBatchIndex(Number(indices[r]), batches);
        rows.fill(b.startY, b.binHeight, outHeight, b.samplesY, height, width);
        columns.fill(b.startX, b.binWidth, outWidth, b.samplesX, width, 1);
        for (let c = 0; c < channels; c++) {
          const base = (batch * channels + c) * height * width;
          for (let py = 0; py < outHeight; py++)
            for (let px = 0; px < outWidth; px++)
              out[to++] = pool(src as Float32Array, base, rows, py, b.samplesY, columns, px, b.samplesX);
        }
      }
    },
  };
});

/** One bin of a region: `samplesY` x `samplesX` points of the tables, from the plane at `base`. */
type RoiPool = (
  x: Float32Array,
  base: number,
  rows: SampleTable,
  py: number,
  samplesY: number,
  columns: SampleTable,
  px: number,
  samplesX: number,
) => number;

const poolAverage: RoiPool = (x, base, rows, py, samplesY, columns, px, samplesX) => {
  if (samplesY * samplesX === 0) return 0;
  let sum = 0;
  for (let i = py * samplesY; i < (py + 1) * samplesY; i++) {
    if (rows.low[i] < 0) continue;
    const top = base + rows.low[i];
    const bottom = base + rows.high[i];
    const wy = rows.weight[i];
    for (let j = px * samplesX; j < (px + 1) * samplesX; j++) {
      const left = columns.low[j];
      if (left < 0) continue;
      const right = columns.high[j];
      const wx = columns.weight[j];
      sum +=
        (1 - wy) * ((1 - wx) * x[top + left] + wx * x[top + right]) +
        wy * ((1 - wx) * x[bottom + left] + wx * x[bottom + right]);
    }
  }
  return sum / (samplesY * samplesX);
};

const poolMax: RoiPool = (x, base, rows, py, samplesY, columns, px, samplesX) => {
  if (samplesY * samplesX === 0) return 0;
  let max = Number.NEGATIVE_INFINITY;
  for (let i = py * samplesY; i < (py + 1) * samplesY; i++)
    for (let j = px * samplesX; j < (px + 1) * samplesX; j++) {
      if (rows.low[i] < 0 || columns.low[j] < 0) {
        max = Math.max(max, 0);
        continue;
      }
      const top = base + rows.low[i];
      const bottom = base + rows.high[i];
      const wy = rows.weight[i];
      const wx = columns.weight[j];
      max = Math.max(
        max,
        (1 - wy) * (1 - wx) * x[top + columns.low[j]],
        (1 - wy) * wx * x[top + columns.high[j]],
        wy * (1 - wx) * x[bottom + columns.low[j]],
        wy * wx * x[bottom + columns.high[j]],
      );
    }
  return max;
};

const affinePlanes = kernel<HostStep, typeof affineGrid>(
  affineGrid,
  "cpu/affineGrid/planes",
  ([theta], [y], { alignCorners = false }) => {
    if (theta.dtype !== "f32" || y.shape.length !== 4) return undefined;
    const [batches, height, width] = y.shape;
    const coordinates = (n: number): Float64Array =>
      Float64Array.from({ length: n }, (_, i) => normalised(i, n, alignCorners));
    const [rows, columns] = [coordinates(height), coordinates(width)];
    return {
      run([matrices], [out]) {
        for (let n = 0; n < batches; n++)
          for (let r = 0; r < height; r++) {
            const to = (n * height + r) * width * 2;
            affineRow(matrices as Float32Array, n * 6, rows[r], columns, out as Float32Array, to);
          }
      },
    };
  },
);

/** Positions of one row of the grid, x first, by the matrix at `m`. */
function affineRow(theta: Float32Array, m: number, row: number, columns: Float64Array, y: Float32Array, to: number) {
  const a = theta[m];
  const b = theta[m + 3];
  const shiftX = theta[m + 1] * row + theta[m + 2];
  const shiftY = theta[m + 4] * row + theta[m + 5];
  for (let c = 0; c < columns.length; c++) {
    y[to + 2 * c] = a * columns[c] + shiftX;
    y[to + 2 * c + 1] = b * columns[c] + shiftY;
  }
}

export const imageKernels: Kernel<HostStep>[] = [gridBilinear, gridCubic, roiTables, affinePlanes];
