import { toF64 } from "../tensor/convert.ts";
import { InputError } from "../tensor/errors.ts";
import { forEachOffset, normalizeAxis, type Shape, stridesOf } from "../tensor/shape.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { expectDType, expectRank, shapeError } from "./check.ts";
import { movers } from "./copy.ts";
import { defineOp } from "./op.ts";

export interface ReverseSequenceAttrs {
  /** Default 1. */
  batchAxis?: number;
  /** Default 0. */
  timeAxis?: number;
}

/** How many steps each sequence has. Throws InputError for one that has more than the axis. */
export function sequenceLengths(
  { dtype, data }: Pick<HostTensor, "dtype" | "data">,
  shape: Shape,
  time: number,
): Float64Array {
  const steps = shape[time];
  const lengths = toF64({ dtype, data });
  for (const n of lengths)
    if (n < 0 || n > steps)
      throw new InputError(`reverseSequence: length ${n} is outside [0, ${steps}] of axis ${time}`, {
        op: "reverseSequence",
      });
  return lengths;
}

/**
 * The first lengths[b] steps of every sequence b in reverse order, the rest as they are. Any dtype.
 * @throws InputError for a length outside [0, steps]
 */
export const reverseSequence = /* @__PURE__ */ defineOp({
  name: "reverseSequence",
  inputs: ["x", "lengths"],
  infer([x, lengths], { batchAxis = 1, timeAxis = 0 }: ReverseSequenceAttrs) {
    expectRank("reverseSequence", x, 2, Number.POSITIVE_INFINITY);
    expectDType("reverseSequence", lengths, "i64", "i32");
    const batch = normalizeAxis("reverseSequence", batchAxis, x.shape.length);
    if (batch === normalizeAxis("reverseSequence", timeAxis, x.shape.length))
      shapeError("reverseSequence", "batch and time are the same axis", x);
    if (lengths.shape.length !== 1 || lengths.shape[0] !== x.shape[batch])
      shapeError("reverseSequence", `needs one length for each of the ${x.shape[batch]} sequences`, x, lengths);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x, lengths], { batchAxis = 1, timeAxis = 0 }, [y]) {
    const batch = normalizeAxis("reverseSequence", batchAxis, x.shape.length);
    const time = normalizeAxis("reverseSequence", timeAxis, x.shape.length);
    const long = sequenceLengths(lengths, x.shape, time);
    const only = (axis: number): number[] => x.shape.map((_, i) => (i === axis ? 1 : 0));
    const stride = stridesOf(x.shape)[time];
    const { src, dst } = movers(x, y);
    forEachOffset(x.shape, [only(batch), only(time)], (i, [b, t]) => {
      dst[i] = src[t < long[b] ? i + (long[b] - 1 - 2 * t) * stride : i];
    });
  },
});
