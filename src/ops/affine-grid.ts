import { fromF64, toF64 } from "../tensor/convert.ts";
import { sizeOf } from "../tensor/shape.ts";
import { expectFloat, shapeError, valuesOf } from "./check.ts";
import { defineOp } from "./op.ts";

export interface AffineGridAttrs {
  /** -1 and 1 are the centres of the corner elements, instead of their outer edges. Default false. */
  alignCorners?: boolean;
}

/**
 * The sampling grid [N, H, W, 2] or [N, D, H, W, 3] of affine matrices theta [N, 2, 3] or [N, 3, 4], for an image of
 * `size` [N, C, H, W] or [N, C, D, H, W]. What gridSample takes.
 * @throws ShapeError where theta and size don't fit together
 */
export const affineGrid = /* @__PURE__ */ defineOp({
  name: "affineGrid",
  inputs: ["theta", "size"],
  host: ["size"],
  infer([theta, size], _: AffineGridAttrs) {
    expectFloat("affineGrid", theta);
    const [n, , ...dims] = valuesOf("affineGrid", "size", size);
    const rank = dims.length;
    const [batches, rows, columns] = theta.shape;
    if (
      (rank !== 2 && rank !== 3) ||
      theta.shape.length !== 3 ||
      rows !== rank ||
      columns !== rank + 1 ||
      batches !== n
    )
      shapeError("affineGrid", `theta does not fit size [${[n, "C", ...dims]}]`, theta);
    return { dtype: theta.dtype, shape: [n, ...dims, rank] };
  },
  reference([theta], { alignCorners = false }, [y]) {
    const dims = y.shape.slice(1, -1);
    const rank = dims.length;
    const points = sizeOf(dims);
    const matrices = toF64(theta);
    const out = new Float64Array(sizeOf(y.shape));
    // Homogeneous position, x first.
    const at = new Float64Array(rank + 1).fill(1);
    for (let n = 0; n < y.shape[0]; n++)
      for (let p = 0; p < points; p++) {
        for (let d = rank - 1, rest = p; d >= 0; d--) {
          at[rank - 1 - d] = normalised(rest % dims[d], dims[d], alignCorners);
          rest = Math.floor(rest / dims[d]);
        }
        for (let r = 0; r < rank; r++) {
          let sum = 0;
          for (let k = 0; k <= rank; k++) sum += matrices[(n * rank + r) * (rank + 1) + k] * at[k];
          out[(n * points + p) * rank + r] = sum;
        }
      }
    fromF64(out, y);
  },
});

/** Element i of n as a coordinate from -1 to 1. A single element under alignCorners is at its low end. */
export function normalised(i: number, n: number, alignCorners: boolean): number {
  if (alignCorners) return n === 1 ? -1 : (2 * i) / (n - 1) - 1;
  return (2 * i + 1) / n - 1;
}
