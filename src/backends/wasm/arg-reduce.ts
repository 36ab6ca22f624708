/** Where the extreme elements along an axis are, f32. */
import { type ArgReduceAttrs, argMax, argMin } from "../../ops/arg-reduce.ts";
import { aroundAxis } from "../../ops/softmax.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { Kernel } from "../backend.ts";
import { emitArgColumns, emitArgRow } from "./kernels/vector-arg.ts";
import { emitCells, emitColumns } from "./kernels/vector-walk.ts";
import { type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

const argKernel = (op: typeof argMax, largest: boolean): Kernel<WasmStep> =>
  wasmKernel(op, `wasm/${op.op.name}/axis`, ([x], _, { axis = 0, selectLastIndex = false }: ArgReduceAttrs) => {
    const { outer, n, inner } = aroundAxis(op.op.name, x.shape, axis);
    if (x.dtype !== "f32" || sizeOf(x.shape) === 0) return undefined;
    const name = `${op.op.name}${selectLastIndex ? "/last" : ""}`;
    const how = { name, largest, last: selectLastIndex };
    return {
      emit(e) {
        const bases = [e.inputs[0], e.outputs[0]];
        const cells = { size: outer, steps: [4 * n * inner, 8 * inner] };
        if (inner === 1) {
          const fn = e.shared(`${name}/row`, (m) => emitArgRow(m, how));
          emitCells(e, [cells], bases, ([at, y]) => e.f.call(fn, { x: at, y, n }));
          return;
        }
        const fn = e.shared(`${name}/columns`, (m) => emitArgColumns(m, how));
        emitColumns(e, [cells], { size: inner, steps: [4, 8] }, bases, ([at, y], columns) =>
          e.f.call(fn, { x: at, y, columns, rows: n, stride: 4 * inner }),
        );
      },
    };
  });

export const argReduceKernels: WasmKernels = () => [argKernel(argMax, true), argKernel(argMin, false)];
