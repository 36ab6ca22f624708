import { fromF64, toF64 } from "../tensor/convert.ts";
import { isBig } from "../tensor/dtype.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { dtypeError, sameDType, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

function count(start: HostTensor, limit: HostTensor, delta: HostTensor): number {
  if (isBig(start.dtype)) {
    const [a, b, d] = [start, limit, delta].map((t) => t.data[0] as bigint);
    if (d === 0n) shapeError("range", "delta is 0");
    const span = d > 0n ? b - a : a - b;
    const step = d > 0n ? d : -d;
    return span <= 0n ? 0 : Number((span + step - 1n) / step);
  }
  const [a, b, d] = [start, limit, delta].map((t) => toF64(t)[0]);
  const n = Math.ceil((b - a) / d);
  if (d === 0 || !Number.isFinite(n)) shapeError("range", `from ${a} to ${b} by ${d} has no end`);
  return Math.max(0, n);
}

/**
 * start, start + delta, ... before limit, 1-D. The inputs are scalars of one numeric dtype, which is the result's.
 * @throws ShapeError for a delta of 0
 */
export const range = /* @__PURE__ */ defineOp({
  name: "range",
  inputs: ["start", "limit", "delta"],
  host: ["start", "limit", "delta"],
  infer([start, limit, delta]) {
    const dtype = sameDType("range", start, limit, delta);
    if (dtype === "string" || dtype === "bool") dtypeError("range", "takes numbers", start);
    for (const t of [start, limit, delta]) if (sizeOf(t.shape) !== 1) shapeError("range", "takes scalars", t);
    if (!start.value || !limit.value || !delta.value)
      shapeError("range", "its inputs must be known before shapes can be");
    return { dtype, shape: [count(start.value, limit.value, delta.value)] };
  },
  reference([start, , delta], _, [y]) {
    if (isBig(y.dtype)) {
      const d = y.data as BigInt64Array;
      let v = start.data[0] as bigint;
      for (let i = 0; i < d.length; i++, v += delta.data[0] as bigint) d[i] = v;
      return;
    }
    const from = toF64(start)[0];
    const by = toF64(delta)[0];
    fromF64(
      Float64Array.from(y.data as Float32Array, (_, i) => from + i * by),
      y,
    );
  },
});
