import { toF64 } from "../tensor/convert.ts";
import { sameShape, sizeBetween } from "../tensor/shape.ts";
import { shapeError } from "./check.ts";
import { tupleOffsets } from "./gather-nd.ts";
import { expectIndices } from "./indices.ts";
import { defineOp } from "./op.ts";
import { checkScatter, type ScatterAttrs, scatter } from "./scatter.ts";

/**
 * `x` with the slices that the index tuples name replaced by `updates`, or reduced with them: indices [n.., k] of x
 * [d1..dk, rest..] take updates [n.., rest..]. Any dtype; reductions: numbers.
 * @throws InputError for an index outside its axis
 */
export const scatterNd = /* @__PURE__ */ defineOp({
  name: "scatterNd",
  inputs: ["x", "indices", "updates"],
  infer([x, indices, updates], attrs: ScatterAttrs) {
    expectIndices("scatterNd", indices);
    checkScatter("scatterNd", x, updates, attrs);
    const tuple = indices.shape.at(-1) ?? 0;
    if (tuple < 1 || tuple > x.shape.length) shapeError("scatterNd", `tuples of ${tuple} do not fit`, x, indices);
    const wanted = [...indices.shape.slice(0, -1), ...x.shape.slice(tuple)];
    if (!sameShape(updates.shape, wanted)) shapeError("scatterNd", `updates must be [${wanted}]`, updates);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x, indices, updates], attrs, [y]) {
    const tuple = indices.shape.at(-1)!;
    const inner = sizeBetween(x.shape, tuple, x.shape.length);
    const at = tupleOffsets("scatterNd", toF64(indices), tuple, x.shape);
    scatter(x, updates, y, attrs, (i) => at[Math.floor(i / inner)] + (i % inner));
  },
});
