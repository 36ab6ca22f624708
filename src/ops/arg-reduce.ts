/** The position of the largest or smallest element along an axis. */

import { toF64 } from "../tensor/convert.ts";
import { isBig, isFloat, isInteger } from "../tensor/dtype.ts";
import { normalizeAxis } from "../tensor/shape.ts";
import { dtypeError, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";
import { reducedShape } from "./reduce.ts";
import { aroundAxis } from "./softmax.ts";

export interface ArgReduceAttrs {
  /** Default 0. */
  axis?: number;
  /** The axis stays, with one element. Default true. */
  keepDims?: boolean;
  /** Of equal elements the last one instead of the first. Default false. */
  selectLastIndex?: boolean;
}

/** `sign`: 1 seeks the largest, -1 the smallest. NaN counts as beyond every number, as in NumPy. */
function defineArgReduction(name: string, sign: 1 | -1) {
  return defineOp({
    name,
    inputs: ["x"],
    infer([x], { axis = 0, keepDims = true }: ArgReduceAttrs) {
      if (!isFloat(x.dtype) && !isInteger(x.dtype)) dtypeError(name, "takes numbers", x);
      if (x.shape.length === 0) return { dtype: "i64", shape: [] };
      const a = normalizeAxis(name, axis, x.shape.length);
      if (x.shape[a] === 0) shapeError(name, `axis ${axis} is empty`, x);
      return { dtype: "i64", shape: reducedShape(x.shape, [a], keepDims) };
    },
    reference([x], { axis = 0, selectLastIndex = false }, [y]) {
      const { outer, n, inner } = aroundAxis(name, x.shape, axis);
      // Comparisons work on bigint as they do on numbers.
      const src = (isBig(x.dtype) ? x.data : toF64(x)) as Float64Array;
      const out = y.data as BigInt64Array;
      for (let o = 0; o < outer; o++)
        for (let i = 0; i < inner; i++) {
          let best = 0;
          let top = src[o * n * inner + i];
          for (let k = 1; k < n; k++) {
            const v = src[(o * n + k) * inner + i];
            // biome-ignore lint/suspicious/noSelfCompare: true for NaN alone, also where elements are bigint
            const vIsNaN = v !== v;
            // biome-ignore lint/suspicious/noSelfCompare: as above
            const topIsNaN = top !== top;
            const equal = v === top || (vIsNaN && topIsNaN);
            const better = sign > 0 ? v > top : v < top;
            if ((vIsNaN && !topIsNaN) || (!topIsNaN && better) || (selectLastIndex && equal)) {
              best = k;
              top = v;
            }
          }
          out[o * inner + i] = BigInt(best);
        }
    },
  });
}

/** Index (i64) of the largest element along `axis`. ShapeError where the axis is empty. */
export const argMax = /* @__PURE__ */ defineArgReduction("argMax", 1);

/** Index (i64) of the smallest element along `axis`. ShapeError where the axis is empty. */
export const argMin = /* @__PURE__ */ defineArgReduction("argMin", -1);
