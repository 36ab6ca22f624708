/** What flows on host edges, checked: operators without a shape rule take sequences and optionals besides tensors. */
import { InputError } from "../tensor/errors.ts";
import { formatType } from "../tensor/shape.ts";
import { type HostTensor, type HostValue, isHostTensor } from "../tensor/tensor.ts";

const describe = (v: HostValue | undefined): string =>
  v === undefined ? "nothing" : v === null ? "an empty optional" : isHostTensor(v) ? formatType(v) : "a sequence";

export function expectTensor(op: string, v: HostValue | undefined): HostTensor {
  if (isHostTensor(v)) return v;
  throw new InputError(`${op}: takes a tensor, got ${describe(v)}`, { op });
}

export function expectSequence(op: string, v: HostValue | undefined): readonly HostValue[] {
  if (v !== undefined && v !== null && !isHostTensor(v)) return v;
  throw new InputError(`${op}: takes a sequence, got ${describe(v)}`, { op });
}

/** The one element of a tensor as a number. */
export function expectScalar(op: string, what: string, v: HostValue | undefined): number {
  const t = expectTensor(op, v);
  if (t.data.length === 1 && t.dtype !== "string") return Number(t.data[0]);
  throw new InputError(`${op}: ${what} must be one number, got ${formatType(t)}`, { op });
}

export const boolScalar = (value: boolean): HostTensor => ({
  dtype: "bool",
  shape: [],
  data: Uint8Array.of(value ? 1 : 0),
});

export const i64Scalar = (value: number): HostTensor => ({
  dtype: "i64",
  shape: [],
  data: BigInt64Array.of(BigInt(value)),
});
