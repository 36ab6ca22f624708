/**
 * Products of 8-bit integers, by `i32x4.dot_i16x8_s`.
 *
 * A product subtracts the zero points first. What is left has 9 bits and goes as 16, two neighbours of k in a word, so
 * that the f32 product of kernels/gemm.ts serves with words for floats and a dot product and an addition for a
 * multiply-add: eight products in the two instructions that do four in f32. (`i16x8.relaxed_dot_i8x16_i7x16_s` does
 * sixteen in one on newer processors, but only where one side has seven bits.)
 *
 * G operations/s of processor time, minimum of 60 runs in turn, one core of a loaded AMD EPYC, Node 24:
 *
 *                      f32, relaxed_madd   int8
 *   128 x 768 x 768                   45     71
 *   512 x 512 x 512                   44     66
 *   1 x 1024 x 1024                    7     14   (memory)
 */
import { matmulGeometry } from "../../ops/matmul.ts";
import { matmulInteger, matmulIntegerToFloat, qlinearMatmul } from "../../ops/matmul-integer.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { KernelInput, Prepack } from "../backend.ts";
import { f32x4, i16x8, i32, type Operand, v128 } from "./assembler.ts";
import type { Elementwise } from "./elementwise.ts";
import { isByte, isScalar, runOf, saturated, toFloatForm } from "./int8.ts";
import { emitGemm, gemmWorkspaceBytes } from "./kernels/gemm.ts";
import { PANEL_COLUMNS } from "./kernels/gemm-pack.ts";
import { bytesOfElement, runArgs, runFunction } from "./kernels/vector.ts";
import { alignUp } from "./memory.ts";
import { addressOf, type StepEmitter, type WasmKernels, type WasmStep, type WasmTarget, wasmKernel } from "./step.ts";

/** B [k, n] less its zero points, in panels of 8 columns; each word has the values of two neighbouring k. */
function packPairs(b: TypedArray, zero: TypedArray | undefined, packed: Int32Array, k: number, n: number): void {
  const rest = (wordsOf(k) - (k >> 1)) * PANEL_COLUMNS;
  const source = b as Int8Array;
  const zeros = Int32Array.from({ length: n }, (_, c) => Number(zero?.[zero.length === 1 ? 0 : c] ?? 0));
  packed.fill(0);
  // A panel's rows in order: reads and writes go on where they were.
  for (let first = 0, at = 0; first < n; first += PANEL_COLUMNS) {
    const columns = Math.min(PANEL_COLUMNS, n - first);
    for (let row = 0; row + 1 < k; row += 2, at += PANEL_COLUMNS)
      for (let c = 0, from = row * n + first; c < columns; c++, from++) {
        const z = zeros[first + c];
        packed[at + c] = ((source[from] - z) & 0xffff) | ((source[from + n] - z) << 16);
      }
    if (k % 2)
      for (let c = 0; c < columns; c++) packed[at + c] = (source[(k - 1) * n + first + c] - zeros[first + c]) & 0xffff;
    at += rest;
  }
}

/** Words of a row of `k` values, in whole vectors. */
const wordsOf = (k: number): number => 4 * Math.ceil(k / 8);

/**
 * Rows of bytes less their zero point, as 16-bit integers. Each row is filled up with what follows, times zero in B. The
 * next row's zero point is `step` bytes after that at `zero`; at 0 there is none.
 */
function widenFunction(e: StepEmitter, dtype: string) {
  const name = `widen/${dtype}`;
  const load = dtype === "i8" ? v128.load8x8_s : v128.load8x8_u;
  const loadZero = dtype === "i8" ? i32.load8_s : i32.load8_u;
  const params = { x: "i32", y: "i32", k: "i32", rows: "i32", zero: "i32", step: "i32" } as const;
  return e.shared(name, (m) =>
    m.func({ name, params }, (f, { x, y, k, rows, zero, step }) => {
      const zeros = f.let(i16x8.splat(0));
      const i = f.local("i32");
      f.while(i32.gt_s(rows, 0), () => {
        f.if(zero, () => {
          f.set(zeros, i16x8.splat(loadZero(zero)));
          f.increment(zero, step);
        });
        f.forRange(i, 0, k, 8, () => {
          f.v128.store(y, i16x8.sub(load(i32.add(x, i)), zeros));
          f.increment(y, 16);
        });
        f.increment(x, k);
        f.increment(rows, -1);
      });
    }),
  );
}

interface ProductPlan {
  readonly m: number;
  readonly n: number;
  readonly workspaceBytes: number;
  readonly prepack: readonly Prepack[];
  /** C, i32 [m, n] at `c`, and then `finish` with a row of it: the address of its first column, and of how many. */
  emit(e: StepEmitter, at: { a: number; aZero: number; b: number; c: number }, finish?: FinishRow): void;
}

