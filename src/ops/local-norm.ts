/** The older normalisations: across neighbouring channels, to unit length, to mean 0 and variance 1. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { forEachOffset, normalizeAxes, stridesOf } from "../tensor/shape.ts";
import { channelsFirst } from "./batch-norm.ts";
import { expectFloat, expectRank, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";
import { reducedShape } from "./reduce.ts";
import { aroundAxis } from "./softmax.ts";

export interface LocalResponseNormAttrs {
  /** Channels that count together. */
  size: number;
  /** Default 1e-4. */
  alpha?: number;
  /** Default 0.75. */
  beta?: number;
  /** Default 1. */
  bias?: number;
}

/**
 * Local response normalisation (AlexNet, section 3.3): x / (bias + alpha / size * sum of squares over `size` channels
 * around)^beta. x [batch, channels, ...], any float dtype; output like `x`.
 */
export const localResponseNorm = /* @__PURE__ */ defineOp({
  name: "localResponseNorm",
  inputs: ["x"],
  infer([x], { size }: LocalResponseNormAttrs) {
    expectFloat("localResponseNorm", x);
    expectRank("localResponseNorm", x, 2, Number.POSITIVE_INFINITY);
    if (!Number.isInteger(size) || size < 1) shapeError("localResponseNorm", `size ${size} is not a positive integer`);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x], { size, alpha = 1e-4, beta = 0.75, bias = 1 }, [y]) {
    const { batch, channels, inner } = channelsFirst(x);
    const src = toF64(x);
    const out = new Float64Array(src.length);
    for (let b = 0; b < batch; b++)
      for (let c = 0; c < channels; c++) {
        const first = Math.max(0, c - Math.floor((size - 1) / 2));
        const last = Math.min(channels - 1, c + Math.ceil((size - 1) / 2));
        for (let i = 0; i < inner; i++) {
          let squares = 0;
          for (let k = first; k <= last; k++) squares += src[(b * channels + k) * inner + i] ** 2;
          const at = (b * channels + c) * inner + i;
          out[at] = src[at] / (bias + (alpha / size) * squares) ** beta;
        }
      }
    fromF64(out, y);
  },
});

export interface LpNormAttrs {
  /** Default -1. */
  axis?: number;
  /** Order of the norm: 1 or 2 (default). */
  p?: 1 | 2;
}

/** x divided by its Lp norm along `axis`; 0 where that norm is 0. Any float dtype; output like `x`. */
export const lpNorm = /* @__PURE__ */ defineOp({
  name: "lpNorm",
  inputs: ["x"],
  infer([x], { axis = -1, p = 2 }: LpNormAttrs) {
    expectFloat("lpNorm", x);
    aroundAxis("lpNorm", x.shape, axis);
    if (p !== 1 && p !== 2) shapeError("lpNorm", `order must be 1 or 2, is ${p}`, x);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x], { axis = -1, p = 2 }, [y]) {
    const { outer, n, inner } = aroundAxis("lpNorm", x.shape, axis);
    const src = toF64(x);
    const out = new Float64Array(src.length);
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < inner; i++) {
        const at = o * n * inner + i;
        let sum = 0;
        for (let k = 0; k < n; k++) sum += Math.abs(src[at + k * inner]) ** p;
        const norm = p === 2 ? Math.sqrt(sum) : sum;
        for (let k = 0; k < n; k++) out[at + k * inner] = norm === 0 ? 0 : src[at + k * inner] / norm;
      }
    fromF64(out, y);
  },
});

export interface MeanVarianceNormAttrs {
  /** Axes that share a mean and a variance. Default [0, 2, 3]. */
  axes?: readonly number[];
}

/** ONNX's composition adds this to the deviation, so that constant input gives 0. */
export const MVN_EPSILON = 1e-9;

/** (x - mean) / standard deviation over `axes`. Any float dtype; output like `x`. */
export const meanVarianceNorm = /* @__PURE__ */ defineOp({
  name: "meanVarianceNorm",
  inputs: ["x"],
  infer([x], { axes = [0, 2, 3] }: MeanVarianceNormAttrs) {
    expectFloat("meanVarianceNorm", x);
    normalizeAxes("meanVarianceNorm", axes, x.shape.length);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x], { axes = [0, 2, 3] }, [y]) {
    const gone = normalizeAxes("meanVarianceNorm", axes, x.shape.length);
    // Elements with the same offset here belong to one set.
    const set = stridesOf(reducedShape(x.shape, gone, true)).map((s, i) => (gone.includes(i) ? 0 : s));
    const src = toF64(x);
    const sets = reducedShape(x.shape, gone, true).reduce((n, d) => n * d, 1);
    const size = src.length / sets;
    const mean = new Float64Array(sets);
    const variance = new Float64Array(sets);
    const out = new Float64Array(src.length);
    forEachOffset(x.shape, [set], (i, [s]) => {
      mean[s] += src[i] / size;
    });
    forEachOffset(x.shape, [set], (i, [s]) => {
      variance[s] += (src[i] - mean[s]) ** 2 / size;
    });
    forEachOffset(x.shape, [set], (i, [s]) => {
      out[i] = (src[i] - mean[s]) / (Math.sqrt(variance[s]) + MVN_EPSILON);
    });
    fromF64(out, y);
  },
});
