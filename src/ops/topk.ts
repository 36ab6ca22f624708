import { normalizeAxis, sizeBetween, sizeOf } from "../tensor/shape.ts";
import { dtypeError, shapeError, valuesOf } from "./check.ts";
import { movers } from "./copy.ts";
import { defineOp } from "./op.ts";
import { comparable, compareAt } from "./order.ts";

export interface TopkAttrs {
  /** Default -1. */
  axis?: number;
  /** The largest (default) or the smallest elements. */
  largest?: boolean;
  /** Whether the result must be in order. It is, either way. Default true. */
  sorted?: boolean;
}

/**
 * The `k` largest or smallest elements along `axis`, best first, and their i64 indices. Of equal elements the one with the
 * lower index comes first; NaN counts as larger than every number.
 * @throws ShapeError when the axis has fewer than k elements
 */
export const topk = /* @__PURE__ */ defineOp({
  name: "topk",
  inputs: ["x", "k"],
  host: ["k"],
  outputs: ["values", "indices"],
  infer([x, k], { axis = -1 }: TopkAttrs) {
    if (x.dtype === "string" || x.dtype === "bool") dtypeError("topk", "takes numbers", x);
    if (sizeOf(k.shape) !== 1) shapeError("topk", "k is not one number", k);
    const [count] = valuesOf("topk", "k", k);
    const a = normalizeAxis("topk", axis, x.shape.length);
    if (!(count >= 0 && count <= x.shape[a])) shapeError("topk", `axis ${a} has no ${count} elements`, x);
    const shape = x.shape.map((d, i) => (i === a ? count : d));
    return [
      { dtype: x.dtype, shape },
      { dtype: "i64", shape },
    ];
  },
  reference([x], { axis = -1, largest = true }, [values, indices]) {
    const a = normalizeAxis("topk", axis, x.shape.length);
    const n = x.shape[a];
    const k = values.shape[a];
    const inner = sizeBetween(x.shape, a + 1, x.shape.length);
    const outer = sizeBetween(x.shape, 0, a);
    const keys = comparable(x);
    const sign = largest ? -1 : 1;
    const { src, dst } = movers(x, values);
    const at = indices.data as BigInt64Array;
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < inner; i++) {
        const from = (p: number): number => (o * n + p) * inner + i;
        const order = Array.from({ length: n }, (_, p) => p);
        order.sort((p, q) => sign * compareAt(keys, from(p), from(q)) || p - q);
        for (let p = 0; p < k; p++) {
          const j = (o * k + p) * inner + i;
          dst[j] = src[from(order[p])];
          at[j] = BigInt(order[p]);
        }
      }
  },
});
