import { normalizeAxes } from "../tensor/shape.ts";
import { shapeError, valuesOf } from "./check.ts";
import { copyElements } from "./copy.ts";
import { defineOp } from "./op.ts";

/**
 * Drops dimensions of size 1: those in `axes`, or all of them without `axes`. Any dtype.
 * @throws ShapeError when a dimension named is not 1
 */
export const squeeze = /* @__PURE__ */ defineOp({
  name: "squeeze",
  inputs: ["x", "axes?"],
  host: ["axes"],
  view: true,
  infer([x, axes]) {
    const { dtype, shape } = x;
    if (!axes) return { dtype, shape: shape.filter((d) => d !== 1) };
    const drop = normalizeAxes("squeeze", valuesOf("squeeze", "axes", axes), shape.length);
    for (const a of drop) if (shape[a] !== 1) shapeError("squeeze", `dimension ${a} is ${shape[a]}, not 1`, x);
    return { dtype, shape: shape.filter((_, i) => !drop.includes(i)) };
  },
  reference([x], _, [y]) {
    copyElements(x, y);
  },
});
