/** matmul of few rows and a B that is made at run time and lies as [k, n]: nothing is packed. */
import { type MatmulGeometry, matmul, matmulGeometry } from "../../ops/matmul.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { Operand } from "./assembler.ts";
import { emitStream, STREAM_ROWS } from "./kernels/gemm-stream.ts";
import { forShares, isF32, matrixOf } from "./matmul.ts";
import { addressOf, productWork, type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

function streamStep(g: MatmulGeometry): WasmStep {
  const { m, n, k } = g;
  const batches = sizeOf(g.batch);
  return {
    work: productWork(batches * m * n * k, m === 1),
    alike: true,
    emit(e) {
      const { f } = e;
      const [a, b] = e.inputs;
      const [c] = e.outputs;
      const fn = e.shared("stream", (module) =>
        emitStream(module, { name: "stream", fma: e.target.features.relaxedSimd }),
      );
      const product = (batch: Operand<"i32">, from: Operand<"i32">, count: Operand<"i32">) =>
        f.call(fn, {
          a: addressOf(a, matrixOf(f, batch, g.batch, g.aBatch), 4 * m * k),
          lda: 4 * k,
          b: addressOf(addressOf(b, matrixOf(f, batch, g.batch, g.bBatch), 4 * k * n), from, 4),
          ldb: 4 * n,
          c: addressOf(addressOf(c, batch, 4 * m * n), from, 4),
          ldc: 4 * n,
          m,
          n: count,
          k,
        });
      forShares(e, batches, n, product);
    },
  };
}

export const streamKernels: WasmKernels = () => [
  wasmKernel(matmul, "wasm/matmul-stream", ([a, b, bias, residual], _, attrs) => {
    const { alpha = 1, transposeA, transposeB, activation } = attrs;
    if (b.constant || bias || residual || transposeA || transposeB || activation || alpha !== 1) return undefined;
    const g = matmulGeometry("matmul", a, b, attrs);
    const fits = g.m <= STREAM_ROWS && g.m * g.n * g.k > 0 && sizeOf(g.batch) > 0;
    return isF32(a, b) && fits ? streamStep(g) : undefined;
  }),
];
