import { normalizeAxis, type Shape, stridesOf } from "../tensor/shape.ts";
import { shapeError, valuesOf } from "./check.ts";
import { defineOp, type Operand } from "./op.ts";
import { gatherWalk, type StridedWalk, walkStrided } from "./strided.ts";

export interface SplitAttrs {
  /** Default 0. */
  axis?: number;
  /** Number of results. */
  parts: number;
}

/** How the elements of each result walk those of the input of `shape`. */
export function splitWalks(shape: Shape, parts: readonly Shape[], { axis = 0 }: SplitAttrs): StridedWalk[] {
  const a = normalizeAxis("split", axis, shape.length);
  const strides = stridesOf(shape);
  let at = 0;
  return parts.map((s) => {
    const walk = gatherWalk(s, strides, at * strides[a]);
    at += s[a];
    return walk;
  });
}

function lengths(x: Operand, sizes: Operand | undefined, total: number, parts: number): number[] {
  if (sizes) {
    const list = valuesOf("split", "sizes", sizes);
    if (list.length !== parts || list.some((n) => n < 0) || list.reduce((a, b) => a + b, 0) !== total)
      shapeError("split", `sizes [${list}] are not ${parts} that add up to ${total}`, x);
    return list;
  }
  if (!(parts >= 1)) shapeError("split", `cannot make ${parts} parts`, x);
  return equalParts(total, parts);
}

/** Sizes where none are given: equal but for the last. */
export function equalParts(total: number, parts: number): number[] {
  const chunk = Math.ceil(total / parts);
  return Array.from({ length: parts }, (_, i) => Math.min(chunk, Math.max(0, total - i * chunk)));
}

/**
 * Cuts along `axis` into `sizes`, or into `parts` equal pieces of which the last may be smaller. Any dtype.
 * @throws ShapeError when the sizes don't add up
 */
export const split = /* @__PURE__ */ defineOp({
  name: "split",
  inputs: ["x", "sizes?"],
  host: ["sizes"],
  outputs: (attrs: SplitAttrs) => attrs.parts,
  infer([x, sizes], { axis = 0, parts }: SplitAttrs) {
    const a = normalizeAxis("split", axis, x.shape.length);
    return lengths(x, sizes, x.shape[a], parts).map((n) => ({
      dtype: x.dtype,
      shape: x.shape.map((d, i) => (i === a ? n : d)),
    }));
  },
  reference([x], attrs, ys) {
    const walks = splitWalks(
      x.shape,
      ys.map((y) => y.shape),
      attrs,
    );
    ys.forEach((y, i) => {
      walkStrided(walks[i], x, y);
    });
  },
});
