/** Normalisation of rows: over the axes from `axis` to the last, with an elementwise affine map after it. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import type { DType } from "../tensor/dtype.ts";
import {
  broadcastShapes,
  broadcastStrides,
  forEachOffset,
  normalizeAxis,
  sameShape,
  sizeBetween,
} from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { expectFloat, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

export interface LayerNormAttrs {
  /** First of the axes that are normalised together. Default -1. */
  axis?: number;
  /** Default 1e-5. */
  epsilon?: number;
}

/** [rows, n]: the rows that are normalised on their own, and their length. */
export function rowsFrom(op: string, x: TensorType, axis = -1): { rows: number; n: number } {
  const a = normalizeAxis(op, axis, x.shape.length);
  return { rows: sizeBetween(x.shape, 0, a), n: sizeBetween(x.shape, a, x.shape.length) };
}

function checked(op: string, x: TensorType, affine: readonly (TensorType | undefined)[], axis?: number): void {
  expectFloat(op, x);
  rowsFrom(op, x, axis);
  for (const t of affine) {
    if (!t) continue;
    expectFloat(op, t);
    if (!sameShape(broadcastShapes(op, x.shape, t.shape), x.shape)) shapeError(op, "does not broadcast to x", x, t);
  }
}

/** The elements of `t` repeated to x's shape. */
function expanded(t: HostTensor, x: TensorType): Float64Array {
  const src = toF64(t);
  const out = new Float64Array(x.shape.reduce((n, d) => n * d, 1));
  forEachOffset(x.shape, [broadcastStrides(t.shape, x.shape)], (i, [offset]) => {
    out[i] = src[offset];
  });
  return out;
}

const meanOf = (x: Float64Array): number => x.reduce((s, v) => s + v, 0) / x.length;

/**
 * Layer normalisation (https://arxiv.org/abs/1607.06450): (x - mean) / sqrt(variance + epsilon) * scale + bias, where
 * scale and bias broadcast to `x`. Any float dtype; output like `x`.
 */
export const layerNorm = /* @__PURE__ */ defineOp({
  name: "layerNorm",
  inputs: ["x", "scale", "bias?"],
  infer([x, scale, bias], { axis }: LayerNormAttrs) {
    checked("layerNorm", x, [scale, bias], axis);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x, scale, bias], { axis, epsilon = 1e-5 }, [y]) {
    const { rows, n } = rowsFrom("layerNorm", x, axis);
    const src = toF64(x);
    const factor = expanded(scale, x);
    const shift = bias && expanded(bias, x);
    const out = new Float64Array(src.length);
    for (let r = 0; r < rows; r++) {
      const row = src.subarray(r * n, (r + 1) * n);
      const mean = meanOf(row);
      const deviation = Math.sqrt(meanOf(row.map((v) => (v - mean) ** 2)) + epsilon);
      for (let i = r * n; i < (r + 1) * n; i++)
        out[i] = ((src[i] - mean) / deviation) * factor[i] + (shift ? shift[i] : 0);
    }
    fromF64(out, y);
  },
});

export interface LayerNormStatisticsAttrs extends LayerNormAttrs {
  /** Of the outputs. Default f32. */
  dtype?: DType;
}

/** What layerNorm divides by and subtracts: mean and 1 / sqrt(variance + epsilon), normalised axes kept as 1. */
export const layerNormStatistics = /* @__PURE__ */ defineOp({
  name: "layerNormStatistics",
  inputs: ["x"],
  outputs: ["mean", "inverseDeviation"],
  infer([x], { axis = -1, dtype = "f32" }: LayerNormStatisticsAttrs) {
    checked("layerNormStatistics", x, [], axis);
    const a = normalizeAxis("layerNormStatistics", axis, x.shape.length);
    const shape = x.shape.map((d, i) => (i < a ? d : 1));
    return [
      { dtype, shape },
      { dtype, shape },
    ];
  },
  reference([x], { axis, epsilon = 1e-5 }, [mean, inverseDeviation]) {
    const { rows, n } = rowsFrom("layerNormStatistics", x, axis);
    const src = toF64(x);
    const means = new Float64Array(rows);
    const inverses = new Float64Array(rows);
    for (let r = 0; r < rows; r++) {
      const row = src.subarray(r * n, (r + 1) * n);
      means[r] = meanOf(row);
      inverses[r] = 1 / Math.sqrt(meanOf(row.map((v) => (v - means[r]) ** 2)) + epsilon);
    }
    fromF64(means, mean);
    fromF64(inverses, inverseDeviation);
  },
});

/**
 * Root-mean-square normalisation (https://arxiv.org/abs/1910.07467): x / sqrt(mean(x^2) + epsilon) * scale. Any float
 * dtype; output shaped like `x` with the dtype of `scale`.
 */
export const rmsNorm = /* @__PURE__ */ defineOp({
  name: "rmsNorm",
  inputs: ["x", "scale"],
  infer([x, scale], { axis }: LayerNormAttrs) {
    checked("rmsNorm", x, [scale], axis);
    return { dtype: scale.dtype, shape: x.shape };
  },
  reference([x, scale], { axis, epsilon = 1e-5 }, [y]) {
    const { rows, n } = rowsFrom("rmsNorm", x, axis);
    const src = toF64(x);
    const factor = expanded(scale, x);
    const out = new Float64Array(src.length);
    for (let r = 0; r < rows; r++) {
      const rms = Math.sqrt(meanOf(src.subarray(r * n, (r + 1) * n).map((v) => v * v)) + epsilon);
      for (let i = r * n; i < (r + 1) * n; i++) out[i] = (src[i] / rms) * factor[i];
    }
    fromF64(out, y);
  },
});
