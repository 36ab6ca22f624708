/** Integer elements of any width as bigint, and back: for references whose sums or products outgrow a double. */
import { type DType, dtypes, isBig } from "../tensor/dtype.ts";
import type { HostTensor } from "../tensor/tensor.ts";

export function integersOf(x: HostTensor): bigint[] {
  const source = x.data as Int32Array | BigInt64Array;
  return Array.from(source as ArrayLike<number | bigint>, BigInt);
}

/** Stores `values`, wrapping to the dtype of `y` as two's complement arithmetic does. */
export function storeIntegers(values: readonly bigint[], y: HostTensor): void {
  const { kind, bits } = dtypes[y.dtype];
  const wrap = kind === "int" ? BigInt.asIntN : BigInt.asUintN;
  if (isBig(y.dtype)) for (let i = 0; i < values.length; i++) (y.data as BigInt64Array)[i] = wrap(bits, values[i]);
  else for (let i = 0; i < values.length; i++) (y.data as Int32Array)[i] = Number(wrap(bits, values[i]));
}

/** Smallest and largest element of an integer dtype. */
export function integerRange(dtype: DType): [bigint, bigint] {
  const { kind, bits } = dtypes[dtype];
  const b = BigInt(bits);
  return kind === "int" ? [-(1n << (b - 1n)), (1n << (b - 1n)) - 1n] : [0n, (1n << b) - 1n];
}
