/** The matrix product of BLAS. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { isInteger } from "../tensor/dtype.ts";
import { applyActivation } from "./activation.ts";
import { expectDType, expectRank, sameDType } from "./check.ts";
import { checkEpilogue, type EpilogueAttrs } from "./epilogue.ts";
import { integersOf, storeIntegers } from "./integers.ts";
import { biasStrides, matmulGeometry, multiply, productDTypes } from "./matmul.ts";
import { defineOp } from "./op.ts";

export interface GemmAttrs extends EpilogueAttrs {
  /** Factor of the product. Default 1. Integer results are truncated. */
  alpha?: number;
  /** Factor of the bias. Default 1. */
  beta?: number;
  transposeA?: boolean;
  transposeB?: boolean;
}

/**
 * act(alpha a b + beta bias + residual) for a[m,k], b[k,n] (or transposed); f32 f64 f16 bf16 i32 i64 u32 u64. `bias`
 * broadcasts to [m,n], residual is [m,n]. Integers wrap. ONNX Gemm-13.
 * @throws ShapeError, DTypeError
 */
export const gemm = /* @__PURE__ */ defineOp({
  name: "gemm",
  inputs: ["a", "b", "bias?", "residual?"],
  infer([a, b, bias, residual], attrs: GemmAttrs) {
    expectDType("gemm", a, ...productDTypes);
    for (const t of [a, b]) expectRank("gemm", t, 2);
    const dtype = sameDType("gemm", a, b, bias);
    const { m, n } = matmulGeometry("gemm", a, b, attrs);
    if (bias) biasStrides(bias, [m, n]);
    return checkEpilogue("gemm", { dtype, shape: [m, n] }, n, undefined, residual, attrs.activation);
  },
  reference([a, b, bias, residual], attrs, [y]) {
    const { alpha = 1, beta = 1, activation } = attrs;
    const g = matmulGeometry("gemm", a, b, attrs);
    const { row, column } = bias ? biasStrides(bias, y.shape) : { row: 0, column: 0 };
    const biasAt = (i: number): number => Math.floor(i / g.n) * row + (i % g.n) * column;
    if (isInteger(y.dtype) && Number.isInteger(alpha) && Number.isInteger(beta)) {
      const product = new Array<bigint>(y.data.length).fill(0n);
      multiply(g, integersOf(a), integersOf(b), product, 0n);
      const c = bias && integersOf(bias);
      const r = residual && integersOf(residual);
      const exact = product.map((p, i) => BigInt(alpha) * p + (c ? BigInt(beta) * c[biasAt(i)] : 0n) + (r ? r[i] : 0n));
      return storeIntegers(exact, y);
    }
    const product = new Float64Array(y.data.length);
    multiply(g, toF64(a), toF64(b), product, 0);
    const c = bias && toF64(bias);
    const r = residual && toF64(residual);
    const values = product.map((p, i) =>
      applyActivation(activation, alpha * p + (c ? beta * c[biasAt(i)] : 0) + (r ? r[i] : 0)),
    );
    fromF64(values, y);
  },
});
