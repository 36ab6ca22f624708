import type { Shape } from "../tensor/shape.ts";
import { stridesOf } from "../tensor/shape.ts";
import { expectRank, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";
import { gatherWalk, type StridedWalk, walkStrided } from "./strided.ts";

export interface BlockAttrs {
  /** Side of the square blocks. */
  blockSize: number;
  /** Whether the block's position comes before the channel in the depth (DCR, the default) or after it (CRD). */
  mode?: "DCR" | "CRD";
}

/** Reads an array of `shape` in the order of its axes given by `perm`. */
function permuted(shape: Shape, perm: readonly number[]): StridedWalk {
  const strides = stridesOf(shape);
  return gatherWalk(
    perm.map((a) => shape[a]),
    perm.map((a) => strides[a]),
  );
}

/** How the result's elements walk those of the input [N, C, H, W]. */
export function depthToSpaceWalk([n, c, h, w]: Shape, { blockSize: b, mode = "DCR" }: BlockAttrs): StridedWalk {
  const depth = c / (b * b);
  return mode === "DCR"
    ? permuted([n, b, b, depth, h, w], [0, 3, 4, 1, 5, 2])
    : permuted([n, depth, b, b, h, w], [0, 1, 4, 2, 5, 3]);
}

export function spaceToDepthWalk([n, c, h, w]: Shape, { blockSize: b, mode = "DCR" }: BlockAttrs): StridedWalk {
  return permuted([n, c, h / b, b, w / b, b], mode === "DCR" ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4]);
}

/** [N, C, H, W] -> [N, C/b^2, Hb, Wb]: channels become b x b blocks. Any dtype. ShapeError unless b^2 divides C. */
export const depthToSpace = /* @__PURE__ */ defineOp({
  name: "depthToSpace",
  inputs: ["x"],
  infer([x], { blockSize: b }: BlockAttrs) {
    expectRank("depthToSpace", x, 4);
    const [n, c, h, w] = x.shape;
    if (!(b >= 1) || c % (b * b) !== 0) shapeError("depthToSpace", `blocks of ${b} x ${b} do not fit`, x);
    return { dtype: x.dtype, shape: [n, c / (b * b), h * b, w * b] };
  },
  reference([x], attrs, [y]) {
    walkStrided(depthToSpaceWalk(x.shape, attrs), x, y);
  },
});

/** [N, C, H, W] -> [N, C b^2, H/b, W/b]: b x b blocks become channels. Any dtype. ShapeError unless b divides H and W. */
export const spaceToDepth = /* @__PURE__ */ defineOp({
  name: "spaceToDepth",
  inputs: ["x"],
  infer([x], { blockSize: b }: BlockAttrs) {
    expectRank("spaceToDepth", x, 4);
    const [n, c, h, w] = x.shape;
    if (!(b >= 1) || h % b !== 0 || w % b !== 0) shapeError("spaceToDepth", `blocks of ${b} x ${b} do not fit`, x);
    return { dtype: x.dtype, shape: [n, c * b * b, h / b, w / b] };
  },
  reference([x], attrs, [y]) {
    walkStrided(spaceToDepthWalk(x.shape, attrs), x, y);
  },
});
