/** softmax and logSoftmax, f32, along any axis. */
import { aroundAxis, logSoftmax, softmax } from "../../ops/softmax.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { Kernel } from "../backend.ts";
import { emitSoftmaxColumns, emitSoftmaxRow } from "./kernels/vector-norm.ts";
import { emitCells, emitColumns } from "./kernels/vector-walk.ts";
import { type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

/** Multiply-adds that an exponential costs. */
const expWork = 10;

const softmaxKernel = (op: typeof softmax, logarithm: boolean): Kernel<WasmStep> =>
  wasmKernel(op, `wasm/${op.op.name}/axis`, ([x], _, { axis = -1 }) => {
    const { outer, n, inner } = aroundAxis(op.op.name, x.shape, axis);
    const elements = sizeOf(x.shape);
    if (x.dtype !== "f32" || elements === 0) return undefined;
    return {
      inplace: true,
      work: expWork * elements,
      emit(e) {
        const bases = [e.inputs[0], e.outputs[0]];
        const cells = { size: outer, steps: [4 * n * inner, 4 * n * inner] };
        if (inner === 1) {
          const name = `${op.op.name}/row`;
          const fn = e.shared(name, (m) => emitSoftmaxRow(m, name, logarithm));
          emitCells(e, [cells], bases, ([at, y]) => e.f.call(fn, { x: at, y, n }));
          return;
        }
        const name = `${op.op.name}/columns`;
        const fn = e.shared(name, (m) => emitSoftmaxColumns(m, name, logarithm));
        const columns = { size: inner, steps: [4, 4] };
        emitColumns(e, [cells], columns, bases, ([at, y], count) =>
          e.f.call(fn, { x: at, y, columns: count, rows: n, stride: 4 * inner }),
        );
      },
    };
  });

export const softmaxKernels: WasmKernels = () => [softmaxKernel(softmax, false), softmaxKernel(logSoftmax, true)];
