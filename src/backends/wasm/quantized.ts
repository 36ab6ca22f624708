/** Products with weights in GGUF blocks, and rows of such matrices. The weights are laid out once and stay in their few bits. */
import { type QuantizedMatmulAttrs, quantizedGather, quantizedMatmul } from "../../ops/quantized-matmul.ts";
import type { BlockType } from "../../tensor/blocks/types.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { KernelInput } from "../backend.ts";
import { dotAddOf } from "./dot-add.ts";
import { hasActivation } from "./kernels/activations.ts";
import { hasKernels, matrixOf } from "./kernels/quantized-matrix.ts";
import type { StoredMatrix } from "./kernels/stored-panels.ts";
import { type WasmKernels, wasmKernel } from "./step.ts";
import { dotStep, gatherStep, panelStep, type StoredProduct } from "./stored-product.ts";

/**
 * Whether some product has no kernel here, by its weights: other blocks, or none that are constant.
 * @param dtypes as `load` gets them
 */
export function leavesOut(dtypes: readonly string[]): boolean {
  const blocks = dtypes.filter((t) => t.startsWith("blocks:"));
  return blocks.length === 0 || !blocks.every((t) => hasKernels(t.slice("blocks:".length) as BlockType));
}

export const quantizedKernels: WasmKernels = (target) => {
  const host = { fma: target.features.fma, dotAdd: dotAddOf(target.features) };
  /** A model has few sizes of matrices, and many of each. */
  const known = new Map<string, StoredMatrix | undefined>();
  const matrix = (type: BlockType, n: number, k: number): StoredMatrix | undefined => {
    const key = `${type} ${n} ${k}`;
    if (!known.has(key)) known.set(key, matrixOf(type, n, k, host));
    return known.get(key);
  };
  /** The product if the type has kernels, and the weights are constant. */
  const product = ([x, w]: readonly KernelInput[], attrs: QuantizedMatmulAttrs): StoredProduct | undefined => {
    const { type, n, k, activation, exact } = attrs;
    const m = k === 0 ? 0 : sizeOf(x.shape) / k;
    if (!w.constant || m * n === 0 || !hasActivation(activation)) return undefined;
    const found = matrix(type, n, k);
    return found && { m, matrix: found, activation, exact };
  };
  return [
    wasmKernel(quantizedMatmul, "wasm/quantizedMatmul/panels", (inputs, _, attrs) => {
      const p = product(inputs, attrs);
      return p && (attrs.exact || p.m >= p.matrix.manyRows) ? panelStep(target, p) : undefined;
    }),
    wasmKernel(quantizedMatmul, "wasm/quantizedMatmul/dot", (inputs, _, attrs) => {
      const p = product(inputs, attrs);
      return p && p.m < p.matrix.manyRows ? dotStep(target, p) : undefined;
    }),
    wasmKernel(quantizedGather, "wasm/quantizedGather/panel", ([indices, w], _, { type, rows, k }) => {
      const found = w.constant && rows * k > 0 ? matrix(type, rows, k) : undefined;
      return found && gatherStep(target, found, indices, { table: 1, indices: 0 });
    }),
  ];
};
