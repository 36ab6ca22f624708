/** Logic on bool tensors, with NumPy broadcasting. DTypeError for other dtypes. */
import { expectDomain, type FloatBinary, inferBroadcast, mapBinary, mapUnary } from "./elementwise.ts";
import { defineOp, type Op } from "./op.ts";

function logical(name: string, f: FloatBinary): Op<["a", "b"]> {
  return defineOp({
    name,
    inputs: ["a", "b"],
    inplace: true,
    infer([a, b]) {
      return inferBroadcast(name, "bool", a, b);
    },
    reference([a, b], _, [y]) {
      mapBinary(a, b, y, f);
    },
  });
}

export const and = /* @__PURE__ */ logical("and", (a, b) => (a && b ? 1 : 0));
export const or = /* @__PURE__ */ logical("or", (a, b) => (a || b ? 1 : 0));
export const xor = /* @__PURE__ */ logical("xor", (a, b) => (!a !== !b ? 1 : 0));

export const not = /* @__PURE__ */ defineOp({
  name: "not",
  inputs: ["x"],
  inplace: true,
  infer([x]) {
    expectDomain("not", "bool", x);
    return { dtype: "bool", shape: x.shape };
  },
  reference([x], _, [y]) {
    mapUnary(x, y, (v) => (v ? 0 : 1));
  },
});
