/** Reductions over any axes: one rule for shapes, one line of arithmetic each. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { type DType, isBig, isFloat, isInteger } from "../tensor/dtype.ts";
import { forEachOffset, normalizeAxes, type Shape, stridesOf } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import { dtypeError, numbersOf, valuesOf } from "./check.ts";
import { integerRange, integersOf, storeIntegers } from "./integers.ts";
import { defineOp } from "./op.ts";

export interface ReduceAttrs {
  /** Reduced axes stay, with one element. Default true, as in ONNX. */
  keepDims?: boolean;
  /** Without axes nothing is reduced (each element is a set of its own), instead of everything. Default false. */
  noopWithEmptyAxes?: boolean;
}

/** Which axes go: all where none are given, unless `noopWithEmptyAxes`. Sorted, in [0, rank). */
export function reducedAxes(
  op: string,
  rank: number,
  axes: readonly number[] | undefined,
  { noopWithEmptyAxes = false }: ReduceAttrs,
): number[] {
  if (!axes || axes.length === 0) return noopWithEmptyAxes ? [] : Array.from({ length: rank }, (_, i) => i);
  // A scalar accepts its (only sensible) axes 0 and -1.
  if (rank === 0 && axes.every((a) => a === 0 || a === -1)) return [];
  return normalizeAxes(op, axes, rank).sort((a, b) => a - b);
}

/** The shape that is left. */
export function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): number[] {
  const gone = new Set(axes);
  return keepDims ? shape.map((d, i) => (gone.has(i) ? 1 : d)) : shape.filter((_, i) => !gone.has(i));
}

/** Offsets of the elements of `x` along the axes that `pick` selects, the others at 0. */
function offsetsAlong(x: TensorType, pick: (axis: number) => boolean): Float64Array {
  const strides = stridesOf(x.shape);
  const axes = x.shape.map((_, i) => i).filter(pick);
  const shape = axes.map((a) => x.shape[a]);
  const out = new Float64Array(shape.reduce((n, d) => n * d, 1));
  forEachOffset(shape, [axes.map((a) => strides[a])], (i, [offset]) => {
    out[i] = offset;
  });
  return out;
}

interface Reduction {
  /** Any dtype but those that `exact` covers; integers are truncated. Empty sets included. */
  number(values: Float64Array): number;
  /** Integers, without rounding: results wrap to the dtype. */
  exact?(values: readonly bigint[], dtype: DType): bigint;
  /** `exact` is for integers of 64 bits only: doubles have room for what comes of narrower ones. */
  onlyBig?: boolean;
  /** Takes bool (False < True). */
  bool?: boolean;
}

const sum = (values: Float64Array, f: (v: number) => number): number => {
  let s = 0;
  for (let i = 0; i < values.length; i++) s += f(values[i]);
  return s;
};
const same = (v: number): number => v;
const square = (v: number): number => v * v;
// Math.max takes no bigint.
const bigMax = (a: bigint, b: bigint): bigint => (b > a ? b : a);
const bigMin = (a: bigint, b: bigint): bigint => (b < a ? b : a);

function defineReduction(name: string, { number, exact, onlyBig = false, bool = false }: Reduction) {
  return defineOp({
    name,
    inputs: ["x", "axes?"],
    host: ["axes"],
    infer([x, axes], attrs: ReduceAttrs) {
      if (!isFloat(x.dtype) && !isInteger(x.dtype) && !(bool && x.dtype === "bool"))
        dtypeError(name, `takes numbers${bool ? " or bool" : ""}`, x);
      const gone = reducedAxes(name, x.shape.length, axes && valuesOf(name, "axes", axes), attrs);
      return { dtype: x.dtype, shape: reducedShape(x.shape, gone, attrs.keepDims ?? true) };
    },
    reference([x, axes], attrs, [y]) {
      const gone = new Set(reducedAxes(name, x.shape.length, axes && numbersOf(axes), attrs));
      const kept = offsetsAlong(x, (a) => !gone.has(a));
      const along = offsetsAlong(x, (a) => gone.has(a));
      if (exact && isInteger(x.dtype) && (isBig(x.dtype) || !onlyBig)) {
        const values = integersOf(x);
        const results = Array.from(kept, (k) =>
          exact(
            Array.from(along, (o) => values[k + o]),
            x.dtype,
          ),
        );
        storeIntegers(results, y);
        return;
      }
      const src = toF64(x);
      const values = new Float64Array(along.length);
      const results = new Float64Array(kept.length);
      for (let i = 0; i < kept.length; i++) {
        for (let k = 0; k < along.length; k++) values[k] = src[kept[i] + along[k]];
        const r = number(values);
        // An empty set's infinity is one of bool's two values too.
        results[i] = x.dtype === "bool" ? Number(r > 0) : r;
      }
      fromF64(results, y);
    },
  });
}

