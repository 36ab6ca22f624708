/** Window functions: sums of cosines. Source: Harris, "On the use of windows for harmonic analysis" (1978). */
import { fromF64 } from "../tensor/convert.ts";
import { type DType, isFloat } from "../tensor/dtype.ts";
import { dtypeError, shapeError, valuesOf } from "./check.ts";
import { defineOp } from "./op.ts";

export interface WindowAttrs {
  /** One period of an endless function (the last element is left out), instead of a symmetric one. Default true. */
  periodic?: boolean;
  /** Default f32. Integers truncate. */
  dtype?: DType;
}

/** The window a0 - a1 cos(w) + a2 cos(2 w), w from 0 to 2 pi. */
function defineWindow(name: string, a0: number, a1: number, a2: number) {
  return defineOp({
    name,
    inputs: ["size"],
    host: ["size"],
    infer([size], { dtype = "f32" }: WindowAttrs) {
      const [n, ...more] = valuesOf(name, "size", size);
      if (more.length || !Number.isInteger(n) || n < 0)
        shapeError(name, `size must be one whole number, got ${n}`, size);
      if (dtype === "string" || dtype === "bool") dtypeError(name, `makes numbers, not ${dtype}`);
      return { dtype, shape: [n] };
    },
    reference(_, { periodic = true }, [y]) {
      const n = y.shape[0];
      const period = periodic ? n : n - 1;
      const values = Float64Array.from({ length: n }, (_, i) => {
        // A symmetric window of one element is its own peak.
        const w = period === 0 ? Math.PI : (2 * Math.PI * i) / period;
        // Rounded as an f32 would be: integers truncate, and 0.42 + 0.5 + 0.08 is below 1 in f64.
        const weight = a0 - a1 * Math.cos(w) + a2 * Math.cos(2 * w);
        return isFloat(y.dtype) ? weight : Math.fround(weight);
      });
      fromF64(values, y);
    },
  });
}

/** [size] weights, 0 at the ends. */
export const hannWindow = /* @__PURE__ */ defineWindow("hannWindow", 0.5, 0.5, 0);
/** [size] weights, 0.087 at the ends: a0 is 25/46. */
export const hammingWindow = /* @__PURE__ */ defineWindow("hammingWindow", 25 / 46, 21 / 46, 0);
/** [size] weights of three terms: 0.42, 0.5, 0.08. */
export const blackmanWindow = /* @__PURE__ */ defineWindow("blackmanWindow", 0.42, 0.5, 0.08);
