/** Checks that shape rules share. Each throws a typed error that names the operator and the types. */

import { toNumbers } from "../tensor/convert.ts";
import { type DType, isFloat } from "../tensor/dtype.ts";
import { DTypeError, ShapeError } from "../tensor/errors.ts";
import { formatType } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import type { Operand } from "./op.ts";

/** Throws ShapeError with the types appended: `matmul: inner dimensions differ: f32[2,3] and f32[4,5]`. */
export function shapeError(op: string, what: string, ...types: (TensorType | undefined)[]): never {
  const printed = types.filter((t) => t !== undefined).map(formatType);
  throw new ShapeError(`${op}: ${what}${printed.length ? `: ${printed.join(" and ")}` : ""}`, { op, types: printed });
}

export function dtypeError(op: string, what: string, ...types: (TensorType | undefined)[]): never {
  const printed = types.filter((t) => t !== undefined).map(formatType);
  throw new DTypeError(`${op}: ${what}${printed.length ? `: ${printed.join(" and ")}` : ""}`, { op, types: printed });
}

/** All inputs have the dtype of the first. Returns it. */
export function sameDType(op: string, ...types: (TensorType | undefined)[]): DType {
  const [first, ...rest] = types.filter((t) => t !== undefined);
  for (const t of rest) if (t.dtype !== first.dtype) dtypeError(op, "inputs differ in dtype", first, t);
  return first.dtype;
}

export function expectDType(op: string, t: TensorType, ...allowed: DType[]): void {
  if (!allowed.includes(t.dtype)) dtypeError(op, `takes ${allowed.join(" or ")}`, t);
}

export function expectFloat(op: string, t: TensorType): void {
  if (!isFloat(t.dtype)) dtypeError(op, "takes a float tensor", t);
}

export function expectRank(op: string, t: TensorType, min: number, max = min): void {
  const rank = t.shape.length;
  if (rank < min || rank > max) shapeError(op, `takes rank ${min === max ? min : `${min} to ${max}`}`, t);
}

/** The value of a host input as numbers. */
export function valuesOf(op: string, name: string, operand: Operand): number[] {
  if (!operand.value) shapeError(op, `the value of "${name}" must be known before shapes can be`, operand);
  return toNumbers(operand.value);
}

/** The numbers of a host input inside a reference. */
export const numbersOf = (t: HostTensor): number[] => toNumbers(t);
