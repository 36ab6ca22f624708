/** Operators on the bits of integer tensors, with NumPy broadcasting. DTypeError for other dtypes. */
import { dtypes } from "../tensor/dtype.ts";
import { expectDomain, type IntBinary, inferBroadcast, mapBinary, mapUnary } from "./elementwise.ts";
import { defineOp, type Op } from "./op.ts";

function bitwise(name: string, f: IntBinary): Op<["a", "b"]> {
  return defineOp({
    name,
    inputs: ["a", "b"],
    inplace: true,
    infer([a, b]) {
      return inferBroadcast(name, "integer", a, b);
    },
    reference([a, b], _, [y]) {
      mapBinary(a, b, y, () => Number.NaN, f);
    },
  });
}

export const bitwiseAnd = /* @__PURE__ */ bitwise("bitwiseAnd", (a, b) => a & b);
export const bitwiseOr = /* @__PURE__ */ bitwise("bitwiseOr", (a, b) => a | b);
export const bitwiseXor = /* @__PURE__ */ bitwise("bitwiseXor", (a, b) => a ^ b);

export const bitwiseNot = /* @__PURE__ */ defineOp({
  name: "bitwiseNot",
  inputs: ["x"],
  inplace: true,
  infer([x]) {
    expectDomain("bitwiseNot", "integer", x);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x], _, [y]) {
    mapUnary(
      x,
      y,
      () => Number.NaN,
      (v) => ~v,
    );
  },
});

export interface BitShiftAttrs {
  direction: "left" | "right";
}

/**
 * a shifted by b bits: right shifts of signed integers copy the sign, bits past the width are lost. An amount that is
 * negative or not below the width leaves only copies of the sign (right), or 0.
 */
export const bitShift = /* @__PURE__ */ defineOp({
  name: "bitShift",
  inputs: ["a", "b"],
  inplace: true,
  infer([a, b], _: BitShiftAttrs) {
    return inferBroadcast("bitShift", "integer", a, b);
  },
  reference([a, b], { direction }, [y]) {
    const bits = BigInt(dtypes[a.dtype].bits);
    const shift: IntBinary =
      direction === "left"
        ? (v, n) => (n < 0n || n >= bits ? 0n : v << n)
        : (v, n) => v >> (n < 0n || n >= bits ? bits : n);
    mapBinary(a, b, y, () => Number.NaN, shift);
  },
});
