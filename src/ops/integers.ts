/** Integer elements of any width as bigint, and back: for references whose sums or products outgrow a double. */
import { type DType, dtypes, isBig } from "../tensor/dtype.ts";
import type { HostTensor } from "../tensor/tensor.ts";

export function integersOf(x: HostTensor): bigint[] {
  const source = x.data as Int32Array | BigInt64Array;
  return Array.from(source as ArrayLike<number | bigint>, BigInt);
}

/** `v` without the bits that the integer dtype does not have, as two's complement arithmetic wraps. */
export function wrapInteger(dtype: DType, v: bigint): bigint {
  const { kind, bits } = dtypes[dtype];
  return kind === "int" ? BigInt.asIntN(bits, v) : BigInt.asUintN(bits, v);
}

/** Stores `values`, wrapped to the dtype of `y`. */
export function storeIntegers(values: readonly bigint[], y: HostTensor): void {
  const { dtype } = y;
  if (isBig(dtype)) (y.data as BigInt64Array).set(values);
  else for (let i = 0; i < values.length; i++) (y.data as Int32Array)[i] = Number(wrapInteger(dtype, values[i]));
}

/** Smallest and largest element of an integer dtype. */
export function integerRange(dtype: DType): [bigint, bigint] {
  const { kind, bits } = dtypes[dtype];
  const b = BigInt(bits);
  return kind === "int" ? [-(1n << (b - 1n)), (1n << (b - 1n)) - 1n] : [0n, (1n << b) - 1n];
}
