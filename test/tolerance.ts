/** How far a kernel may be from its float64 reference: |got - want| <= absolute + relative * |want|. One table. */
import type { DType } from "../src/tensor/dtype.ts";

export interface Tolerance {
  absolute: number;
  relative: number;
}

const byDType: Partial<Record<DType, Tolerance>> = {
  f64: { absolute: 1e-12, relative: 1e-10 },
  f32: { absolute: 1e-5, relative: 1e-5 },
  f16: { absolute: 1e-3, relative: 2 ** -9 },
  bf16: { absolute: 1e-2, relative: 2 ** -6 },
};

/** Sums of many products in f32 lose more than one rounding. */
const byOp: Record<string, Partial<Record<DType, Tolerance>>> = {
  matmul: { f32: { absolute: 2e-4, relative: 1e-5 } },
  gemm: { f32: { absolute: 2e-4, relative: 1e-5 } },
  conv: { f32: { absolute: 2e-4, relative: 1e-5 } },
  convTranspose: { f32: { absolute: 2e-4, relative: 1e-5 } },
};

export function toleranceOf(op: string, dtype: DType): Tolerance {
  return byOp[op]?.[dtype] ?? byDType[dtype] ?? { absolute: 0, relative: 0 };
}
