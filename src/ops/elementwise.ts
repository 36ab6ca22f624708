/**
 * The template that elementwise operators are made of: each is a row of a table, a function on numbers for the float
 * dtypes and one on bigints for the integers, whose results wrap to the dtype as two's complement does.
 */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { type DType, dtypes, isFloat, isInteger } from "../tensor/dtype.ts";
import { broadcastShapes, broadcastStrides, forEachOffset } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { dtypeError, sameDType } from "./check.ts";
import { integersOf, storeIntegers } from "./integers.ts";

export type FloatUnary = (x: number) => number;
export type FloatBinary = (a: number, b: number) => number;
export type IntUnary = (x: bigint) => bigint;
export type IntBinary = (a: bigint, b: bigint) => bigint;

/** Which dtypes an operator takes. */
export type Domain = "float" | "numeric" | "signed" | "integer" | "bool";

const domains: Record<Domain, (dtype: DType) => boolean> = {
  float: isFloat,
  numeric: (d) => isFloat(d) || isInteger(d),
  signed: (d) => isFloat(d) || dtypes[d].kind === "int",
  integer: isInteger,
  bool: (d) => d === "bool",
};

/** Throws DTypeError unless the dtype is in the domain. */
export function expectDomain(op: string, domain: Domain, ...types: (TensorType | undefined)[]): void {
  for (const t of types)
    if (t && !domains[domain](t.dtype)) dtypeError(op, `takes ${domain === "signed" ? "signed" : domain} tensors`, t);
}

/** Type rule of binary operators: equal dtypes in the domain, broadcast shapes. */
export function inferBroadcast(op: string, domain: Domain, a: TensorType, b: TensorType): TensorType {
  expectDomain(op, domain, a, b);
  return { dtype: sameDType(op, a, b), shape: broadcastShapes(op, a.shape, b.shape) };
}

/** y[i] = f(x[i]), by `integer` where the dtype is one. */
export function mapUnary(x: HostTensor, y: HostTensor, float: FloatUnary, integer?: IntUnary): void {
  if (integer && isInteger(x.dtype)) storeIntegers(integersOf(x).map(integer), y);
  else fromF64(toF64(x).map(float), y);
}

/** y[i] = f(a[i], b[i]) with broadcasting, by `integer` where the dtype is one. */
export function mapBinary(a: HostTensor, b: HostTensor, y: HostTensor, float: FloatBinary, integer?: IntBinary): void {
  if (integer && isInteger(a.dtype)) storeIntegers(broadcastMap(a, b, y, integersOf(a), integersOf(b), integer), y);
  else fromF64(broadcastMap(a, b, y, toF64(a), toF64(b), float), y);
}

/** f over two lists of elements as broadcast to the shape of `y`. */
export function broadcastMap<A, B, R>(
  a: TensorType,
  b: TensorType,
  y: TensorType,
  as: ArrayLike<A>,
  bs: ArrayLike<B>,
  f: (a: A, b: B) => R,
): R[] {
  const out: R[] = [];
  const strides = [broadcastStrides(a.shape, y.shape), broadcastStrides(b.shape, y.shape)];
  forEachOffset(y.shape, strides, (_, at) => out.push(f(as[at[0]], bs[at[1]])));
  return out;
}
