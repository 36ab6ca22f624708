import { toF64 } from "../tensor/convert.ts";
import { InputError } from "../tensor/errors.ts";
import { normalizeAxis, sizeBetween } from "../tensor/shape.ts";
import { expectDType, sameDType, shapeError } from "./check.ts";
import { copyElements, movers } from "./copy.ts";
import { defineOp } from "./op.ts";

export interface TensorScatterAttrs {
  /** The sequence axis, not 0. Default -2. */
  axis?: number;
  /** circular: positions wrap around the end of the cache. Default "linear". */
  mode?: "linear" | "circular";
}

/**
 * A key-value cache [batch, .., length, ..] with `update` [batch, .., steps, ..] written from position
 * writeIndices[batch] (default 0) on. Any dtype.
 * @throws InputError when a linear write leaves the cache
 */
export const tensorScatter = /* @__PURE__ */ defineOp({
  name: "tensorScatter",
  inputs: ["cache", "update", "writeIndices?"],
  infer([cache, update, writeIndices], { axis = -2, mode = "linear" }: TensorScatterAttrs) {
    sameDType("tensorScatter", cache, update);
    const rank = cache.shape.length;
    const a = normalizeAxis("tensorScatter", axis, rank);
    if (a === 0) shapeError("tensorScatter", "the axis is the batch's", cache);
    if (mode !== "linear" && mode !== "circular") shapeError("tensorScatter", `unknown mode "${mode}"`, cache);
    const fits = update.shape.every((d, i) => (i === a ? d <= cache.shape[i] : d === cache.shape[i]));
    if (update.shape.length !== rank || !fits)
      shapeError("tensorScatter", `the update does not fit along axis ${a}`, cache, update);
    if (writeIndices) {
      expectDType("tensorScatter", writeIndices, "i64", "i32");
      if (writeIndices.shape.length !== 1 || writeIndices.shape[0] !== cache.shape[0])
        shapeError("tensorScatter", "needs one write index for each batch", cache, writeIndices);
    }
    return { dtype: cache.dtype, shape: cache.shape };
  },
  reference([cache, update, writeIndices], { axis = -2, mode = "linear" }, [y]) {
    const a = normalizeAxis("tensorScatter", axis, cache.shape.length);
    const length = cache.shape[a];
    const steps = update.shape[a];
    const inner = sizeBetween(cache.shape, a + 1, cache.shape.length);
    const perBatch = sizeBetween(cache.shape, 1, a);
    const starts = writeIndices ? toF64(writeIndices) : new Float64Array(cache.shape[0]);
    copyElements(cache, y);
    const { src, dst } = movers(update, y);
    starts.forEach((start, b) => {
      if (start < 0 || (mode === "linear" && start + steps > length))
        throw new InputError(`tensorScatter: ${steps} steps from ${start} leave axis ${a} of size ${length}`, {
          op: "tensorScatter",
        });
      for (let o = b * perBatch; o < (b + 1) * perBatch; o++)
        for (let t = 0; t < steps; t++) {
          const to = (o * length + ((start + t) % length)) * inner;
          for (let i = 0; i < inner; i++) dst[to + i] = src[(o * steps + t) * inner + i];
        }
    });
  },
});
