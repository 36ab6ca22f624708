/** Comparisons of two tensors of one dtype with NumPy broadcasting, and float classification. Results are bool. */
import { toF64 } from "../tensor/convert.ts";
import { isBig } from "../tensor/dtype.ts";
import { broadcastShapes } from "../tensor/shape.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { expectFloat, sameDType } from "./check.ts";
import { broadcastMap, expectDomain } from "./elementwise.ts";
import { defineOp, type Op } from "./op.ts";

type Comparable = number | bigint | string;

const elements = (t: HostTensor): ArrayLike<Comparable> =>
  t.dtype === "string" || isBig(t.dtype) ? (t.data as ArrayLike<Comparable>) : toF64(t);

/** `any`: strings and bool too. */
function comparison(name: string, any: boolean, f: (a: Comparable, b: Comparable) => boolean): Op<["a", "b"]> {
  return defineOp({
    name,
    inputs: ["a", "b"],
    infer([a, b]) {
      if (!any) expectDomain(name, "numeric", a, b);
      sameDType(name, a, b);
      return { dtype: "bool", shape: broadcastShapes(name, a.shape, b.shape) };
    },
    reference([a, b], _, [y]) {
      (y.data as Uint8Array).set(broadcastMap(a, b, y, elements(a), elements(b), (p, q) => (f(p, q) ? 1 : 0)));
    },
  });
}

/** Any dtype. NaN equals nothing. */
export const equal = /* @__PURE__ */ comparison("equal", true, (a, b) => a === b);
export const greater = /* @__PURE__ */ comparison("greater", false, (a, b) => a > b);
export const greaterOrEqual = /* @__PURE__ */ comparison("greaterOrEqual", false, (a, b) => a >= b);
export const less = /* @__PURE__ */ comparison("less", false, (a, b) => a < b);
export const lessOrEqual = /* @__PURE__ */ comparison("lessOrEqual", false, (a, b) => a <= b);

export const isNan = /* @__PURE__ */ defineOp({
  name: "isNan",
  inputs: ["x"],
  infer([x]) {
    expectFloat("isNan", x);
    return { dtype: "bool", shape: x.shape };
  },
  reference([x], _, [y]) {
    toF64(x).forEach((v, i) => {
      y.data[i] = Number.isNaN(v) ? 1 : 0;
    });
  },
});

export interface IsInfAttrs {
  /** Default true. */
  detectNegative?: boolean;
  /** Default true. */
  detectPositive?: boolean;
}

export const isInf = /* @__PURE__ */ defineOp({
  name: "isInf",
  inputs: ["x"],
  infer([x], _: IsInfAttrs) {
    expectFloat("isInf", x);
    return { dtype: "bool", shape: x.shape };
  },
  reference([x], { detectNegative = true, detectPositive = true }, [y]) {
    toF64(x).forEach((v, i) => {
      y.data[i] = (v === Infinity && detectPositive) || (v === -Infinity && detectNegative) ? 1 : 0;
    });
  },
});
