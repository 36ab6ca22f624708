/** lpNorm, f32, along any axis. */
import { lpNorm } from "../../ops/local-norm.ts";
import { aroundAxis } from "../../ops/softmax.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { emitLpNormColumns, emitLpNormRow } from "./kernels/vector-lp-norm.ts";
import { emitCells, emitColumns } from "./kernels/vector-walk.ts";
import { type WasmKernels, wasmKernel } from "./step.ts";

export const lpNormKernels: WasmKernels = () => [
  wasmKernel(lpNorm, "wasm/lpNorm/axis", ([x], _, { axis = -1, p = 2 }) => {
    const { outer, n, inner } = aroundAxis("lpNorm", x.shape, axis);
    const elements = sizeOf(x.shape);
    if (x.dtype !== "f32" || elements === 0) return undefined;
    return {
      inplace: true,
      work: 4 * elements,
      emit(e) {
        const bases = [e.inputs[0], e.outputs[0]];
        const cells = { size: outer, steps: [4 * n * inner, 4 * n * inner] };
        if (inner === 1) {
          const name = `l${p}Norm/row`;
          const fn = e.shared(name, (m) => emitLpNormRow(m, name, p));
          emitCells(e, [cells], bases, ([at, y]) => e.f.call(fn, { x: at, y, n }));
          return;
        }
        const name = `l${p}Norm/columns`;
        const fn = e.shared(name, (m) => emitLpNormColumns(m, name, p));
        emitColumns(e, [cells], { size: inner, steps: [4, 4] }, bases, ([at, y], columns) =>
          e.f.call(fn, { x: at, y, columns, rows: n, stride: 4 * inner }),
        );
      },
    };
  }),
];
