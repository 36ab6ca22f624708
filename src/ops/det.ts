import { fromF64, toF64 } from "../tensor/convert.ts";
import { expectFloat, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

/**
 * Determinants of square matrices [..., M, M]: [...]. Gaussian elimination with partial pivoting; 1 for M = 0.
 * @throws ShapeError for matrices that are not square
 */
export const det = /* @__PURE__ */ defineOp({
  name: "det",
  inputs: ["x"],
  infer([x]) {
    expectFloat("det", x);
    const rank = x.shape.length;
    if (rank < 2 || x.shape[rank - 1] !== x.shape[rank - 2]) shapeError("det", "takes square matrices", x);
    return { dtype: x.dtype, shape: x.shape.slice(0, -2) };
  },
  reference([x], _, [y]) {
    const m = x.shape[x.shape.length - 1];
    const src = toF64(x);
    const out = Float64Array.from({ length: y.data.length }, (_, i) =>
      determinant(src.slice(i * m * m, (i + 1) * m * m), m),
    );
    fromF64(out, y);
  },
});

/** Destroys `a`, m x m in rows. */
function determinant(a: Float64Array, m: number): number {
  let result = 1;
  for (let k = 0; k < m; k++) {
    let pivot = k;
    for (let i = k + 1; i < m; i++) if (Math.abs(a[i * m + k]) > Math.abs(a[pivot * m + k])) pivot = i;
    if (pivot !== k) {
      result = -result;
      for (let j = k; j < m; j++) [a[k * m + j], a[pivot * m + j]] = [a[pivot * m + j], a[k * m + j]];
    }
    const p = a[k * m + k];
    result *= p;
    if (p === 0) return 0;
    for (let i = k + 1; i < m; i++) {
      const factor = a[i * m + k] / p;
      for (let j = k + 1; j < m; j++) a[i * m + j] -= factor * a[k * m + j];
    }
  }
  return result;
}
