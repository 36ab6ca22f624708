/** Products with weights in GGUF blocks, and rows of such matrices. The weights are laid out once and stay in their few bits. */
import { type QuantizedMatmulAttrs, quantizedGather, quantizedMatmul } from "../../ops/quantized-matmul.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { KernelInput } from "../backend.ts";
import { hasActivation } from "./kernels/activations.ts";
import { matrixOf } from "./kernels/quantized-matrix.ts";
import { type WasmKernels, type WasmTarget, wasmKernel } from "./step.ts";
import { dotStep, gatherStep, panelStep, type StoredProduct } from "./stored-product.ts";

/** The product if the type has kernels, and the weights are constant. */
function productOf(
  target: WasmTarget,
  [x, w]: readonly KernelInput[],
  { type, n, k, activation, exact }: QuantizedMatmulAttrs,
): StoredProduct | undefined {
  const matrix = matrixOf(type, n, k, target.features.relaxedSimd);
  const m = k === 0 ? 0 : sizeOf(x.shape) / k;
  return matrix && w.constant && m * n > 0 && hasActivation(activation) ? { m, matrix, activation, exact } : undefined;
}

export const quantizedKernels: WasmKernels = (target) => [
  wasmKernel(quantizedMatmul, "wasm/quantizedMatmul/panels", (inputs, _, attrs) => {
    const p = productOf(target, inputs, attrs);
    return p && (attrs.exact || p.m >= p.matrix.manyRows) ? panelStep(target, p) : undefined;
  }),
  wasmKernel(quantizedMatmul, "wasm/quantizedMatmul/dot", (inputs, _, attrs) => {
    const p = productOf(target, inputs, attrs);
    return p && p.m < p.matrix.manyRows ? dotStep(target, p) : undefined;
  }),
  wasmKernel(quantizedGather, "wasm/quantizedGather/panel", ([indices, w], _, { type, rows, k }) => {
    const matrix = matrixOf(type, rows, k, target.features.relaxedSimd);
    return matrix && w.constant && rows * k > 0
      ? gatherStep(target, matrix, indices, { table: 1, indices: 0 })
      : undefined;
  }),
];
