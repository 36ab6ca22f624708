import { normalizeAxis, sizeBetween, sizeOf } from "../tensor/shape.ts";
import { emptyTensor, type HostTensor } from "../tensor/tensor.ts";
import { movers } from "./copy.ts";
import { expectTensor } from "./host-values.ts";
import { i64Tensor } from "./indices.ts";
import { defineOp } from "./op.ts";
import { comparable, compareAt } from "./order.ts";

export interface UniqueAttrs {
  /** Compare slices along this axis. Default: the elements of the flattened tensor. */
  axis?: number;
  /** Ascending (the default), or in order of first occurrence. */
  sorted?: boolean;
}

/** Negative, 0 or positive as slice i along the axis is below, equal to or above slice j: element by element. */
function sliceOrder(x: HostTensor, outer: number, n: number, inner: number): (i: number, j: number) => number {
  const values = comparable(x);
  return (i, j) => {
    for (let o = 0; o < outer; o++)
      for (let k = 0; k < inner; k++) {
        const c = compareAt(values, (o * n + i) * inner + k, (o * n + j) * inner + k);
        if (c !== 0) return c;
      }
    return 0;
  };
}

/**
 * The distinct elements (or slices), the position of each one's first occurrence, for every element of `x` its position
 * among the distinct ones, and how often each occurs. The last three are i64 vectors. NaNs are equal to each other.
 */
export const unique = /* @__PURE__ */ defineOp({
  name: "unique",
  inputs: ["x"],
  outputs: ["y", "indices", "inverse", "counts"],
  evaluate([value], { axis, sorted = true }: UniqueAttrs) {
    const x = expectTensor("unique", value);
    const shape = axis === undefined ? [sizeOf(x.shape)] : [...x.shape];
    const a = axis === undefined ? 0 : normalizeAxis("unique", axis, shape.length);
    const n = shape[a];
    const outer = sizeBetween(shape, 0, a);
    const inner = sizeBetween(shape, a + 1, shape.length);
    const compare = sliceOrder(x, outer, n, inner);
    // A stable sort leaves the first occurrence at the head of every group of equals.
    const order = Array.from({ length: n }, (_, i) => i).sort(compare);
    const groups: number[][] = [];
    for (const i of order) {
      const last = groups.at(-1);
      if (last && compare(last[0], i) === 0) last.push(i);
      else groups.push([i]);
    }
    if (!sorted) groups.sort((g, h) => g[0] - h[0]);
    const first = groups.map((g) => g[0]);
    const inverse = new Array<number>(n);
    groups.forEach((g, k) => {
      for (const i of g) inverse[i] = k;
    });
    shape[a] = groups.length;
    const y = emptyTensor({ dtype: x.dtype, shape });
    const { src, dst } = movers(x, y);
    let j = 0;
    for (let o = 0; o < outer; o++)
      for (const i of first) for (let k = 0; k < inner; k++) dst[j++] = src[(o * n + i) * inner + k];
    return [y, i64Tensor(first), i64Tensor(inverse), i64Tensor(groups.map((g) => g.length))];
  },
});
