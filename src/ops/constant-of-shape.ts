import { sizeOf } from "../tensor/shape.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { shapeError, valuesOf } from "./check.ts";
import { defineOp } from "./op.ts";

export interface ConstantOfShapeAttrs {
  /** One element, whose dtype is the result's. Default: f32 zero. */
  value?: HostTensor;
}

/** A tensor of `shape` filled with `value`. ShapeError for a negative dimension. */
export const constantOfShape = /* @__PURE__ */ defineOp({
  name: "constantOfShape",
  inputs: ["shape"],
  host: ["shape"],
  infer([shape], { value }: ConstantOfShapeAttrs) {
    const dims = valuesOf("constantOfShape", "shape", shape);
    if (dims.some((d) => !(d >= 0))) shapeError("constantOfShape", `shape [${dims}] is negative`);
    if (value && sizeOf(value.shape) !== 1) shapeError("constantOfShape", "the value is not one element", value);
    return { dtype: value?.dtype ?? "f32", shape: dims };
  },
  reference(_, { value }, [y]) {
    if (value) (y.data as Float32Array).fill(value.data[0] as number);
  },
});
