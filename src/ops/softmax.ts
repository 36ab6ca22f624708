import { fromF64, toF64 } from "../tensor/convert.ts";
import { normalizeAxis, sizeBetween } from "../tensor/shape.ts";
import { expectFloat } from "./check.ts";
import { defineOp } from "./op.ts";

export interface SoftmaxAttrs {
  /** Default -1. */
  axis?: number;
}

/** exp(x - max) / sum along `axis`, any float dtype; output like `x`. ShapeError if the axis is outside. */
export const softmax = /* @__PURE__ */ defineOp({
  name: "softmax",
  inputs: ["x"],
  infer([x], { axis = -1 }: SoftmaxAttrs) {
    expectFloat("softmax", x);
    if (x.shape.length > 0) normalizeAxis("softmax", axis, x.shape.length);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x], { axis = -1 }, [y]) {
    const a = x.shape.length === 0 ? 0 : normalizeAxis("softmax", axis, x.shape.length);
    const n = x.shape[a] ?? 1;
    const inner = sizeBetween(x.shape, a + 1, x.shape.length);
    const outer = sizeBetween(x.shape, 0, a);
    const src = toF64(x);
    const out = new Float64Array(src.length);
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < inner; i++) {
        const at = (k: number): number => (o * n + k) * inner + i;
        let max = -Infinity;
        for (let k = 0; k < n; k++) max = Math.max(max, src[at(k)]);
        let sum = 0;
        for (let k = 0; k < n; k++) sum += out[at(k)] = Math.exp(src[at(k)] - max);
        for (let k = 0; k < n; k++) out[at(k)] /= sum;
      }
    fromF64(out, y);
  },
});
