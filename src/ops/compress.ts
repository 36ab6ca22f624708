import { normalizeAxis, sizeBetween, sizeOf } from "../tensor/shape.ts";
import { emptyTensor } from "../tensor/tensor.ts";
import { expectDType, shapeError } from "./check.ts";
import { movers } from "./copy.ts";
import { expectTensor } from "./host-values.ts";
import { defineOp } from "./op.ts";

export interface CompressAttrs {
  /** Default: the tensor is flattened. */
  axis?: number;
}

/**
 * The slices along `axis` where the boolean vector `condition` is true; those past its end are dropped. Any dtype.
 * @throws ShapeError when the condition is not a vector or selects beyond the axis
 */
export const compress = /* @__PURE__ */ defineOp({
  name: "compress",
  inputs: ["x", "condition"],
  evaluate([value, mask], { axis }: CompressAttrs) {
    const x = expectTensor("compress", value);
    const condition = expectTensor("compress", mask);
    expectDType("compress", condition, "bool");
    const flat = axis === undefined;
    const a = flat ? 0 : normalizeAxis("compress", axis, x.shape.length);
    const shape = flat ? [sizeOf(x.shape)] : [...x.shape];
    const n = shape[a];
    const kept = Array.from(condition.data as Uint8Array).flatMap((v, i) => (v ? [i] : []));
    if (condition.shape.length !== 1 || kept.some((k) => k >= n))
      shapeError("compress", `the condition does not fit axis ${a} of size ${n}`, x, condition);
    const outer = sizeBetween(shape, 0, a);
    const inner = sizeBetween(shape, a + 1, shape.length);
    shape[a] = kept.length;
    const y = emptyTensor({ dtype: x.dtype, shape });
    const { src, dst } = movers(x, y);
    let j = 0;
    for (let o = 0; o < outer; o++)
      for (const k of kept) for (let i = 0; i < inner; i++) dst[j++] = src[(o * n + k) * inner + i];
    return [y];
  },
});
