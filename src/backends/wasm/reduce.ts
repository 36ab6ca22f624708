/**
 * Reductions over any axes, f32. Neighbouring axes that are both kept or both reduced become one, and what is left is
 * read as [outer kept, outer reduced, kept, reduced], each possibly of size 1.
 */
import * as ops from "../../ops/reduce.ts";
import { toNumbers } from "../../tensor/convert.ts";
import type { Kernel } from "../backend.ts";
import { type Expr, f32x4 } from "./assembler.ts";
import { log, splat } from "./kernels/math.ts";
import { emitReduceColumns, emitReduceRows, maxFold, type Reduction, sumFold } from "./kernels/vector-rows.ts";
import { emitCells, emitColumns } from "./kernels/vector-walk.ts";
import { type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

function reduceStep(reduction: Reduction, b: ops.ReducedBlocks): WasmStep {
  const { outerKept, outerReduced, kept, reduced } = b;
  return {
    emit(e) {
      const { f } = e;
      const bases = [e.inputs[0], e.outputs[0]];
      const count = splat(outerReduced * reduced);
      const stack = 4 * outerReduced * kept * reduced;
      const stride = 4 * kept * reduced;
      if (reduced === 1 && outerReduced > 1) {
        const fn = e.shared(`${reduction.name}/columns`, (m) => emitReduceColumns(m, reduction));
        const outer = [{ size: outerKept, steps: [stack, 4 * kept] }];
        emitColumns(e, outer, { size: kept, steps: [4, 4] }, bases, ([x, y], columns) =>
          f.call(fn, { x, y, columns, rows: outerReduced, stride, count }),
        );
        return;
      }
      const fn = e.shared(`${reduction.name}/rows`, (m) => emitReduceRows(m, reduction));
      const axes = [
        { size: outerKept, steps: [stack, 4 * kept] },
        { size: kept, steps: [4 * reduced, 4] },
      ];
      emitCells(e, axes, bases, ([x, y]) => f.call(fn, { x, y, n: reduced, rows: outerReduced, stride, count }));
    },
  };
}

type V = Expr<"v128">;
const square = (f: Parameters<NonNullable<Reduction["map"]>>[0], x: V): V => {
  const v = f.let(x);
  return f32x4.mul(v, v);
};

const reductions: readonly (readonly [typeof ops.reduceSum, Omit<Reduction, "name">])[] = [
  [ops.reduceSum, sumFold],
  [ops.reduceMean, { ...sumFold, finish: (_, total, count) => f32x4.div(total, count) }],
  [ops.reduceLogSum, { ...sumFold, finish: (f, total) => log(f, total) }],
  [ops.reduceL1, { ...sumFold, map: (_, x) => f32x4.abs(x) }],
  [ops.reduceSumSquare, { ...sumFold, map: square }],
  [ops.reduceL2, { ...sumFold, map: square, finish: (_, total) => f32x4.sqrt(total) }],
  [ops.reduceProd, { start: 1, combine: f32x4.mul }],
  [ops.reduceMax, maxFold],
  [ops.reduceMin, { start: Number.POSITIVE_INFINITY, combine: f32x4.min }],
];

const reduceKernel = ([op, reduction]: (typeof reductions)[number]): Kernel<WasmStep> =>
  wasmKernel(op, `wasm/${op.op.name}/blocks`, ([x, axes], _, attrs) => {
    const list = axes?.constant && toNumbers(axes.constant);
    const b = ops.blocksOf(x.shape, ops.reducedAxes(op.op.name, x.shape.length, list, attrs));
    return b && x.dtype === "f32" ? reduceStep({ ...reduction, name: op.op.name }, b) : undefined;
  });

export const reduceKernels: WasmKernels = () => reductions.map(reduceKernel);
