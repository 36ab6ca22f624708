import { sizeOf } from "../tensor/shape.ts";
import { expectRank } from "./check.ts";
import { movers } from "./copy.ts";
import { expectIndices, resolveIndices } from "./indices.ts";
import { defineOp } from "./op.ts";

/**
 * The columns `indices` of the last axis; a vector gives [1, count]. Any dtype. (ONNX ai.onnx.ml ArrayFeatureExtractor.)
 * @throws InputError for an index outside the axis
 */
export const arrayFeatureExtractor = /* @__PURE__ */ defineOp({
  name: "arrayFeatureExtractor",
  inputs: ["x", "indices"],
  infer([x, indices]) {
    expectIndices("arrayFeatureExtractor", indices);
    expectRank("arrayFeatureExtractor", x, 1, Number.POSITIVE_INFINITY);
    const lead = x.shape.length === 1 ? [1] : x.shape.slice(0, -1);
    return { dtype: x.dtype, shape: [...lead, sizeOf(indices.shape)] };
  },
  reference([x, indices], _, [y]) {
    const n = x.shape.at(-1)!;
    const columns = resolveIndices("arrayFeatureExtractor", indices, n, x.shape.length - 1);
    const { src, dst } = movers(x, y);
    for (let j = 0; j < dst.length; j++) dst[j] = src[Math.floor(j / columns.length) * n + columns[j % columns.length]];
  },
});
