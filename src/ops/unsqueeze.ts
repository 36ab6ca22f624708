import { normalizeAxes } from "../tensor/shape.ts";
import { valuesOf } from "./check.ts";
import { copyElements } from "./copy.ts";
import { defineOp } from "./op.ts";

/** Inserts dimensions of size 1 so that they are `axes` of the result. Any dtype. ShapeError if an axis is outside. */
export const unsqueeze = /* @__PURE__ */ defineOp({
  name: "unsqueeze",
  inputs: ["x", "axes"],
  host: ["axes"],
  view: true,
  infer([{ dtype, shape }, axes]) {
    const wanted = valuesOf("unsqueeze", "axes", axes);
    const rank = shape.length + wanted.length;
    const ones = normalizeAxes("unsqueeze", wanted, rank);
    const rest = shape.values();
    return { dtype, shape: Array.from({ length: rank }, (_, i) => (ones.includes(i) ? 1 : rest.next().value!)) };
  },
  reference([x], _, [y]) {
    copyElements(x, y);
  },
});
