import { sizeOf } from "../tensor/shape.ts";
import { defineOp } from "./op.ts";

export interface ShapeAttrs {
  /** First dimension wanted; negative counts from the end. Clamped. Default 0. */
  start?: number;
  /** One past the last. Default: the rank. */
  end?: number;
}

function dimensions(shape: readonly number[], { start = 0, end = shape.length }: ShapeAttrs): readonly number[] {
  const rank = shape.length;
  const bound = (v: number): number => Math.min(Math.max(v < 0 ? v + rank : v, 0), rank);
  return shape.slice(bound(start), bound(end));
}

/** The dimensions of `x` as i64[rank]. */
export const shape = /* @__PURE__ */ defineOp({
  name: "shape",
  inputs: ["x"],
  shapeOnly: true,
  infer([x], attrs: ShapeAttrs) {
    return { dtype: "i64", shape: [dimensions(x.shape, attrs).length] };
  },
  reference([x], attrs, [y]) {
    (y.data as BigInt64Array).set(dimensions(x.shape, attrs).map(BigInt));
  },
});

/** The number of elements of `x` as an i64 scalar. */
export const size = /* @__PURE__ */ defineOp({
  name: "size",
  inputs: ["x"],
  shapeOnly: true,
  infer() {
    return { dtype: "i64", shape: [] };
  },
  reference([x], _, [y]) {
    (y.data as BigInt64Array)[0] = BigInt(sizeOf(x.shape));
  },
});
