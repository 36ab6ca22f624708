import { fromF64 } from "../tensor/convert.ts";
import type { DType } from "../tensor/dtype.ts";
import { dtypeError, expectRank } from "./check.ts";
import { defineOp } from "./op.ts";

export interface EyeLikeAttrs {
  /** Default: the input's. */
  dtype?: DType;
  /** The diagonal: 0 the main one, positive above it, negative below. Default 0. */
  k?: number;
}

/** Ones on a diagonal of a matrix of zeros of the shape of `x`. ShapeError unless `x` is a matrix. */
export const eyeLike = /* @__PURE__ */ defineOp({
  name: "eyeLike",
  inputs: ["x"],
  shapeOnly: true,
  infer([x], { dtype = x.dtype }: EyeLikeAttrs) {
    expectRank("eyeLike", x, 2);
    if (dtype === "string") dtypeError("eyeLike", "makes numbers", x);
    return { dtype, shape: x.shape };
  },
  reference(_, { k = 0 }, [y]) {
    const columns = y.shape[1];
    fromF64(
      Float64Array.from(y.data as Float32Array, (_, i) => ((i % columns) - Math.floor(i / columns) === k ? 1 : 0)),
      y,
    );
  },
});