type FinishRow = (row: Operand<"i32">, column: Operand<"i32">, count: Operand<"i32">) => void;

/** Rows from which each thread takes some of them, rather than columns. */
const fewRows = 24;

function planProduct(
  target: WasmTarget,
  a: KernelInput,
  b: KernelInput,
  aZero: KernelInput | undefined,
  bZero: KernelInput | undefined,
  inputOfB: number,
): ProductPlan | undefined {
  const g = matmulGeometry("matmulInteger", a, b);
  const { n, k } = g;
  const m = g.m * sizeOf(g.batch);
  if (!isByte(a) || !isByte(b) || !b.constant || (bZero && !bZero.constant) || !ofRows(aZero, a)) return undefined;
  if (b.shape.length > 2 || sizeOf(a.shape) !== m * k || m * n * k === 0) return undefined;
  if (bZero && !isScalar(bZero) && bZero.shape.length !== 1) return undefined;
  const words = wordsOf(k);
  const zeros = bZero?.constant?.data as TypedArray | undefined;
  const widened = alignUp(4 * m * words);
  const own = alignUp(gemmWorkspaceBytes(m, words));
  const columns = PANEL_COLUMNS * Math.ceil(n / PANEL_COLUMNS);
  return {
    m,
    n,
    workspaceBytes: widened + own * target.threads,
    prepack: [
      {
        input: inputOfB,
        key: `pairs/${k}/${zeros ?? ""}`,
        type: { dtype: "i32", shape: [columns * words] },
        pack: (source, packed) => packPairs(source, zeros, packed as Int32Array, k, n),
      },
    ],
    emit(e, at, finish) {
      const { f } = e;
      const widen = widenFunction(e, a.dtype);
      const name = "gemm/integers";
      const gemm = e.shared(name, (module) => emitGemm(module, { name, fma: 0, integers: true }));
      const byRows = m >= fewRows * e.target.threads;
      const { from, to } = byRows ? e.share(m, 4) : e.share(n, PANEL_COLUMNS);
      const count = typeof from === "number" ? (to as number) - from : f.let(i32.sub(to, from));
      const [row, rows] = byRows ? [from, count] : [0, m];
      const [column, width] = byRows ? [0, n] : [from, count];
      const wide = addressOf(e.workspace, row, 4 * words);
      const step = isScalar(aZero) ? 0 : 1;
      f.call(widen, { x: addressOf(at.a, row, k), y: wide, k, rows, zero: addressOf(at.aZero, row, step), step });
      f.call(gemm, {
        a: wide,
        lda: 4 * words,
        b: addressOf(at.b, column, 4 * words),
        c: addressOf(addressOf(at.c, row, 4 * n), column, 4),
        ldc: 4 * n,
        m: rows,
        n: width,
        k: words,
        bias: 0,
        residual: 0,
        ldr: 0,
        workspace: addressOf(e.workspace + widened, e.thread, own),
      });
      if (!finish) return;
      const r = f.local("i32");
      const end = byRows ? to : m;
      f.forRange(r, row, end, 1, () => finish(r, column, width));
    },
  };
}

const stepOf = ({ m, n, workspaceBytes, prepack }: ProductPlan, k: number): Omit<WasmStep, "emit"> => ({
  workspaceBytes,
  prepack,
  work: (m * n * k) / 2,
});

const innerSize = (a: TensorType): number => a.shape[a.shape.length - 1];

/** A scale or zero point of the rows of `x`, all its axes but the last: one for all, or one for each. */
const ofRows = (t: TensorType | undefined, x: TensorType): boolean =>
  isScalar(t) ||
  (t!.shape.length === x.shape.length && t!.shape.every((d, i, s) => d === (i < s.length - 1 ? x.shape[i] : 1)));

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

export const matmulInt8Kernels: WasmKernels = (target) => [
  wasmKernel(matmulInteger, "wasm/matmulInteger/dot", ([a, b, aZero, bZero]) => {
    const plan = planProduct(target, a, b, aZero, bZero, 1);
    if (!plan) return undefined;
    return {
      ...stepOf(plan, innerSize(a)),
      emit: (e) => plan.emit(e, { a: e.inputs[0], b: e.inputs[1], aZero: e.inputs[2], c: e.outputs[0] }),
    };
  }),
  wasmKernel(matmulIntegerToFloat, "wasm/matmulIntegerToFloat/dot", (inputs, [y]) => {
    const [a, b, aScale, bScale, aZero, bZero, bias] = inputs;
    const plan = planProduct(target, a, b, aZero, bZero, 1);
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
    const plan = planProduct(target, a, b, aZero, bZero, 3);
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
