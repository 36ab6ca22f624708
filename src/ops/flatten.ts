import { normalizeAxis, sizeBetween } from "../tensor/shape.ts";
import { copyElements } from "./copy.ts";
import { defineOp } from "./op.ts";

export interface FlattenAttrs {
  /** Dimensions before it are multiplied into rows, the rest into columns. In [-rank, rank]. Default 1. */
  axis?: number;
}

/** A matrix of the same elements. Any dtype. ShapeError if the axis is outside. */
export const flatten = /* @__PURE__ */ defineOp({
  name: "flatten",
  inputs: ["x"],
  view: true,
  infer([{ dtype, shape }], { axis = 1 }: FlattenAttrs) {
    const rank = shape.length;
    const a = axis === rank ? rank : normalizeAxis("flatten", axis, rank);
    return { dtype, shape: [sizeBetween(shape, 0, a), sizeBetween(shape, a, rank)] };
  },
  reference([x], _, [y]) {
    copyElements(x, y);
  },
});
