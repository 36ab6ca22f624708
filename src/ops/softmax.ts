/** exp along an axis, normalised: softmax, its logarithm, and its limit hardmax. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { normalizeAxis, type Shape, sizeBetween } from "../tensor/shape.ts";
import { expectFloat } from "./check.ts";
import { defineOp } from "./op.ts";

export interface SoftmaxAttrs {
  /** Default -1. */
  axis?: number;
}

/** A shape seen from one of its axes: element (o, k, i) is at (o * n + k) * inner + i. A scalar is one row of one. */
export function aroundAxis(op: string, shape: Shape, axis: number): { outer: number; n: number; inner: number } {
  if (shape.length === 0) return { outer: 1, n: 1, inner: 1 };
  const a = normalizeAxis(op, axis, shape.length);
  return { outer: sizeBetween(shape, 0, a), n: shape[a], inner: sizeBetween(shape, a + 1, shape.length) };
}

/** An operator that maps every row along `axis` to a row; `row` reads `x` and writes `y`. */
function defineRowOp(name: string, row: (x: Float64Array, y: Float64Array) => void) {
  return defineOp({
    name,
    inputs: ["x"],
    infer([x], { axis = -1 }: SoftmaxAttrs) {
      expectFloat(name, x);
      aroundAxis(name, x.shape, axis);
      return { dtype: x.dtype, shape: x.shape };
    },
    reference([x], { axis = -1 }, [y]) {
      const { outer, n, inner } = aroundAxis(name, x.shape, axis);
      const src = toF64(x);
      const dst = new Float64Array(src.length);
      const from = new Float64Array(n);
      const to = new Float64Array(n);
      for (let o = 0; o < outer; o++)
        for (let i = 0; i < inner; i++) {
          const at = o * n * inner + i;
          for (let k = 0; k < n; k++) from[k] = src[at + k * inner];
          row(from, to);
          for (let k = 0; k < n; k++) dst[at + k * inner] = to[k];
        }
      fromF64(dst, y);
    },
  });
}

const maximum = (x: Float64Array): number => x.reduce((m, v) => Math.max(m, v), -Infinity);

/** exp(x - max) / sum along `axis`, any float dtype; output like `x`. ShapeError if the axis is outside. */
export const softmax = /* @__PURE__ */ defineRowOp("softmax", (x, y) => {
  const max = maximum(x);
  let sum = 0;
  for (let k = 0; k < x.length; k++) sum += y[k] = Math.exp(x[k] - max);
  for (let k = 0; k < x.length; k++) y[k] /= sum;
});

/** log(softmax(x)) without the underflow. */
export const logSoftmax = /* @__PURE__ */ defineRowOp("logSoftmax", (x, y) => {
  const max = maximum(x);
  let sum = 0;
  for (let k = 0; k < x.length; k++) sum += Math.exp(x[k] - max);
  const shift = max + Math.log(sum);
  for (let k = 0; k < x.length; k++) y[k] = x[k] - shift;
});

/** 1 at the first maximum along `axis`, 0 elsewhere. */
export const hardmax = /* @__PURE__ */ defineRowOp("hardmax", (x, y) => {
  y.fill(0);
  let best = 0;
  for (let k = 1; k < x.length; k++) if (x[k] > x[best]) best = k;
  if (x.length > 0) y[best] = 1;
});
