/**
 * Reductions of integers along blocks of axes as reduce.ts has them, the places of extremes, and running sums. Where the
 * last axis is kept, rows are combined by the elementwise operator, which is a run function already; for means they are
 * summed in 64 bits.
 */
import { type ArgReduceAttrs, argMax, argMin } from "../../ops/arg-reduce.ts";
import { cumSum } from "../../ops/cumulative.ts";
import { integerRange } from "../../ops/integers.ts";
import * as ops from "../../ops/reduce.ts";
import { aroundAxis } from "../../ops/softmax.ts";
import { toNumbers } from "../../tensor/convert.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { Kernel } from "../backend.ts";
import { i32, type Operand } from "./assembler.ts";
import { combined } from "./elementwise-integers.ts";
import { emitArgScan, emitFoldRows, emitScan, type Fold } from "./kernels/fold-integers.ts";
import { type Integer, integerOf, lanesOf, maximum, minimum, multiply } from "./kernels/integers.ts";
import { emitMeanColumns, emitMeanRows } from "./kernels/mean-integers.ts";
import { type RunFunction, runArgs } from "./kernels/vector.ts";
import { integerFunction } from "./kernels/vector-integers.ts";
import { emitCells, emitColumns } from "./kernels/vector-walk.ts";
import { type StepEmitter, type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

/** y = combine(a, b) of three rows. */
function rowFunction(e: StepEmitter, t: Integer, { name, combine }: Fold): RunFunction {
  const how = combined(name, t, combine);
  return integerFunction(e, {
    ...how,
    short: true,
    operands: how.elements.map((element) => ({ element, repeated: false })),
  });
}

const local = (e: StepEmitter, at: Operand<"i32">) => e.f.let(typeof at === "number" ? i32.const(at) : at);

function foldStep(t: Integer, fold: Fold, { outerKept, outerReduced, kept, reduced }: ops.ReducedBlocks): WasmStep {
  const { bytes } = t;
  const stride = bytes * kept * reduced;
  const stack = outerReduced * stride;
  return {
    emit(e) {
      const { f } = e;
      const bases = [e.inputs[0], e.outputs[0]];
      if (reduced === 1) {
        const row = rowFunction(e, t, fold);
        const outer = [{ size: outerKept, steps: [stack, bytes * kept] }];
        emitColumns(e, outer, { size: kept, steps: [bytes, bytes] }, bases, ([x, y], columns) => {
          const at = local(e, x);
          const n = local(e, columns);
          f.memory.copy(y, at, i32.mul(n, bytes));
          f.forRange(f.local("i32"), 1, outerReduced, 1, () => {
            f.increment(at, stride);
            f.call(row, runArgs([local(e, y), at], y, n));
          });
        });
        return;
      }
      const fn = e.shared(`${fold.name} ${t.dtype}/rows`, (m) => emitFoldRows(m, t, fold));
      const axes = [
        { size: outerKept, steps: [stack, bytes * kept] },
        { size: kept, steps: [bytes * reduced, bytes] },
      ];
      emitCells(e, axes, bases, ([x, y]) => f.call(fn, { x, y, n: reduced, rows: outerReduced, stride }));
    },
  };
}

const folds: readonly (readonly [op: typeof ops.reduceSum, fold: (t: Integer) => Fold])[] = [
  [ops.reduceSum, (t) => ({ name: "add", start: 0n, combine: lanesOf(t).add })],
  [ops.reduceProd, (t) => ({ name: "mul", start: 1n, combine: multiply(t) })],
  [ops.reduceMax, (t) => ({ name: "max", start: integerRange(t.dtype)[0], combine: maximum(t) })],
  [ops.reduceMin, (t) => ({ name: "min", start: integerRange(t.dtype)[1], combine: minimum(t) })],
];

function meanStep(t: Integer, { outerKept, outerReduced, kept, reduced }: ops.ReducedBlocks): WasmStep {
  const { bytes } = t;
  const stride = bytes * kept * reduced;
  const outer = { size: outerKept, steps: [outerReduced * stride, bytes * kept] };
  return {
    emit(e) {
      const bases = [e.inputs[0], e.outputs[0]];
      const rows = { rows: outerReduced, stride, count: BigInt(outerReduced * reduced) };
      if (reduced === 1) {
        const fn = e.shared(`mean ${t.dtype}/columns`, (m) => emitMeanColumns(m, t));
        emitColumns(e, [outer], { size: kept, steps: [bytes, bytes] }, bases, ([x, y], columns) =>
          e.f.call(fn, { x, y, columns, ...rows }),
        );
        return;
      }
      const fn = e.shared(`mean ${t.dtype}/rows`, (m) => emitMeanRows(m, t));
      emitCells(e, [outer, { size: kept, steps: [bytes * reduced, bytes] }], bases, ([x, y]) =>
        e.f.call(fn, { x, y, n: reduced, ...rows }),
      );
    },
  };
}

const blockKernel = (
  op: typeof ops.reduceSum,
  plan: (t: Integer, b: ops.ReducedBlocks) => WasmStep,
): Kernel<WasmStep> =>
  wasmKernel(op, `wasm/${op.op.name}/integers`, ([x, axes], _, attrs) => {
    const t = integerOf(x.dtype);
    const list = axes?.constant && toNumbers(axes.constant);
    const b = ops.blocksOf(x.shape, ops.reducedAxes(op.op.name, x.shape.length, list, attrs));
    return t && b && plan(t, b);
  });

const argKernel = (op: typeof argMax, largest: boolean): Kernel<WasmStep> =>
  wasmKernel(op, `wasm/${op.op.name}/integers`, ([x], _, { axis = 0, selectLastIndex = false }: ArgReduceAttrs) => {
    const t = integerOf(x.dtype);
    const { outer, n, inner } = aroundAxis(op.op.name, x.shape, axis);
    if (!t || sizeOf(x.shape) === 0) return undefined;
    const { bytes } = t;
    return {
      emit(e) {
        const name = `${op.op.name}${selectLastIndex ? "/last" : ""} ${t.dtype}`;
        const fn = e.shared(name, (m) => emitArgScan(m, t, { name, largest, last: selectLastIndex }));
        const cells = [
          { size: outer, steps: [bytes * n * inner, 8 * inner] },
          { size: inner, steps: [bytes, 8] },
        ];
        emitCells(e, cells, [e.inputs[0], e.outputs[0]], ([at, y]) =>
          e.f.call(fn, { x: at, y, n, stride: bytes * inner }),
        );
      },
    };
  });

/** Each row is the one before it plus one of x; rows of one element keep their sum in a register. */
const cumSumKernel = wasmKernel(
  cumSum,
  "wasm/cumSum/integers",
  ([x, axis], _, { exclusive = false, reverse = false }) => {
    const t = integerOf(x.dtype);
    if (!t || !axis.constant || sizeOf(x.shape) === 0) return undefined;
    const { outer, n, inner } = aroundAxis("cumSum", x.shape, toNumbers(axis.constant)[0]);
    const { bytes } = t;
    const row = bytes * inner;
    const step = reverse ? -row : row;
    return {
      // A row of x is wanted after the sum of those before it is stored.
      inplace: !exclusive,
      emit(e) {
        const { f } = e;
        const first = reverse ? (n - 1) * row : 0;
        const bases = [e.inputs[0] + first, e.outputs[0] + first];
        const axes = [{ size: outer, steps: [n * row, n * row] }];
        if (inner === 1) {
          const name = `scan ${t.dtype}${exclusive ? " exclusive" : ""}`;
          const fn = e.shared(name, (m) => emitScan(m, t, name, exclusive));
          emitCells(e, axes, bases, ([x, y]) => f.call(fn, { x, y, n, step }));
          return;
        }
        const add = rowFunction(e, t, { name: "add", start: 0n, combine: lanesOf(t).add });
        emitColumns(e, axes, { size: inner, steps: [bytes, bytes] }, bases, ([x, y], columns) => {
          const [from, to, count] = [local(e, x), local(e, y), local(e, columns)];
          if (exclusive) f.memory.fill(to, 0, i32.mul(count, bytes));
          else f.memory.copy(to, from, i32.mul(count, bytes));
          f.forRange(f.local("i32"), 1, n, 1, () => {
            if (!exclusive) f.increment(from, step);
            f.call(add, runArgs([to, from], i32.add(to, step), count));
            if (exclusive) f.increment(from, step);
            f.increment(to, step);
          });
        });
      },
    };
  },
);

export const reduceIntegerKernels: WasmKernels = () => [
  ...folds.map(([op, fold]) => blockKernel(op, (t, b) => foldStep(t, fold(t), b))),
  blockKernel(ops.reduceMean, meanStep),
  argKernel(argMax, true),
  argKernel(argMin, false),
  cumSumKernel,
];
