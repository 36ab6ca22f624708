/** Generated inputs for operators: the same cases feed every kernel of every backend. */
import fc from "fast-check";
import type { AnyOp, Attrs, AttrsOf } from "../../src/ops/op.ts";
import { fromF64 } from "../../src/tensor/convert.ts";
import { allocate, type DType, type Half } from "../../src/tensor/dtype.ts";
import { HalfWeight } from "../../src/tensor/half-weight.ts";
import { sizeOf } from "../../src/tensor/shape.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { Elements } from "../../src/tensor/weight.ts";
import { randomFrom } from "../random.ts";

export interface OpCase {
  readonly inputs: readonly (HostTensor | undefined)[];
  readonly attrs: Attrs;
}

/** A case of operator `op`; use inside `fc.Arbitrary.map` so that attributes are type-checked. */
export const opCase = <O extends AnyOp>(
  _op: O,
  inputs: readonly (HostTensor | undefined)[],
  attrs: AttrsOf<O>,
): OpCase => ({ inputs, attrs: attrs as Attrs });

/** Shapes of the given ranks; dimensions 0 are rare, large ones (past a SIMD width or tile) now and then. */
export const shapeOf = (minRank = 0, maxRank = 4, maxDim = 9): fc.Arbitrary<number[]> =>
  fc.array(fc.integer({ min: 1, max: maxDim }), { minLength: minRank, maxLength: maxRank });

export interface ValueRange {
  min?: number;
  max?: number;
}

/** A tensor of `shape` filled from a seed: reproducible, cheap to shrink. Floats in [min, max], integers whole. */
export function tensorFrom(
  seed: number,
  dtype: DType,
  shape: readonly number[],
  { min = -3, max = 3 }: ValueRange = {},
): HostTensor {
  const t: HostTensor = { dtype, shape, data: allocate(dtype, sizeOf(shape)) };
  const random = randomFrom(seed);
  const whole = dtype[0] === "i" || dtype[0] === "u";
  const values = Float64Array.from({ length: sizeOf(shape) }, () => {
    if (dtype === "bool") return random() < 0.5 ? 0 : 1;
    const v = min + random() * (max - min);
    const n = whole ? Math.round(v) : v;
    return dtype[0] === "u" ? Math.abs(n) : n;
  });
  fromF64(values, t);
  return t;
}

/** The same in f32, rounded to 16-bit floats, as a weight that is stored in these. */
export function halfWeightFrom(seed: number, stored: Half, shape: readonly number[], range?: ValueRange): HalfWeight {
  const { data } = tensorFrom(seed, stored, shape, range);
  return new HalfWeight(stored, shape, new Elements(data as Uint16Array));
}

/** An arbitrary tensor of a fixed shape. */
export const tensorOf = (
  shape: readonly number[],
  dtype: DType = "f32",
  range?: ValueRange,
): fc.Arbitrary<HostTensor> => fc.integer().map((seed) => tensorFrom(seed, dtype, shape, range));
