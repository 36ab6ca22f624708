/** Index tensors of gathers and scatters. */
import { storeBigInts, toF64 } from "../tensor/convert.ts";
import { InputError } from "../tensor/errors.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { expectDType } from "./check.ts";

/** Throws DTypeError unless the indices are i64 or i32. */
export const expectIndices = (op: string, t: TensorType): void => expectDType(op, t, "i64", "i32");

/** `index` in [-size, size) as one in [0, size). Throws InputError naming operator, index and axis. */
export function resolveIndex(op: string, index: number, size: number, axis: number): number {
  if (!(index >= -size && index < size))
    throw new InputError(`${op}: index ${index} is outside axis ${axis} of size ${size}`, { op });
  return index < 0 ? index + size : index;
}

/** All indices into one axis. */
export const resolveIndices = (op: string, t: HostTensor, size: number, axis: number): Float64Array =>
  toF64(t).map((i) => resolveIndex(op, i, size, axis));

/** i64 from numbers; 1-D unless a shape is given. */
export function i64Tensor(values: ArrayLike<number>, shape: readonly number[] = [values.length]): HostTensor {
  const data = new BigInt64Array(values.length);
  storeBigInts(values, data);
  return { dtype: "i64", shape, data };
}
