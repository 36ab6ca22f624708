import { toF64 } from "../tensor/convert.ts";
import { type Shape, sizeBetween, stridesOf } from "../tensor/shape.ts";
import { shapeError } from "./check.ts";
import { movers } from "./copy.ts";
import { expectIndices, resolveIndex } from "./indices.ts";
import { defineOp } from "./op.ts";

export interface GatherNdAttrs {
  /** Leading dimensions that `x` and `indices` share. Default 0. */
  batchDims?: number;
}

/**
 * Offset in an array of `shape` of the slice that each index tuple names, the last dimension of `indices` being the
 * tuple. Tuples start at axis `batchDims` of the array.
 */
export function tupleOffsets(
  op: string,
  indices: Float64Array,
  tuple: number,
  shape: Shape,
  batchDims = 0,
): Float64Array {
  const strides = stridesOf(shape);
  const count = tuple === 0 ? 0 : indices.length / tuple;
  const batches = sizeBetween(shape, 0, batchDims);
  const perBatch = count / batches;
  const batchSize = sizeBetween(shape, batchDims, shape.length);
  return Float64Array.from({ length: count }, (_, i) => {
    let at = Math.floor(i / perBatch) * batchSize;
    for (let k = 0; k < tuple; k++) {
      const axis = batchDims + k;
      at += resolveIndex(op, indices[i * tuple + k], shape[axis], axis) * strides[axis];
    }
    return at;
  });
}

/**
 * Slices named by index tuples: indices [batch.., n.., k] of x [batch.., d1..dk, rest..] give [batch.., n.., rest..].
 * Any dtype.
 * @throws InputError for an index outside its axis
 */
export const gatherNd = /* @__PURE__ */ defineOp({
  name: "gatherNd",
  inputs: ["x", "indices"],
  infer([x, indices], { batchDims = 0 }: GatherNdAttrs) {
    expectIndices("gatherNd", indices);
    const tuple = indices.shape.at(-1) ?? 0;
    const fits =
      tuple >= 1 &&
      batchDims >= 0 &&
      batchDims < Math.min(x.shape.length, indices.shape.length) &&
      batchDims + tuple <= x.shape.length &&
      indices.shape.slice(0, batchDims).every((d, i) => d === x.shape[i]);
    if (!fits) shapeError("gatherNd", `tuples of ${tuple} with ${batchDims} batch dimensions do not fit`, x, indices);
    return { dtype: x.dtype, shape: [...indices.shape.slice(0, -1), ...x.shape.slice(batchDims + tuple)] };
  },
  reference([x, indices], { batchDims = 0 }, [y]) {
    const tuple = indices.shape.at(-1)!;
    const inner = sizeBetween(x.shape, batchDims + tuple, x.shape.length);
    const { src, dst } = movers(x, y);
    tupleOffsets("gatherNd", toF64(indices), tuple, x.shape, batchDims).forEach((at, j) => {
      for (let i = 0; i < inner; i++) dst[j * inner + i] = src[at + i];
    });
  },
});
