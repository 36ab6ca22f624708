import { toF64 } from "../tensor/convert.ts";
import { normalizeAxis, sizeBetween, sizeOf } from "../tensor/shape.ts";
import { dtypeError, shapeError, valuesOf } from "./check.ts";
import { defineOp } from "./op.ts";

export interface OneHotAttrs {
  /** Where the new dimension goes, in [-rank - 1, rank]. Default -1. */
  axis?: number;
}

/**
 * `indices` with a new dimension of size `depth` that has values[1] at the index and values[0] elsewhere. Indices are
 * numbers, truncated; negative ones count from the end; those outside give values[0] everywhere. `values`: any dtype.
 */
export const oneHot = /* @__PURE__ */ defineOp({
  name: "oneHot",
  inputs: ["indices", "depth", "values"],
  host: ["depth"],
  infer([indices, depth, values], { axis = -1 }: OneHotAttrs) {
    if (indices.dtype === "string") dtypeError("oneHot", "indices must be numbers", indices);
    if (sizeOf(depth.shape) !== 1) shapeError("oneHot", "the depth is not one number", depth);
    if (sizeOf(values.shape) !== 2) shapeError("oneHot", "takes two values, off and on", values);
    const n = Math.trunc(valuesOf("oneHot", "depth", depth)[0]);
    if (!(n >= 0)) shapeError("oneHot", `depth ${n}`, indices);
    const a = normalizeAxis("oneHot", axis, indices.shape.length + 1);
    return { dtype: values.dtype, shape: [...indices.shape.slice(0, a), n, ...indices.shape.slice(a)] };
  },
  reference([indices, , values], { axis = -1 }, [y]) {
    const a = normalizeAxis("oneHot", axis, y.shape.length);
    const depth = y.shape[a];
    const inner = sizeBetween(y.shape, a + 1, y.shape.length);
    const [off, on] = values.data as Float32Array;
    const out = y.data as Float32Array;
    out.fill(off);
    toF64(indices).forEach((v, i) => {
      const index = Math.trunc(v) < 0 ? Math.trunc(v) + depth : Math.trunc(v);
      if (index >= 0 && index < depth) out[(Math.floor(i / inner) * depth + index) * inner + (i % inner)] = on;
    });
  },
});
