/**
 * Products of 8-bit integers: the f32 product of kernels/gemm.ts with words of integers for floats. Pairs of 16 bits are eight
 * products in the two instructions that do four in f32 (int8-pairs.ts); fours of bytes are sixteen in one, on hosts that have
 * it (int8-fours.ts). (`i16x8.relaxed_dot_i8x16_i7x16_s` does sixteen in one on more hosts, but only where one side has seven
 * bits.)
 */
import { matmulInteger, matmulIntegerToFloat, qlinearMatmul } from "../../ops/matmul-integer.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { Kernel } from "../backend.ts";
import { f32x4 } from "./assembler.ts";
import { dotAddOf } from "./dot-add.ts";
import type { Elementwise } from "./elementwise.ts";
import { isByte, isScalar, runOf, saturated, toFloatForm } from "./int8.ts";
import { inFours } from "./int8-fours.ts";
import { inPairs } from "./int8-pairs.ts";
import { type FinishRow, type Layout, ofRows, type ProductPlan, planProduct } from "./int8-product.ts";
import { bytesOfElement, runArgs, runFunction } from "./kernels/vector.ts";
import { alignUp } from "./memory.ts";
import { addressOf, type StepEmitter, type WasmKernels, type WasmStep, type WasmTarget, wasmKernel } from "./step.ts";

const stepOf = ({ m, n, workspaceBytes, prepack }: ProductPlan, k: number): Omit<WasmStep, "emit"> => ({
  workspaceBytes,
  prepack,
  work: (m * n * k) / 2,
});

const innerSize = (a: TensorType): number => a.shape[a.shape.length - 1];

/** A scale or zero point of the columns: one for all, or one for each. */
const ofColumns = (t: TensorType | undefined): boolean => isScalar(t) || t!.shape.length === 1;

/** saturate(round(sum aScale bScale / yScale) + yZero) */
const requantizeForm = (dtype: "i8" | "u8"): Elementwise => ({
  name: `requantize/${dtype}`,
  elements: ["i32", "f32", "f32", "f32", dtype],
  result: dtype,
  short: true,
  value: (f, [sum, sa, sb, step, zero]) => {
    const factor = f32x4.div(f32x4.mul(sa, sb), step);
    return saturated(f, f32x4.mul(f32x4.convert_i32x4_s(sum), factor), zero, dtype);
  },
});

/** Where an operand is for each row: what it advances with, columns or rows. */
interface RowOperand {
  readonly at: number;
  readonly columns: boolean;
  readonly rows?: boolean;
}

/** Applies an elementwise form to each row of sums at `c`, [m, n] of them, giving [m, n] at `y`. */
function finishRows(
  e: StepEmitter,
  how: Elementwise,
  n: number,
  c: number,
  y: number,
  others: readonly RowOperand[],
): FinishRow {
  const { f } = e;
  const fn = runFunction(
    e,
    runOf(how, (i) => i > 0 && !others[i - 1].columns),
  );
  const width = bytesOfElement[how.result];
  return (row, column, count) => {
    const sums = addressOf(addressOf(c, row, 4 * n), column, 4);
    const at = others.map((o) => addressOf(o.at, o.columns ? column : o.rows ? row : 0, 4));
    f.call(fn, runArgs([sums, ...at], addressOf(addressOf(y, row, width * n), column, width), count));
  };
}

const kernelsIn = (target: WasmTarget, layout: Layout): Kernel<WasmStep>[] => [
  wasmKernel(matmulInteger, "wasm/matmulInteger/dot", ([a, b, aZero, bZero]) => {
    const plan = planProduct(target, layout, a, b, aZero, bZero, 1);
    if (!plan) return undefined;
    return {
      ...stepOf(plan, innerSize(a)),
      emit: (e) => plan.emit(e, { a: e.inputs[0], b: e.inputs[1], aZero: e.inputs[2], c: e.outputs[0] }),
    };
  }),
  wasmKernel(matmulIntegerToFloat, "wasm/matmulIntegerToFloat/dot", (inputs, [y]) => {
    const [a, b, aScale, bScale, aZero, bZero, bias] = inputs;
    const plan = planProduct(target, layout, a, b, aZero, bZero, 1);
    if (!plan || y.dtype !== "f32" || !ofRows(aScale, y) || !ofColumns(bScale)) return undefined;
    return {
      ...stepOf(plan, innerSize(a)),
      emit(e) {
        const [at, bAt, aScaleAt, bScaleAt, aZeroAt, , biasAt] = e.inputs;
        const [c] = e.outputs;
        const others = [
          { at: aScaleAt, columns: false, rows: !isScalar(aScale) },
          { at: bScaleAt, columns: !isScalar(bScale) },
          { at: biasAt, columns: true },
        ];
        const finish = finishRows(e, toFloatForm(bias !== undefined), plan.n, c, c, others);
        plan.emit(e, { a: at, b: bAt, aZero: aZeroAt, c }, finish);
      },
    };
  }),
  wasmKernel(qlinearMatmul, "wasm/qlinearMatmul/dot", ([a, aScale, aZero, b, bScale, bZero, yScale], [y]) => {
    const plan = planProduct(target, layout, a, b, aZero, bZero, 3);
    const scales = [aScale, bScale, yScale];
    if (!plan || !isByte(y) || scales.some((s) => s.dtype !== "f32")) return undefined;
    if (!isScalar(aScale) || !ofColumns(bScale)) return undefined;
    const { m, n, workspaceBytes } = plan;
    return {
      ...stepOf(plan, innerSize(a)),
      workspaceBytes: alignUp(workspaceBytes) + 4 * m * n,
      emit(e) {
        const [at, aScaleAt, aZeroAt, bAt, bScaleAt, , yScaleAt, yZeroAt] = e.inputs;
        const c = e.workspace + alignUp(workspaceBytes);
        const others = [
          { at: aScaleAt, columns: false },
          { at: bScaleAt, columns: !isScalar(bScale) },
          { at: yScaleAt, columns: false },
          { at: yZeroAt, columns: false },
        ];
        const finish = finishRows(e, requantizeForm(y.dtype as "i8" | "u8"), n, c, e.outputs[0], others);
        plan.emit(e, { a: at, b: bAt, aZero: aZeroAt, c }, finish);
      },
    };
  }),
];

export const matmulInt8Kernels: WasmKernels = (target) => {
  const dotAdd = dotAddOf(target.features);
  const layout = dotAdd ? inFours(dotAdd, target.features.fma) : inPairs;
  return kernelsIn(target, layout);
};
