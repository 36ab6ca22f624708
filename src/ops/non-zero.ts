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
    const isSet = x.dtype === "string" ? (x.data as string[]).map((s) => (s === "" ? 0 : 1)) : toF64(x);
    const set = new Int32Array(isSet.length);
    let count = 0;
    for (let i = 0; i < isSet.length; i++) if (isSet[i] !== 0) set[count++] = i;
    const coordinates = new Float64Array(x.shape.length * count);
    stridesOf(x.shape).forEach((s, a) => {
      const size = x.shape[a];
      for (let k = 0, j = a * count; k < count; k++, j++) coordinates[j] = Math.floor(set[k] / s) % size;
    });
    return [i64Tensor(coordinates, [x.shape.length, count])];
  },
});
