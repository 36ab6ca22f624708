/** Total orders of elements: NaN comes after every number, -0 equals 0, strings compare by code units. */
import { toF64 } from "../tensor/convert.ts";
import { isBig } from "../tensor/dtype.ts";
import type { HostTensor } from "../tensor/tensor.ts";

export type Comparable = ArrayLike<number> | ArrayLike<bigint> | ArrayLike<string>;

/** The elements in a form that `<` orders: doubles, or BigInts and strings as they are. */
export const comparable = (t: HostTensor): Comparable =>
  isBig(t.dtype) || t.dtype === "string" ? (t.data as BigInt64Array | string[]) : toF64(t);

/** Negative, 0 or positive as x[i] is below, equal to or above x[j]. */
export function compareAt(x: Comparable, i: number, j: number): number {
  const a = x[i];
  const b = x[j];
  if (a < b) return -1;
  if (a > b) return 1;
  if (a === b) return 0;
  return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
}
