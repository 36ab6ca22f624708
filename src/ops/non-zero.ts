import { toF64 } from "../tensor/convert.ts";
import { stridesOf } from "../tensor/shape.ts";
import { expectTensor } from "./host-values.ts";
import { i64Tensor } from "./indices.ts";
import { defineOp } from "./op.ts";

/** Indices of the elements that are not zero, as i64[rank, count], in row-major order. A scalar gives [0, count]. */
export const nonZero = /* @__PURE__ */ defineOp({
  name: "nonZero",
  inputs: ["x"],
  evaluate([value]) {
    const x = expectTensor("nonZero", value);
    const set: number[] = [];
    const isSet = x.dtype === "string" ? (x.data as string[]).map((s) => (s === "" ? 0 : 1)) : toF64(x);
    for (let i = 0; i < isSet.length; i++) if (isSet[i] !== 0) set.push(i);
    const coordinates = stridesOf(x.shape).map((s, a) => set.map((i) => Math.floor(i / s) % x.shape[a]));
    return [i64Tensor(coordinates.flat(), [x.shape.length, set.length])];
  },
});
