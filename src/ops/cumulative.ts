/** Running sums and products along an axis. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { isFloat, isInteger } from "../tensor/dtype.ts";
import { normalizeAxis } from "../tensor/shape.ts";
import { dtypeError, numbersOf, shapeError, valuesOf } from "./check.ts";
import { integersOf, storeIntegers } from "./integers.ts";
import { defineOp } from "./op.ts";
import { aroundAxis } from "./softmax.ts";

export interface CumulativeAttrs {
  /** Element j covers the elements before it, not itself. Default false. */
  exclusive?: boolean;
  /** From the end to the start. Default false. */
  reverse?: boolean;
}

/** `start` is the value of the empty set; `combine` works on numbers and, for integers, on bigint alike. */
function defineCumulative(name: string, start: number, combine: (a: number, b: number) => number) {
  return defineOp({
    name,
    inputs: ["x", "axis"],
    host: ["axis"],
    infer([x, axis], _attrs: CumulativeAttrs) {
      if (!isFloat(x.dtype) && !isInteger(x.dtype)) dtypeError(name, "takes numbers", x);
      const [a, ...more] = valuesOf(name, "axis", axis);
      if (a === undefined || more.length > 0) shapeError(name, "takes one axis", axis);
      if (x.shape.length > 0) normalizeAxis(name, a, x.shape.length);
      return { dtype: x.dtype, shape: x.shape };
    },
    reference([x, axis], { exclusive = false, reverse = false }, [y]) {
      const { outer, n, inner } = aroundAxis(name, x.shape, numbersOf(axis)[0]);
      const exact = isInteger(x.dtype);
      const src = (exact ? integersOf(x) : toF64(x)) as unknown as number[];
      const out = new Array<number>(src.length);
      for (let o = 0; o < outer; o++)
        for (let i = 0; i < inner; i++) {
          let total = (exact ? BigInt(start) : start) as number;
          for (let j = 0; j < n; j++) {
            const at = (o * n + (reverse ? n - 1 - j : j)) * inner + i;
            const after = combine(total, src[at]);
            out[at] = exclusive ? total : after;
            total = after;
          }
        }
      if (exact) storeIntegers(out as unknown as bigint[], y);
      else fromF64(out, y);
    },
  });
}

/** Running sum along `axis` (a number). Numbers of any dtype; output like `x`. */
export const cumSum = /* @__PURE__ */ defineCumulative("cumSum", 0, (a, b) => a + b);

/** Running product along `axis` (a number). */
export const cumProd = /* @__PURE__ */ defineCumulative("cumProd", 1, (a, b) => a * b);
