import { type Shape, sizeOf } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import { expectDType, expectFloat, numbersOf, shapeError, valuesOf } from "./check.ts";
import { movers } from "./copy.ts";
import { defineOp } from "./op.ts";
import { perAxis, type WindowAttrs } from "./window.ts";

export interface MaxUnpoolAttrs extends Pick<WindowAttrs, "strides" | "pads"> {
  kernelShape: readonly number[];
}

/** The shape that was pooled: the one the indices count in. */
export function pooledShape(x: TensorType, { kernelShape, strides, pads }: MaxUnpoolAttrs): number[] {
  const rank = x.shape.length - 2;
  const kernel = perAxis("maxUnpool", "kernel", kernelShape, rank, 1);
  const steps = perAxis("maxUnpool", "strides", strides, rank, 1);
  const edges = perAxis("maxUnpool", "pads", pads, 2 * rank, 0);
  const spatial = x.shape.slice(2).map((n, i) => (n - 1) * steps[i] + kernel[i] - edges[i] - edges[rank + i]);
  return [...x.shape.slice(0, 2), ...spatial];
}

/**
 * Puts each element of x where maxPool found it, zeros elsewhere. `indices`: i64, flat in the shape that kernel, strides
 * and pads give; `outputShape` may be larger, the rest of it is zero. Any float dtype. ONNX MaxUnpool-22.
 * @throws ShapeError, DTypeError, also for an index outside
 */
export const maxUnpool = /* @__PURE__ */ defineOp({
  name: "maxUnpool",
  inputs: ["x", "indices", "outputShape?"],
  host: ["outputShape"],
  infer([x, indices, outputShape], attrs: MaxUnpoolAttrs) {
    expectFloat("maxUnpool", x);
    expectDType("maxUnpool", indices, "i64");
    if (x.shape.length < 3 || sizeOf(indices.shape) !== sizeOf(x.shape))
      shapeError("maxUnpool", "needs [batch, channels, ...spatial] and as many indices", x, indices);
    const pooled = pooledShape(x, attrs);
    if (!outputShape) return { dtype: x.dtype, shape: pooled };
    const wanted = valuesOf("maxUnpool", "outputShape", outputShape);
    const shape = wanted.length === x.shape.length - 2 ? [...x.shape.slice(0, 2), ...wanted] : wanted;
    if (shape.length !== pooled.length || shape.some((d, i) => d < pooled[i]))
      shapeError("maxUnpool", `output shape [${wanted}] is smaller than the unpooled [${pooled}]`, x);
    return { dtype: x.dtype, shape };
  },
  reference([x, indices], attrs, [y]) {
    const pooled = pooledShape(x, attrs);
    const size = sizeOf(pooled);
    const { src, dst } = movers(x, y);
    numbersOf(indices).forEach((index, i) => {
      if (index < 0 || index >= size) refuseIndex(index, pooled);
      dst[offsetIn(pooled, y.shape, index)] = src[i];
    });
  },
});

/** Throws ShapeError. */
export function refuseIndex(index: number, pooled: Shape): never {
  shapeError("maxUnpool", `index ${index} is outside [${pooled}]`);
}

/** Where the element at `index` of an array of shape `pooled` is in one of `shape`. */
export function offsetIn(pooled: Shape, shape: Shape, index: number): number {
  let at = 0;
  for (let d = pooled.length - 1, stride = 1; d >= 0; d--) {
    at += (index % pooled[d]) * stride;
    index = Math.floor(index / pooled[d]);
    stride *= shape[d];
  }
  return at;
}
