/** How far a kernel may be from its float64 reference: |got - want| <= absolute + relative * |want|. One table. */
import { dequantizeRows, type QuantizedMatmulAttrs } from "../src/ops/quantized-matmul.ts";
import { ggufTypeNamed, ggufTypes } from "../src/tensor/blocks/types.ts";
import type { DType } from "../src/tensor/dtype.ts";
import type { OpCase } from "./cases/case.ts";

export interface Tolerance {
  /** For all elements, or for each. */
  absolute: number | ArrayLike<number>;
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

/** Operators that may round their inputs: what that allows depends on them. */
const byCase: Record<string, (c: OpCase) => Tolerance | undefined> = {
  quantizedMatmul: eightBitActivations,
  // A state that differs in its last bit may round to the next of 255 values.
  lstm: ({ attrs }) => (attrs["quantizeState"] ? { absolute: 0.02, relative: 0 } : undefined),
};

/** Pass the case where there is one: some operators have no tolerance that would suit all. */
export function toleranceOf(op: string, dtype: DType, c?: OpCase): Tolerance {
  const own = c && byCase[op]?.(c);
  return own ?? byOp[op]?.[dtype] ?? byDType[dtype] ?? { absolute: 0, relative: 0 };
}

/** No activation of the cases is steeper (gelu's slope reaches 1.129). */
const steepest = 1.13;

/**
 * Each 32 elements of x may be rounded to multiples of their largest magnitude / 127, which moves each by up to half of
 * that: y by max|x| / 254 times the sum of |w| over the block. To that comes rounding of sums in f32, 2^-16 of the sum
 * of all |x w|. Types without blocks are floats and integers: their products are in f32.
 */
function eightBitActivations({ inputs: [x, w], attrs }: OpCase): Tolerance {
  const { type, n, k } = attrs as unknown as QuantizedMatmulAttrs;
  const rounded = ggufTypes[ggufTypeNamed(type)].blockSize > 1;
  const weights = dequantizeRows({ type, k }, w!.data as Uint8Array, n);
  const activations = x!.data as Float32Array;
  const m = activations.length / k;
  const absolute = new Float64Array(m * n);
  for (let at = 0, end = 0; at < m * k; at = end) {
    end = Math.min(at + 32, Math.ceil((at + 1) / k) * k);
    const block = activations.subarray(at, end).map(Math.abs);
    const half = rounded ? Math.max(...block) / 254 : 0;
    const row = Math.floor(at / k);
    for (let r = 0; r < n; r++)
      block.forEach((v, i) => {
        absolute[row * n + r] += steepest * Math.abs(weights[r * k + (at % k) + i]) * (half + v * 2 ** -16);
      });
  }
  return { absolute: absolute.map((v) => v + 1e-6), relative: 1e-6 };
}