/** Sum over `axes` (default: all). Numbers of any dtype; output dtype like `x`; an empty set gives 0. */
export const reduceSum = /* @__PURE__ */ defineReduction("reduceSum", {
  number: (v) => sum(v, same),
  exact: (v) => v.reduce((s, e) => s + e, 0n),
});

/**
 * Arithmetic mean. Of integers it is truncated towards zero; the sum of 64-bit ones wraps to the dtype. An empty set gives
 * NaN, or 0.
 */
export const reduceMean = /* @__PURE__ */ defineReduction("reduceMean", {
  number: (v) => sum(v, same) / v.length,
  exact(v, dtype) {
    const total = v.reduce((s, e) => s + e, 0n);
    const wrapped = dtype === "u64" ? BigInt.asUintN(64, total) : BigInt.asIntN(64, total);
    return wrapped / BigInt(v.length || 1);
  },
  onlyBig: true,
});

/** Product. An empty set gives 1. */
export const reduceProd = /* @__PURE__ */ defineReduction("reduceProd", {
  number: (v) => v.reduce((p, e) => p * e, 1),
  exact: (v) => v.reduce((p, e) => p * e, 1n),
});

/** Maximum, also of bool. NaN wins. An empty set gives -Infinity or the dtype's smallest value. */
export const reduceMax = /* @__PURE__ */ defineReduction("reduceMax", {
  number: (v) => v.reduce((m, e) => Math.max(m, e), -Infinity),
  exact: (v, dtype) => v.reduce((m, e) => bigMax(m, e), integerRange(dtype)[0]),
  bool: true,
});

/** Minimum, also of bool. NaN wins. An empty set gives Infinity or the dtype's largest value. */
export const reduceMin = /* @__PURE__ */ defineReduction("reduceMin", {
  number: (v) => v.reduce((m, e) => Math.min(m, e), Infinity),
  exact: (v, dtype) => v.reduce((m, e) => bigMin(m, e), integerRange(dtype)[1]),
  bool: true,
});

/** Sum of absolute values. An empty set gives 0. */
export const reduceL1 = /* @__PURE__ */ defineReduction("reduceL1", {
  number: (v) => sum(v, Math.abs),
  exact: (v) => v.reduce((s, e) => s + (e < 0n ? -e : e), 0n),
});

/** Square root of the sum of squares. An empty set gives 0. */
export const reduceL2 = /* @__PURE__ */ defineReduction("reduceL2", { number: (v) => Math.sqrt(sum(v, square)) });

/** Sum of squares. An empty set gives 0. */
export const reduceSumSquare = /* @__PURE__ */ defineReduction("reduceSumSquare", {
  number: (v) => sum(v, square),
  exact: (v) => v.reduce((s, e) => s + e * e, 0n),
});

/** log of the sum. An empty set gives -Infinity. */
export const reduceLogSum = /* @__PURE__ */ defineReduction("reduceLogSum", { number: (v) => Math.log(sum(v, same)) });

/** log of the sum of exp, without overflow. An empty set gives -Infinity. */
export const reduceLogSumExp = /* @__PURE__ */ defineReduction("reduceLogSumExp", {
  number: (v) => {
    const max = v.reduce((m, e) => Math.max(m, e), -Infinity);
    if (!Number.isFinite(max)) return max;
    return max + Math.log(sum(v, (e) => Math.exp(e - max)));
  },
});

/** The axes of a shape as alternating groups, for kernels: [outerKept, outerReduced, kept, reduced]. */
export interface ReducedBlocks {
  readonly outerKept: number;
  readonly outerReduced: number;
  readonly kept: number;
  readonly reduced: number;
}

/** Undefined where more than four alternations are left, or nothing is there. */
export function blocksOf(shape: readonly number[], axes: readonly number[]): ReducedBlocks | undefined {
  const gone = new Set(axes);
  const sizes = [1, 1, 1, 1];
  // From the last axis on: even places count reduced axes, odd ones kept.
  let place = 0;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] === 0) return undefined;
    if (shape[i] === 1) continue;
    if (gone.has(i) !== (place % 2 === 0)) place++;
    if (place > 3) return undefined;
    sizes[place] *= shape[i];
  }
  const [reduced, kept, outerReduced, outerKept] = sizes;
  return { outerKept, outerReduced, kept, reduced };
}
