/** Matrix products: one thread an element, over rows and columns wherever they lie. */
import { gemm } from "../../ops/gemm.ts";
import { biasStrides, type MatmulGeometry, matmul, matmulGeometry } from "../../ops/matmul.ts";
import { activationCode, gpuKernel, literal, offsetBy, quotient, remainder } from "./code.ts";

/** Declares `sum`, the product's element i. */
function product({ m, n, k, batch, aBatch, bBatch, aStrides, bStrides }: MatmulGeometry): string {
  const matrix = quotient("i", m * n);
  const start = (strides: readonly number[], size: number): string =>
    offsetBy(
      strides.map((s) => s * size),
      batch,
      matrix,
    );
  return `
    const i = this.thread.x;
    const row = ${remainder(quotient("i", n), m)};
    const column = ${remainder("i", n)};
    const from = ${start(aBatch, m * k)} + row * ${aStrides.row};
    const to = ${start(bBatch, k * n)} + column * ${bStrides.column};
    let sum = 0;
    for (let p = 0; p < ${k}; p++) { sum += a[from + p * ${aStrides.column}] * b[to + p * ${bStrides.row}]; }`;
}

export const matmulKernels = [
  gpuKernel(matmul, "element", ([a, b, bias, residual], _, attrs) => {
    const { alpha = 1, activation } = attrs;
    const g = matmulGeometry("matmul", a, b, attrs);
    return `${product(g)}
      const v = sum * ${literal(alpha)}${bias ? " + bias[column]" : ""}${residual ? " + residual[i]" : ""};
      return ${activationCode(activation, "v")};`;
  }),
  gpuKernel(gemm, "element", ([a, b, bias, residual], y, attrs) => {
    const { alpha = 1, beta = 1, activation } = attrs;
    const g = matmulGeometry("gemm", a, b, attrs);
    const { row, column } = bias ? biasStrides(bias, y.shape) : { row: 0, column: 0 };
    const added = bias ? ` + ${literal(beta)} * bias[row * ${row} + column * ${column}]` : "";
    return `${product(g)}
      const v = sum * ${literal(alpha)}${added}${residual ? " + residual[i]" : ""};
      return ${activationCode(activation, "v")};`;
  }),
];
