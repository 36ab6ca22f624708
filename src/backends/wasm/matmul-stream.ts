/**
 * matmul with a B that is made at run time and lies as [k, n], for up to 128 rows: B is never packed as a whole.
 *
 *   stream   up to 6 rows: nothing is packed
 *   groups   panels of B are packed right before their use
 */
import { type MatmulGeometry, matmul, matmulGeometry } from "../../ops/matmul.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { Operand } from "./assembler.ts";
import { emitGroups, GROUP_ROWS, groupPanels, groupWorkspaceBytes } from "./kernels/gemm-groups.ts";
import { emitStream, STREAM_ROWS } from "./kernels/gemm-stream.ts";
import { forShares, isF32, matrixOf } from "./matmul.ts";
import { alignUp } from "./memory.ts";
import { addressOf, productWork, type WasmKernels, type WasmStep, type WasmTarget, wasmKernel } from "./step.ts";

function streamStep({ threads, features: { fma } }: WasmTarget, g: MatmulGeometry): WasmStep {
  const { m, n, k } = g;
  const batches = sizeOf(g.batch);
  const own = m > STREAM_ROWS ? alignUp(groupWorkspaceBytes(m, k, n)) : 0;
  return {
    workspaceBytes: own * threads,
    work: productWork(batches * m * n * k, m === 1),
    alike: true,
    emit(e) {
      const { f } = e;
      const [a, b] = e.inputs;
      const [c] = e.outputs;
      const product = (batch: Operand<"i32">, from: Operand<"i32">, count: Operand<"i32">) => {
        const at = {
          a: addressOf(a, matrixOf(f, batch, g.batch, g.aBatch), 4 * m * k),
          lda: 4 * k,
          b: addressOf(addressOf(b, matrixOf(f, batch, g.batch, g.bBatch), 4 * k * n), from, 4),
          ldb: 4 * n,
          c: addressOf(addressOf(c, batch, 4 * m * n), from, 4),
          ldc: 4 * n,
          m,
          n: count,
          k,
        };
        if (own)
          f.call(
            e.shared("groups", (module) => emitGroups(module, { name: "groups", fma })),
            { ...at, group: groupPanels(k, n), workspace: addressOf(e.workspace, e.thread, own) },
          );
        else
          f.call(
            e.shared("stream", (module) => emitStream(module, { name: "stream", fma })),
            at,
          );
      };
      forShares(e, batches, n, product);
    },
  };
}

export const streamKernels: WasmKernels = (target) =>
  [
    { name: "groups", least: STREAM_ROWS + 1, most: GROUP_ROWS },
    { name: "stream", least: 1, most: STREAM_ROWS },
  ].map(({ name, least, most }) =>
    wasmKernel(matmul, `wasm/matmul-${name}`, ([a, b, bias, residual], _, attrs) => {
      const { alpha = 1, transposeA, transposeB, activation } = attrs;
      if (b.constant || bias || residual || transposeA || transposeB || activation || alpha !== 1) return undefined;
      const g = matmulGeometry("matmul", a, b, attrs);
      const fits = g.m >= least && g.m <= most && g.n * g.k > 0 && sizeOf(g.batch) > 0;
      return isF32(a, b) && fits ? streamStep(target, g) : undefined;
    }),
  );
