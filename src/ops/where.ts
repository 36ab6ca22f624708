import { broadcastShapes, broadcastStrides, forEachOffset } from "../tensor/shape.ts";
import { expectDType, sameDType } from "./check.ts";
import { movers } from "./copy.ts";
import { defineOp } from "./op.ts";

/** x where the bool `condition` holds, else y, with NumPy broadcasting of all three. Any dtype of `x` and `y`. */
export const where = /* @__PURE__ */ defineOp({
  name: "where",
  inputs: ["condition", "x", "y"],
  infer([condition, x, y]) {
    expectDType("where", condition, "bool");
    return { dtype: sameDType("where", x, y), shape: broadcastShapes("where", condition.shape, x.shape, y.shape) };
  },
  reference([condition, x, y], _, [out]) {
    const strides = [condition, x, y].map((t) => broadcastStrides(t.shape, out.shape));
    const { src: xs, dst } = movers(x, out);
    const { src: ys } = movers(y, out);
    forEachOffset(out.shape, strides, (i, at) => {
      dst[i] = condition.data[at[0]] ? xs[at[1]] : ys[at[2]];
    });
  },
});
