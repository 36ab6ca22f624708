/**
 * Arithmetic of two tensors of one dtype with NumPy broadcasting. ShapeError where shapes do not broadcast, DTypeError
 * where dtypes differ or the operator has no meaning for them. Integers wrap.
 */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { isInteger } from "../tensor/dtype.ts";
import { broadcastShapes, sameShape } from "../tensor/shape.ts";
import { shapeError } from "./check.ts";
import {
  broadcastMap,
  expectDomain,
  type FloatBinary,
  type IntBinary,
  inferBroadcast,
  mapBinary,
} from "./elementwise.ts";
import { integersOf, storeIntegers, wrapInteger } from "./integers.ts";
import { defineOp, type Op } from "./op.ts";
import { sigmoid } from "./special.ts";

type Binary<A = object> = Op<["a", "b"], never, readonly ["y"], A>;

function binary(name: string, float: FloatBinary, integer: IntBinary): Binary {
  return defineOp({
    name,
    inputs: ["a", "b"],
    inplace: true,
    infer([a, b]) {
      return inferBroadcast(name, "numeric", a, b);
    },
    reference([a, b], _, [y]) {
      mapBinary(a, b, y, float, integer);
    },
  });
}

export const add = /* @__PURE__ */ binary(
  "add",
  (a, b) => a + b,
  (a, b) => a + b,
);
export const sub = /* @__PURE__ */ binary(
  "sub",
  (a, b) => a - b,
  (a, b) => a - b,
);
export const mul = /* @__PURE__ */ binary(
  "mul",
  (a, b) => a * b,
  (a, b) => a * b,
);
/** Integers truncate towards zero; an integer divided by 0 gives 0. */
export const div = /* @__PURE__ */ binary(
  "div",
  (a, b) => a / b,
  (a, b) => (b === 0n ? 0n : a / b),
);
/** The smaller; NaN if either is. */
export const min = /* @__PURE__ */ binary("min", Math.min, (a, b) => [a, b][Number(b < a)]);
/** The larger; NaN if either is. */
export const max = /* @__PURE__ */ binary("max", Math.max, (a, b) => [a, b][Number(b > a)]);

/** x where x >= 0, else slope x. `slope` broadcasts to the shape of `x`, not the other way round. */
export const prelu = /* @__PURE__ */ defineOp({
  name: "prelu",
  inputs: ["x", "slope"],
  inplace: true,
  infer([x, slope]) {
    const y = inferBroadcast("prelu", "numeric", x, slope);
    if (!sameShape(y.shape, x.shape)) shapeError("prelu", "slope does not broadcast to x", x, slope);
    return y;
  },
  reference([x, slope], _, [y]) {
    mapBinary(
      x,
      slope,
      y,
      (v, s) => (v < 0 ? s * v : v),
      (v, s) => (v < 0n ? s * v : v),
    );
  },
});

/** swish(a) b: the gated activation of Shazeer 2020, both inputs of one shape. alpha: default 1. */
export const swiglu = /* @__PURE__ */ defineOp({
  name: "swiglu",
  inputs: ["a", "b"],
  inplace: true,
  infer([a, b], _: { alpha?: number }) {
    if (!sameShape(a.shape, b.shape)) shapeError("swiglu", "inputs differ in shape", a, b);
    return inferBroadcast("swiglu", "float", a, b);
  },
  reference([a, b], { alpha = 1 }, [y]) {
    mapBinary(a, b, y, (v, w) => v * sigmoid(alpha * v) * w);
  },
});

export interface ModAttrs {
  /** The quotient is truncated (the sign of `a`, as C fmod) instead of floored (the sign of `b`). Default false. */
  fmod?: boolean;
}

/** Remainder of the division. Integers: 0 for a divisor of 0; floats: NaN. */
export const mod = /* @__PURE__ */ defineOp({
  name: "mod",
  inputs: ["a", "b"],
  inplace: true,
  infer([a, b], _: ModAttrs) {
    return inferBroadcast("mod", "numeric", a, b);
  },
  reference([a, b], { fmod = false }, [y]) {
    if (fmod) mapBinary(a, b, y, (p, q) => p % q, truncatedRemainder);
    else mapBinary(a, b, y, flooredRemainder, flooredRemainderBig);
  },
});

const truncatedRemainder: IntBinary = (a, b) => (b === 0n ? 0n : a % b);

export function flooredRemainder(a: number, b: number): number {
  const r = a % b;
  if (r === 0) return b < 0 || Object.is(b, -0) ? -0 : 0;
  return r < 0 !== b < 0 ? r + b : r;
}

function flooredRemainderBig(a: bigint, b: bigint): bigint {
  const r = truncatedRemainder(a, b);
  return r !== 0n && r < 0n !== b < 0n ? r + b : r;
}

/** x to the power of `exponent`, whose dtype may differ; the result has the dtype of `x`. */
export const pow = /* @__PURE__ */ defineOp({
  name: "pow",
  inputs: ["x", "exponent"],
  inplace: true,
  infer([x, exponent]) {
    expectDomain("pow", "numeric", x, exponent);
    return { dtype: x.dtype, shape: broadcastShapes("pow", x.shape, exponent.shape) };
  },
  reference([x, exponent], _, [y]) {
    if (isInteger(x.dtype) && isInteger(exponent.dtype)) {
      const power: IntBinary = (b, e) => integerPower(b, e, (v) => wrapInteger(x.dtype, v));
      storeIntegers(broadcastMap(x, exponent, y, integersOf(x), integersOf(exponent), power), y);
    } else fromF64(broadcastMap(x, exponent, y, toF64(x), toF64(exponent), powF64), y);
  },
});

/** IEEE 754 pow: unlike Math.pow, 1 to any power is 1, and so is -1 to an infinite one. */
export function powF64(x: number, e: number): number {
  return x === 1 || (x === -1 && (e === Infinity || e === -Infinity)) ? 1 : x ** e;
}

/** By squaring, wrapped at each step. Negative powers truncate: only 1 and -1 have any that are not 0. */
function integerPower(base: bigint, exponent: bigint, wrap: (v: bigint) => bigint): bigint {
  if (exponent < 0n) return base === 1n ? 1n : base === -1n ? (exponent % 2n ? -1n : 1n) : 0n;
  let y = 1n;
  for (let e = exponent, b = base; e > 0n; e >>= 1n, b = wrap(b * b)) if (e & 1n) y = wrap(y * b);
  return y;
}
