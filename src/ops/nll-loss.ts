import { fromF64, toF64 } from "../tensor/convert.ts";
import { isInteger } from "../tensor/dtype.ts";
import { sameShape } from "../tensor/shape.ts";
import { channelsFirst } from "./batch-norm.ts";
import { dtypeError, expectFloat, expectRank, numbersOf, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

export interface NllLossAttrs {
  /** "mean" (default) divides the sum by the weights that took part. */
  reduction?: "none" | "sum" | "mean";
  /** A target that does not count. */
  ignoreIndex?: number;
}

/**
 * Negative log likelihood: -weight[c] x[n, c, ...] at each target class c. x [batch, classes, ...] (log
 * probabilities), target [batch, ...] (integers), weight [classes]. Output: like `target` or a scalar, dtype of `x`.
 * ShapeError for a target outside the classes.
 */
export const nllLoss = /* @__PURE__ */ defineOp({
  name: "nllLoss",
  inputs: ["x", "target", "weight?"],
  infer([x, target, weight], { reduction = "mean" }: NllLossAttrs) {
    expectFloat("nllLoss", x);
    expectRank("nllLoss", x, 2, Number.POSITIVE_INFINITY);
    if (!isInteger(target.dtype)) dtypeError("nllLoss", "targets are integers", target);
    if (!sameShape(target.shape, [x.shape[0], ...x.shape.slice(2)]))
      shapeError("nllLoss", "targets do not match", x, target);
    if (weight && !sameShape(weight.shape, [x.shape[1]])) shapeError("nllLoss", "takes one weight a class", x, weight);
    return { dtype: x.dtype, shape: reduction === "none" ? target.shape : [] };
  },
  reference([x, target, weight], { reduction = "mean", ignoreIndex }, [y]) {
    const { batch, channels, inner } = channelsFirst(x);
    const src = toF64(x);
    const classes = numbersOf(target);
    const weights = weight && toF64(weight);
    const losses = new Float64Array(classes.length);
    let sum = 0;
    let weightSum = 0;
    for (let b = 0; b < batch; b++)
      for (let i = 0; i < inner; i++) {
        const at = b * inner + i;
        const c = classes[at];
        if (c === ignoreIndex) continue;
        if (c < 0 || c >= channels) shapeError("nllLoss", `target ${c} is outside ${channels} classes`, x, target);
        const w = weights ? weights[c] : 1;
        losses[at] = -src[(b * channels + c) * inner + i] * w;
        sum += losses[at];
        weightSum += w;
      }
    fromF64(reduction === "none" ? losses : [reduction === "sum" ? sum : sum / weightSum], y);
  },
});
