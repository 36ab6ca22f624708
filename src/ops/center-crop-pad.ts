import { toNumbers } from "../tensor/convert.ts";
import { normalizeAxes, type Shape, stridesOf } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { shapeError, valuesOf } from "./check.ts";
import { defineOp } from "./op.ts";
import { type StridedWalk, walkStrided } from "./strided.ts";

export interface CenterCropPadAttrs {
  /** The axes that the sizes are for. Default: all. */
  axes?: readonly number[];
}

function target(x: TensorType, sizes: readonly number[], axes?: readonly number[]): number[] {
  const { shape } = x;
  const on = normalizeAxes("centerCropPad", axes ?? shape.map((_, i) => i), shape.length);
  if (on.length !== sizes.length || sizes.some((d) => d < 0))
    shapeError("centerCropPad", `sizes [${sizes}] do not fit axes [${on}]`, x);
  const out = [...shape];
  on.forEach((a, i) => {
    out[a] = sizes[i];
  });
  return out;
}

/** How the part that is kept gets from the input to the result. */
export function centerCropPadWalk(x: TensorType, sizes: HostTensor, { axes }: CenterCropPadAttrs): StridedWalk {
  const from: Shape = x.shape;
  const to = target(x, toNumbers(sizes), axes);
  const side = (whole: Shape, other: Shape): { strides: number[]; base: number } => {
    const strides = stridesOf(whole);
    const base = strides.reduce((at, s, a) => at + s * Math.max(0, Math.floor((whole[a] - other[a]) / 2)), 0);
    return { strides, base };
  };
  return { shape: from.map((d, a) => Math.min(d, to[a])), from: side(from, to), to: side(to, from) };
}

/**
 * Crops or zero-pads around the centre so that `axes` get the sizes in `shape`; an odd element is cropped or padded at
 * the end. Any dtype.
 */
export const centerCropPad = /* @__PURE__ */ defineOp({
  name: "centerCropPad",
  inputs: ["x", "shape"],
  host: ["shape"],
  infer([x, shape], { axes }: CenterCropPadAttrs) {
    return { dtype: x.dtype, shape: target(x, valuesOf("centerCropPad", "shape", shape), axes) };
  },
  reference([x, shape], attrs, [y]) {
    walkStrided(centerCropPadWalk(x, shape, attrs), x, y);
  },
});
