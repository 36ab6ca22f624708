import { sizeOf } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import { expectDType, expectFloat, numbersOf, sameDType, shapeError } from "./check.ts";
import { movers } from "./copy.ts";
import { defineOp } from "./op.ts";

/** Checks that `position` is one i32: where in the cache the first token belongs. */
export function checkPosition(op: string, position: TensorType): void {
  expectDType(op, position, "i32");
  if (sizeOf(position.shape) !== 1) shapeError(op, "takes one position", position);
}

/**
 * Writes the rows of new tokens into a cache: cache [rows, n], x [..., tokens, n], position i32 [1], the row of the first
 * one. Gives the cache. Where that is state of the session it is changed in place.
 * @throws ShapeError where the rows differ, or the tokens don't fit
 */
export const kvAppend = /* @__PURE__ */ defineOp({
  name: "kvAppend",
  inputs: ["cache", "x", "position"],
  states: ["cache"],
  mutates: true,
  infer([cache, x, position]) {
    expectFloat("kvAppend", cache);
    checkPosition("kvAppend", position);
    const dtype = sameDType("kvAppend", cache, x);
    const [rows, n] = cache.shape;
    if (cache.shape.length !== 2 || x.shape.at(-1) !== n || sizeOf(x.shape) > rows * n)
      shapeError("kvAppend", "rows differ, or there are more tokens than rows", cache, x);
    return { dtype, shape: cache.shape };
  },
  reference([cache, x, position], _, [y]) {
    const { src, dst } = movers(x, y);
    const at = numbersOf(position)[0] * cache.shape[1];
    // State may hold fewer rows than are declared, and is given as it is.
    if (at < 0 || at + src.length > dst.length)
      shapeError("kvAppend", `no room at row ${numbersOf(position)}`, cache, x);
    if (cache.data !== y.data) movers(cache, y).dst.set(movers(cache, y).src as Float64Array);
    dst.set(src as Float64Array, at);
  },
});
