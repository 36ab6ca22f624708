import { toF64 } from "../tensor/convert.ts";
import { forEachOffset, normalizeAxis, sameShape, stridesOf } from "../tensor/shape.ts";
import { shapeError } from "./check.ts";
import { expectIndices, resolveIndex } from "./indices.ts";
import { defineOp } from "./op.ts";
import { checkScatter, type ScatterAttrs, scatter } from "./scatter.ts";

export interface ScatterElementsAttrs extends ScatterAttrs {
  /** Default 0. */
  axis?: number;
}

/**
 * `x` with x[.., indices[.., i, ..], ..] = updates[.., i, ..] along `axis`, or reduced with it. Indices and updates have
 * one shape, of the rank of `x`. Any dtype; reductions: numbers.
 * @throws InputError for an index outside the axis
 */
export const scatterElements = /* @__PURE__ */ defineOp({
  name: "scatterElements",
  inputs: ["x", "indices", "updates"],
  infer([x, indices, updates], attrs: ScatterElementsAttrs) {
    expectIndices("scatterElements", indices);
    checkScatter("scatterElements", x, updates, attrs);
    const a = normalizeAxis("scatterElements", attrs.axis ?? 0, x.shape.length);
    if (!sameShape(indices.shape, updates.shape))
      shapeError("scatterElements", "indices and updates differ in shape", indices, updates);
    if (indices.shape.length !== x.shape.length || indices.shape.some((d, i) => i !== a && d > x.shape[i]))
      shapeError("scatterElements", `the indices do not fit along axis ${a}`, x, indices);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x, indices, updates], attrs, [y]) {
    const a = normalizeAxis("scatterElements", attrs.axis ?? 0, x.shape.length);
    const at = toF64(indices);
    const strides = stridesOf(x.shape);
    const targets = new Float64Array(at.length);
    forEachOffset(indices.shape, [strides.map((s, i) => (i === a ? 0 : s))], (i, [base]) => {
      targets[i] = base + resolveIndex("scatterElements", at[i], x.shape[a], a) * strides[a];
    });
    scatter(x, updates, y, attrs, (i) => targets[i]);
  },
});
