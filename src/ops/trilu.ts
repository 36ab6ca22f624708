import { toNumbers } from "../tensor/convert.ts";
import { sizeOf } from "../tensor/shape.ts";
import { expectRank, shapeError } from "./check.ts";
import { movers } from "./copy.ts";
import { defineOp } from "./op.ts";

export interface TriluAttrs {
  /** Keep the upper triangle (default) or the lower one. */
  upper?: boolean;
}

/**
 * The triangle of the last two dimensions, zeros elsewhere. `k` is the diagonal that bounds it: 0 the main one, positive
 * above it. Any dtype. ShapeError below rank 2.
 */
export const trilu = /* @__PURE__ */ defineOp({
  name: "trilu",
  inputs: ["x", "k?"],
  host: ["k"],
  infer([x, k]) {
    expectRank("trilu", x, 2, Number.POSITIVE_INFINITY);
    if (k && sizeOf(k.shape) !== 1) shapeError("trilu", "k is not one number", k);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x, k], { upper = true }: TriluAttrs, [y]) {
    const [rows, columns] = x.shape.slice(-2);
    const diagonal = k ? toNumbers(k)[0] : 0;
    const { src, dst } = movers(x, y);
    for (let i = 0; i < src.length; i++) {
      const above = (i % columns) - (Math.floor(i / columns) % rows) - diagonal;
      if (upper ? above >= 0 : above <= 0) dst[i] = src[i];
    }
  },
});
