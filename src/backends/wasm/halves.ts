/** Products with constant matrices that are 16-bit floats in memory, and rows of these: see kernels/quantized-floats.ts. */
import { gather } from "../../ops/gather.ts";
import { gemm } from "../../ops/gemm.ts";
import { type MatmulAttrs, matmul, matmulGeometry } from "../../ops/matmul.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { KernelInput } from "../backend.ts";
import { hasActivation } from "./kernels/activations.ts";
import { floatMatrix } from "./kernels/float-matrix.ts";
import { storedAs } from "./kernels/half.ts";
import type { StoredMatrix } from "./kernels/stored-panels.ts";
import { type WasmKernels, type WasmStep, type WasmTarget, wasmKernel } from "./step.ts";
import { dotStep, gatherStep, panelStep } from "./stored-product.ts";

/** The matrix at an input, if it is one of 16-bit floats. @param transposed it lies as n rows of k */
function matrixAt(
  target: WasmTarget,
  inputs: readonly KernelInput[],
  input: number,
  size: { n: number; k: number; transposed: boolean },
): StoredMatrix | undefined {
  const type = storedAs(inputs[input]);
  return type && floatMatrix({ type, ...size }, target.features.fma, input);
}

/** @param column bias is a vector along the columns */
function planProduct(
  target: WasmTarget,
  inputs: readonly KernelInput[],
  attrs: MatmulAttrs,
  column: boolean,
): WasmStep | undefined {
  const [a, b, bias] = inputs;
  const { alpha = 1, transposeA = false, transposeB = false, activation } = attrs;
  if (b.shape.length !== 2 || transposeA || alpha !== 1 || (bias && !column)) return undefined;
  const g = matmulGeometry("matmul", a, b, attrs);
  const m = g.m * sizeOf(g.batch);
  const matrix = matrixAt(target, inputs, 1, { n: g.n, k: g.k, transposed: transposeB });
  if (!matrix || m * g.n * g.k === 0 || !hasActivation(activation)) return undefined;
  const product = { m, matrix, activation };
  return m < matrix.manyRows ? dotStep(target, product) : panelStep(target, product);
}

/** Whether C of a gemm is a row of columns. */
const isColumn = (c: TensorType | undefined, n: number): boolean =>
  c !== undefined && sizeOf(c.shape) === n && c.shape[c.shape.length - 1] === n;

export const halvesKernels: WasmKernels = (target) => [
  wasmKernel(matmul, "wasm/matmul/halves", (inputs, _, attrs) => planProduct(target, inputs, attrs, true)),
  wasmKernel(gemm, "wasm/gemm/halves", (inputs, [y], attrs) =>
    inputs[2] && (attrs.beta ?? 1) !== 1
      ? undefined
      : planProduct(target, inputs, attrs, isColumn(inputs[2], y.shape[1])),
  ),
  wasmKernel(gather, "wasm/gather/halves", (inputs, _, { axis = 0 }) => {
    const [table, indices] = inputs;
    if (table.shape.length !== 2 || axis !== 0 || (indices.dtype !== "i32" && indices.dtype !== "i64"))
      return undefined;
    const [n, k] = table.shape;
    const matrix = n * k > 0 ? matrixAt(target, inputs, 0, { n, k, transposed: true }) : undefined;
    return matrix && gatherStep(target, matrix, indices, { table: 0, indices: 1 });
  }),
];
