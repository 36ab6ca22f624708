import { toF64 } from "../tensor/convert.ts";
import { forEachOffset, normalizeAxis, stridesOf } from "../tensor/shape.ts";
import { shapeError } from "./check.ts";
import { movers } from "./copy.ts";
import type { GatherAttrs } from "./gather.ts";
import { expectIndices, resolveIndex } from "./indices.ts";
import { defineOp } from "./op.ts";

/**
 * y[.., i, ..] = x[.., indices[.., i, ..], ..] along `axis`, of the shape of `indices`, which has the rank of `x` and is
 * nowhere larger but along the axis. Any dtype.
 * @throws InputError for an index outside the axis
 */
export const gatherElements = /* @__PURE__ */ defineOp({
  name: "gatherElements",
  inputs: ["x", "indices"],
  infer([x, indices], { axis = 0 }: GatherAttrs) {
    expectIndices("gatherElements", indices);
    const a = normalizeAxis("gatherElements", axis, x.shape.length);
    if (indices.shape.length !== x.shape.length || indices.shape.some((d, i) => i !== a && d > x.shape[i]))
      shapeError("gatherElements", `the indices do not fit along axis ${a}`, x, indices);
    return { dtype: x.dtype, shape: indices.shape };
  },
  reference([x, indices], { axis = 0 }, [y]) {
    const a = normalizeAxis("gatherElements", axis, x.shape.length);
    const at = toF64(indices);
    const strides = stridesOf(x.shape);
    const { src, dst } = movers(x, y);
    forEachOffset(indices.shape, [strides.map((s, i) => (i === a ? 0 : s))], (i, [base]) => {
      dst[i] = src[base + resolveIndex("gatherElements", at[i], x.shape[a], a) * strides[a]];
    });
  },
});
