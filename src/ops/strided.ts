/**
 * Layout operators as strided walks: y[to.base + i . to.strides] = x[from.base + i . from.strides] for every index `i` of
 * `shape`. Transpose, slice, expand, tile, concat, split, pad, depthToSpace are such walks; the operator's file gives the
 * walk, references follow it naively and kernels after simplifying it.
 */
import { forEachOffset, type Shape, stridesOf } from "../tensor/shape.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { movers } from "./copy.ts";

export interface Strides {
  readonly strides: readonly number[];
  readonly base: number;
}

export interface StridedWalk {
  readonly shape: Shape;
  readonly from: Strides;
  readonly to: Strides;
}

/** A walk whose destination is dense: the elements of the output in row-major order. */
export const gatherWalk = (shape: Shape, strides: readonly number[], base = 0): StridedWalk => ({
  shape,
  from: { strides, base },
  to: { strides: stridesOf(shape), base: 0 },
});

/** Follows the walk element by element. */
export function walkStrided({ shape, from, to }: StridedWalk, x: HostTensor, y: HostTensor): void {
  const { src, dst } = movers(x, y);
  forEachOffset(shape, [from.strides, to.strides], (_, [i, j]) => {
    dst[to.base + j] = src[from.base + i];
  });
}
