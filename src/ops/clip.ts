import { toF64 } from "../tensor/convert.ts";
import { isFloat } from "../tensor/dtype.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { dtypeError, shapeError } from "./check.ts";
import { expectDomain, mapUnary } from "./elementwise.ts";
import { integersOf } from "./integers.ts";
import { defineOp } from "./op.ts";

/**
 * min(max(x, min), max) by two scalars that may be left out; `max` wins where they cross. Any numeric dtype; the
 * bounds share it, or are f32 for a float `x`.
 * @throws ShapeError for bounds that are not scalars, DTypeError for bounds of another dtype
 */
export const clip = /* @__PURE__ */ defineOp({
  name: "clip",
  inputs: ["x", "min?", "max?"],
  inplace: true,
  infer([x, min, max]) {
    expectDomain("clip", "numeric", x);
    for (const bound of [min, max]) {
      if (!bound) continue;
      if (sizeOf(bound.shape) !== 1) shapeError("clip", "bounds must be scalars", x, bound);
      if (bound.dtype !== x.dtype && !(bound.dtype === "f32" && isFloat(x.dtype)))
        dtypeError("clip", "bounds differ in dtype from x", x, bound);
    }
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x, min, max], _, [y]) {
    if (isFloat(x.dtype)) {
      const lo = min ? toF64(min)[0] : -Infinity;
      const hi = max ? toF64(max)[0] : Infinity;
      mapUnary(x, y, (v) => Math.min(Math.max(v, lo), hi));
    } else {
      const bound = (t: HostTensor | undefined): bigint | undefined => t && integersOf(t)[0];
      const lo = bound(min);
      const hi = bound(max);
      const clamp = (v: bigint): bigint => {
        const raised = lo !== undefined && v < lo ? lo : v;
        return hi !== undefined && raised > hi ? hi : raised;
      };
      mapUnary(x, y, Number, clamp);
    }
  },
});
