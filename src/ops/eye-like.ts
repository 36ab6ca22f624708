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
    const [rows, columns] = y.shape;
    const values = new Float64Array(rows * columns);
    for (let r = Math.max(0, -k); r < rows && r + k < columns; r++) values[r * columns + r + k] = 1;
    fromF64(values, y);
  },
});
