import { normalizeAxes, type Shape, stridesOf } from "../tensor/shape.ts";
import { shapeError } from "./check.ts";
import { defineOp } from "./op.ts";
import { gatherWalk, type StridedWalk, walkStrided } from "./strided.ts";

export interface TransposeAttrs {
  /** Dimension i of the result is dimension perm[i] of the input. Default: reversed. */
  perm?: readonly number[];
}

const permOf = (shape: Shape, perm?: readonly number[]): number[] =>
  perm ? normalizeAxes("transpose", perm, shape.length) : shape.map((_, i) => shape.length - 1 - i);

/** How the result's elements walk the input's. */
export function transposeWalk(shape: Shape, { perm }: TransposeAttrs): StridedWalk {
  const p = permOf(shape, perm);
  const strides = stridesOf(shape);
  return gatherWalk(
    p.map((a) => shape[a]),
    p.map((a) => strides[a]),
  );
}

/** Dimensions in another order. Any dtype. ShapeError unless `perm` is a permutation of the axes. */
export const transpose = /* @__PURE__ */ defineOp({
  name: "transpose",
  inputs: ["x"],
  infer([x], { perm }: TransposeAttrs) {
    if (perm && perm.length !== x.shape.length) shapeError("transpose", `perm [${perm}] does not fit`, x);
    return { dtype: x.dtype, shape: permOf(x.shape, perm).map((a) => x.shape[a]) };
  },
  reference([x], attrs, [y]) {
    walkStrided(transposeWalk(x.shape, attrs), x, y);
  },
});
