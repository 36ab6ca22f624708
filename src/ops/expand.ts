import { broadcastShapes, broadcastStrides, type Shape } from "../tensor/shape.ts";
import { shapeError, valuesOf } from "./check.ts";
import { defineOp } from "./op.ts";
import { gatherWalk, type StridedWalk, walkStrided } from "./strided.ts";

/** How the elements of the result of shape `to` walk those of the input of shape `from`. */
export const expandWalk = (from: Shape, to: Shape): StridedWalk => gatherWalk(to, broadcastStrides(from, to));

/**
 * Broadcast against `shape`, in both directions: a 1 in `shape` keeps the input's dimension. Any dtype.
 * @throws ShapeError when the shapes don't broadcast
 */
export const expand = /* @__PURE__ */ defineOp({
  name: "expand",
  inputs: ["x", "shape"],
  host: ["shape"],
  infer([x, shape]) {
    const wanted = valuesOf("expand", "shape", shape);
    if (wanted.some((d) => d < 0)) shapeError("expand", `shape [${wanted}] is negative`, x);
    return { dtype: x.dtype, shape: broadcastShapes("expand", x.shape, wanted) };
  },
  reference([x], _, [y]) {
    walkStrided(expandWalk(x.shape, y.shape), x, y);
  },
});
