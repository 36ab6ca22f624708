import { ShapeError } from "../tensor/errors.ts";
import { formatType, sizeOf } from "../tensor/shape.ts";
import { valuesOf } from "./check.ts";
import { copyElements } from "./copy.ts";
import { defineOp } from "./op.ts";

export interface ReshapeAttrs {
  /** ONNX: a 0 in the shape means zero elements, instead of "as in the input". Default false. */
  allowZero?: boolean;
}

/**
 * The same elements under another shape: one -1 is inferred, 0 copies the input's dimension. Any dtype.
 * @throws ShapeError when the sizes differ
 */
export const reshape = /* @__PURE__ */ defineOp({
  name: "reshape",
  inputs: ["x", "shape"],
  host: ["shape"],
  view: true,
  infer([x, shape], { allowZero = false }: ReshapeAttrs) {
    const fail = (): never => {
      throw new ShapeError(`reshape: ${formatType(x)} does not fit [${wanted}]`, { op: "reshape" });
    };
    const wanted = valuesOf("reshape", "shape", shape);
    const dims = wanted.map((d, i) => (d === 0 && !allowZero ? (x.shape[i] ?? fail()) : d));
    const free = dims.indexOf(-1);
    if (free >= 0) {
      const rest = sizeOf(dims.filter((_, i) => i !== free));
      dims[free] = rest === 0 ? 0 : sizeOf(x.shape) / rest;
    }
    if (dims.some((d) => d < 0 || !Number.isInteger(d)) || sizeOf(dims) !== sizeOf(x.shape)) fail();
    return { dtype: x.dtype, shape: dims };
  },
  reference([x], _, [y]) {
    copyElements(x, y);
  },
});
