import { normalizeAxis, sizeBetween } from "../tensor/shape.ts";
import { movers } from "./copy.ts";
import { expectIndices, resolveIndices } from "./indices.ts";
import { defineOp } from "./op.ts";

export interface GatherAttrs {
  /** Default 0. */
  axis?: number;
}

/**
 * Slices of `x` along `axis`, in the order of `indices` (any shape, negative ones count from the end): the shape of the
 * indices takes the axis's place. Any dtype.
 * @throws InputError for an index outside the axis
 */
export const gather = /* @__PURE__ */ defineOp({
  name: "gather",
  inputs: ["x", "indices"],
  infer([x, indices], { axis = 0 }: GatherAttrs) {
    expectIndices("gather", indices);
    const a = normalizeAxis("gather", axis, x.shape.length);
    return { dtype: x.dtype, shape: [...x.shape.slice(0, a), ...indices.shape, ...x.shape.slice(a + 1)] };
  },
  reference([x, indices], { axis = 0 }, [y]) {
    const a = normalizeAxis("gather", axis, x.shape.length);
    const n = x.shape[a];
    const at = resolveIndices("gather", indices, n, a);
    const outer = sizeBetween(x.shape, 0, a);
    const inner = sizeBetween(x.shape, a + 1, x.shape.length);
    const { src, dst } = movers(x, y);
    let j = 0;
    for (let o = 0; o < outer; o++)
      for (const k of at) for (let i = 0; i < inner; i++) dst[j++] = src[(o * n + k) * inner + i];
  },
});
