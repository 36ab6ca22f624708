import { toNumbers } from "../tensor/convert.ts";
import { type Shape, stridesOf } from "../tensor/shape.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { shapeError, valuesOf } from "./check.ts";
import { defineOp } from "./op.ts";
import { gatherWalk, type StridedWalk, walkStrided } from "./strided.ts";

/** How the result's elements walk the input's: every axis is a pair, its repetitions and its elements. */
export function tileWalk(shape: Shape, repeats: HostTensor): StridedWalk {
  const times = toNumbers(repeats);
  const strides = stridesOf(shape);
  return gatherWalk(
    shape.flatMap((d, i) => [times[i], d]),
    strides.flatMap((s) => [0, s]),
  );
}

/** `x` repeated repeats[i] times along axis i. Any dtype. ShapeError unless there is one repeat an axis. */
export const tile = /* @__PURE__ */ defineOp({
  name: "tile",
  inputs: ["x", "repeats"],
  host: ["repeats"],
  infer([x, repeats]) {
    const times = valuesOf("tile", "repeats", repeats);
    if (times.length !== x.shape.length || times.some((r) => r < 0))
      shapeError("tile", `repeats [${times}] do not fit`, x);
    return { dtype: x.dtype, shape: x.shape.map((d, i) => d * times[i]) };
  },
  reference([x, repeats], _, [y]) {
    walkStrided(tileWalk(x.shape, repeats), x, y);
  },
});
