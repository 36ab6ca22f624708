import { broadcastShapes, broadcastStrides, forEachOffset } from "../tensor/shape.ts";
import { expectDType } from "./check.ts";
import { defineOp } from "./op.ts";

/** a followed by b, element by element with broadcasting. Strings. */
export const stringConcat = /* @__PURE__ */ defineOp({
  name: "stringConcat",
  inputs: ["a", "b"],
  infer([a, b]) {
    for (const t of [a, b]) expectDType("stringConcat", t, "string");
    return { dtype: "string", shape: broadcastShapes("stringConcat", a.shape, b.shape) };
  },
  reference([a, b], _, [y]) {
    const strides = [a, b].map((t) => broadcastStrides(t.shape, y.shape));
    const [left, right, out] = [a, b, y].map((t) => t.data as string[]);
    forEachOffset(y.shape, strides, (i, [j, k]) => {
      out[i] = left[j] + right[k];
    });
  },
});
