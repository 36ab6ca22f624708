/** Pooling over windows: maximum, average, p-norm. x[batch, channels, ...spatial], any number of spatial axes. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { isFloat } from "../tensor/dtype.ts";
import { type Shape, sizeOf, stridesOf } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { expectDType, expectFloat, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";
import { beyondPadding, resolveWindow, tapOffsets, type Window, type WindowAttrs } from "./window.ts";

export interface PoolAttrs extends WindowAttrs {
  /** Size of the window, one per spatial axis. */
  kernelShape: readonly number[];
  /** Round the number of windows up; those that would start in the end padding are dropped. Default false. */
  ceilMode?: boolean;
}

/** @throws ShapeError */
export function poolWindow(op: string, x: TensorType, attrs: PoolAttrs): Window {
  if (x.shape.length < 3) shapeError(op, "needs [batch, channels, ...spatial]", x);
  return resolveWindow(op, x.shape.slice(2), attrs.kernelShape, attrs, attrs.ceilMode);
}

const poolType = (op: string, x: TensorType, attrs: PoolAttrs): TensorType => ({
  dtype: x.dtype,
  shape: [...x.shape.slice(0, 2), ...poolWindow(op, x, attrs).output],
});

/** y = reduce(elements under a window, taps on elements or explicit padding) for every window of every plane. */
function poolReference(
  window: Window,
  x: HostTensor,
  y: HostTensor,
  reduce: (values: Float64Array, padded: number) => number,
): void {
  const table = tapOffsets(window);
  const src = toF64(x);
  const dst = new Float64Array(y.data.length);
  const taps = sizeOf(window.kernel);
  const [inputSize, outputSize] = [sizeOf(window.input), sizeOf(window.output)];
  const values = new Float64Array(taps);
  for (let i = 0; i < dst.length; i++) {
    const plane = Math.floor(i / outputSize) * inputSize;
    const row = (i % outputSize) * taps;
    let found = 0;
    let padded = 0;
    for (let t = 0; t < taps; t++) {
      const at = table[row + t];
      if (at >= 0) values[found++] = src[plane + at];
      if (at !== beyondPadding) padded++;
    }
    dst[i] = reduce(values.subarray(0, found), padded);
  }
  fromF64(dst, y);
}

export interface MaxPoolAttrs extends PoolAttrs {
  /** Indices count the spatial axes in column-major order. Default false. */
  columnMajor?: boolean;
}

/** Offset of a row-major position of `shape` in column-major order. */
function toColumnMajor(at: number, shape: Shape): number {
  const strides = stridesOf(shape);
  let out = 0;
  for (let d = shape.length - 1; d >= 0; d--) out = out * shape[d] + (Math.floor(at / strides[d]) % shape[d]);
  return out;
}

/** Where a window lies on padding alone there is no maximum: the least value of the dtype. */
export const leastOf = (dtype: TensorType["dtype"]): number => (isFloat(dtype) ? -Infinity : dtype === "i8" ? -128 : 0);

/**
 * The maximum of each window, and its index (i64) in x as a flat array; the first of equal ones. NaN wins. Float dtypes,
 * i8 and u8. ONNX MaxPool-22.
 * @throws ShapeError, DTypeError
 */
export const maxPool = /* @__PURE__ */ defineOp({
  name: "maxPool",
  inputs: ["x"],
  outputs: ["y", "indices"],
  infer([x], attrs: MaxPoolAttrs) {
    if (!isFloat(x.dtype)) expectDType("maxPool", x, "i8", "u8", "f32");
    const y = poolType("maxPool", x, attrs);
    return [y, { dtype: "i64", shape: y.shape }];
  },
  reference([x], attrs, [y, indices]) {
    const window = poolWindow("maxPool", x, attrs);
    const table = tapOffsets(window);
    const src = toF64(x);
    const dst = new Float64Array(y.data.length);
    const taps = sizeOf(window.kernel);
    const [inputSize, outputSize] = [sizeOf(window.input), sizeOf(window.output)];
    for (let i = 0; i < dst.length; i++) {
      const plane = Math.floor(i / outputSize) * inputSize;
      let best = leastOf(x.dtype);
      let where = 0;
      for (let t = taps - 1; t >= 0; t--) {
        const at = table[(i % outputSize) * taps + t];
        if (at < 0 || !(src[plane + at] >= best || Number.isNaN(src[plane + at]))) continue;
        best = src[plane + at];
        where = at;
      }
      dst[i] = best;
      indices.data[i] = BigInt(plane + (attrs.columnMajor ? toColumnMajor(where, window.input) : where));
    }
    fromF64(dst, y);
  },
});

export interface AveragePoolAttrs extends PoolAttrs {
  /** Explicit padding counts as zeros, instead of not at all. Default false. */
  countIncludePad?: boolean;
}

/** The mean of each window. Any float dtype. ONNX AveragePool-22. */
export const averagePool = /* @__PURE__ */ defineOp({
  name: "averagePool",
  inputs: ["x"],
  infer([x], attrs: AveragePoolAttrs) {
    expectFloat("averagePool", x);
    return poolType("averagePool", x, attrs);
  },
  reference([x], attrs, [y]) {
    const window = poolWindow("averagePool", x, attrs);
    poolReference(window, x, y, (values, padded) => {
      const sum = values.reduce((s, v) => s + v, 0);
      return sum / (attrs.countIncludePad ? padded : values.length);
    });
  },
});

export interface LpPoolAttrs extends PoolAttrs {
  /** Default 2. */
  p?: number;
}

const pNorm = (values: Float64Array, p: number): number => values.reduce((s, v) => s + Math.abs(v) ** p, 0) ** (1 / p);

/** The p-norm of each window. Any float dtype. ONNX LpPool-22. */
export const lpPool = /* @__PURE__ */ defineOp({
  name: "lpPool",
  inputs: ["x"],
  infer([x], attrs: LpPoolAttrs) {
    expectFloat("lpPool", x);
    return poolType("lpPool", x, attrs);
  },
  reference([x], attrs, [y]) {
    poolReference(poolWindow("lpPool", x, attrs), x, y, (values) => pNorm(values, attrs.p ?? 2));
  },
});

/** An operator that reduces all spatial axes to 1. */
function defineGlobalPool<A extends object = object>(name: string, reduce: (plane: Float64Array, attrs: A) => number) {
  return defineOp({
    name,
    inputs: ["x"],
    infer([x], _: A) {
      expectFloat(name, x);
      if (x.shape.length < 2) shapeError(name, "needs [batch, channels, ...spatial]", x);
      return { dtype: x.dtype, shape: x.shape.map((d, i) => (i < 2 ? d : 1)) };
    },
    reference([x], attrs, [y]) {
      const size = sizeOf(x.shape.slice(2));
      const src = toF64(x);
      const values = Array.from({ length: y.data.length }, (_, i) =>
        reduce(src.subarray(i * size, (i + 1) * size), attrs),
      );
      fromF64(values, y);
    },
  });
}

/** The mean of every channel: [batch, channels, 1, ...]. */
export const globalAveragePool = /* @__PURE__ */ defineGlobalPool(
  "globalAveragePool",
  (plane) => plane.reduce((s, v) => s + v, 0) / plane.length,
);
/** The maximum of every channel. */
export const globalMaxPool = /* @__PURE__ */ defineGlobalPool("globalMaxPool", (plane) =>
  plane.reduce((m, v) => Math.max(m, v), -Infinity),
);
/** The p-norm of every channel. */
export const globalLpPool = /* @__PURE__ */ defineGlobalPool("globalLpPool", (plane, { p = 2 }: { p?: number }) =>
  pNorm(plane, p),
);
