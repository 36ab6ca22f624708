/** An operator by its shape rule and its reference, for hand-checked values. */
import { expect } from "vitest";
import type { AnyOp, AttrsOf } from "../../src/ops/op.ts";
import { toF64 } from "../../src/tensor/convert.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { hostTensor, type NestedArray } from "../../src/tensor/host-tensor.ts";
import { sizeOf } from "../../src/tensor/shape.ts";
import { emptyTensor, type HostTensor } from "../../src/tensor/tensor.ts";

/** All outputs. */
export function evaluateAll<O extends AnyOp>(
  { op }: O,
  inputs: readonly (HostTensor | undefined)[],
  attrs?: AttrsOf<O>,
): HostTensor[] {
  const a = (attrs ?? {}) as Record<string, unknown>;
  const types = op.infer!(
    inputs.map((t) => t && { ...t, value: t }),
    a,
  );
  const outputs = (Array.isArray(types) ? types : [types]).map(emptyTensor);
  op.reference!(inputs, a, outputs);
  return outputs;
}

/** The first output. */
export const evaluate = <O extends AnyOp>(
  op: O,
  inputs: readonly (HostTensor | undefined)[],
  attrs?: AttrsOf<O>,
): HostTensor => evaluateAll(op, inputs, attrs)[0];

export const tensor = (values: NestedArray, dtype?: DType): HostTensor => hostTensor(values, { dtype });

/** Elements as plain values: numbers of any float format decoded, 64-bit integers as bigint. */
export const elements = (t: HostTensor): unknown[] =>
  Array.isArray(t.data) || t.data instanceof BigInt64Array || t.data instanceof BigUint64Array
    ? Array.from(t.data as ArrayLike<unknown>)
    : Array.from(toF64(t));

/** A tensor, or its elements, against numbers, to so many digits after the point. */
export function expectClose(got: HostTensor | readonly unknown[], want: readonly number[], digits = 5): void {
  const values = "dtype" in got ? elements(got) : got;
  expect(values.length).toBe(want.length);
  want.forEach((v, i) => {
    expect(values[i]).toBeCloseTo(v, digits);
  });
}

/** 0, 1, 2, ... */
export const iota = (...shape: number[]): HostTensor =>
  hostTensor(
    Float32Array.from({ length: sizeOf(shape) }, (_, i) => i),
    { shape },
  );
