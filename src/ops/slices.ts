/** Cutting host tensors apart and putting them together along an axis. Any dtype, strings too. */
import { allocate } from "../tensor/dtype.ts";
import { normalizeAxis, sameShape, sizeBetween } from "../tensor/shape.ts";
import { emptyTensor, type HostTensor, reshaped } from "../tensor/tensor.ts";
import { dtypeError, shapeError } from "./check.ts";
import type { HostMemory } from "./host-memory.ts";

/** Elements [from, to) along an axis >= 0. A copy. */
export function sliceRange(t: HostTensor, axis: number, from: number, to: number): HostTensor {
  const shape = t.shape.map((d, i) => (i === axis ? to - from : d));
  const outer = sizeBetween(t.shape, 0, axis);
  const inner = sizeBetween(t.shape, axis + 1, t.shape.length);
  const source = t.data as Float32Array;
  const row = t.shape[axis] * inner;
  const part = (to - from) * inner;
  if (outer === 1) return { dtype: t.dtype, shape, data: source.slice(from * inner, to * inner) };
  const data = allocate(t.dtype, outer * part);
  for (let o = 0; o < outer; o++) copyInto(data as Float32Array, o * part, source, o * row + from * inner, part);
  return { dtype: t.dtype, shape, data };
}

/** The `index`-th element along an axis, which is dropped. A copy. */
export function sliceAt(t: HostTensor, axis: number, index: number): HostTensor {
  const { dtype, data } = sliceRange(t, axis, index, index + 1);
  return { dtype, shape: t.shape.filter((_, i) => i !== axis), data };
}

/**
 * Joins tensors along an existing axis. ShapeError or DTypeError naming the operator when they don't fit.
 * @param memory that the result is part of
 */
export function concatTensors(memory: HostMemory, parts: readonly HostTensor[], axis: number): HostTensor {
  const { op } = memory;
  const [first] = parts;
  if (!first) shapeError(op, "nothing to concatenate");
  const a = normalizeAxis(op, axis, first.shape.length);
  const others = (t: HostTensor): number[] => t.shape.filter((_, i) => i !== a);
  let length = 0;
  for (const t of parts) {
    if (t.dtype !== first.dtype) dtypeError(op, "tensors differ in dtype", first, t);
    if (t.shape.length !== first.shape.length || !sameShape(others(t), others(first)))
      shapeError(op, `shapes differ outside axis ${a}`, first, t);
    length += t.shape[a];
  }
  const shape = first.shape.map((d, i) => (i === a ? length : d));
  const y = emptyTensor(memory.hold({ dtype: first.dtype, shape }));
  const outer = sizeBetween(shape, 0, a);
  const inner = sizeBetween(shape, a + 1, shape.length);
  let at = 0;
  for (const t of parts) {
    const part = t.shape[a] * inner;
    for (let o = 0; o < outer; o++)
      copyInto(y.data as Float32Array, o * length * inner + at, t.data as Float32Array, o * part, part);
    at += part;
  }
  return y;
}

/** Joins tensors of one shape along a new axis. */
export function stackTensors(memory: HostMemory, parts: readonly HostTensor[], axis: number): HostTensor {
  const [first] = parts;
  if (!first) shapeError(memory.op, "nothing to stack");
  const a = normalizeAxis(memory.op, axis, first.shape.length + 1);
  const raise = (t: HostTensor): HostTensor => reshaped(t, [...t.shape.slice(0, a), 1, ...t.shape.slice(a)]);
  return concatTensors(memory, parts.map(raise), a);
}

function copyInto(to: Float32Array, at: number, from: Float32Array, start: number, count: number): void {
  if (Array.isArray(to)) for (let i = 0; i < count; i++) to[at + i] = from[start + i];
  else to.set(from.subarray(start, start + count), at);
}
