/**
 * Products with weights in GGUF blocks, and rows of such matrices. The weights are laid out once (kernels/
 * quantized-formats.ts) and stay in their few bits.
 *
 *   dot      few rows of activations: rounded to 8 bit in blocks, multiplied in integers with the codes as they are
 *   panels   many: weights become floats, some columns at a time, for the product of kernels/gemm.ts
 */
import { type QuantizedMatmulAttrs, quantizedGather, quantizedMatmul } from "../../ops/quantized-matmul.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { KernelInput } from "../backend.ts";
import { type Expr, f32x4, i32, type Operand, v128 } from "./assembler.ts";
import { activationVector, hasActivation } from "./kernels/activations.ts";
import { gemmWorkspaceBytes } from "./kernels/gemm.ts";
import { MOST_ROWS } from "./kernels/quantized-dot.ts";
import { GROUP } from "./kernels/quantized-format.ts";
import { type Matrix, matrixOf } from "./kernels/quantized-matrix.ts";
import { gemmFunction } from "./matmul.ts";
import { addressOf, type StepEmitter, type WasmKernels, type WasmStep, type WasmTarget, wasmKernel } from "./step.ts";

/** Groups of eight columns that become floats at a time: A is packed again for each. */
const panelGroups = 16;
/** Rows of a table from which threads divide them. */
const manyIndices = 16;

const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;

interface Product extends QuantizedMatmulAttrs {
  readonly m: number;
  readonly matrix: Matrix;
}

/** The product if the type has kernels, and the weights are constant. */
function productOf(
  target: WasmTarget,
  [x, w]: readonly KernelInput[],
  attrs: QuantizedMatmulAttrs,
): Product | undefined {
  const { type, n, k, activation } = attrs;
  const matrix = matrixOf(type, n, k, target.features.relaxedSimd);
  const m = k === 0 ? 0 : sizeOf(x.shape) / k;
  return matrix && w.constant && m * n > 0 && hasActivation(activation) ? { ...attrs, m, matrix } : undefined;
}

function dotStep(target: WasmTarget, p: Product): WasmStep {
  const { m, n, k, matrix } = p;
  const scratch = align(m * matrix.activationBytes);
  const own = align(scratch + 4 * GROUP * MOST_ROWS);
  return {
    workspaceBytes: own * target.threads,
    prepack: [matrix.prepack],
    work: m * n * k,
    emit(e) {
      const { f } = e;
      const [x, w] = e.inputs;
      const [y] = e.outputs;
      const quantize = matrix.activations(e);
      const workspace = addressOf(e.workspace, e.thread, own);
      const { from, to } = e.share(Math.ceil(n / GROUP));
      // Every thread makes its own copy: that is cheaper than meeting once more.
      if (quantize) f.call(quantize, { x, to: workspace, count: m * k });
      const group = f.local("i32");
      // Rows of activations go through in passes of about equal size.
      const passes = Math.ceil(m / MOST_ROWS);
      const pass = (i: number) => {
        const first = Math.floor((i * m) / passes);
        const rows = Math.floor(((i + 1) * m) / passes) - first;
        const dot = matrix.dot(e, rows);
        const weights = addressOf(w, group, matrix.groupBytes);
        const activations = addressOf(quantize ? workspace : x, 1, first * matrix.activationBytes);
        const out = f.let(operandExpr(addressOf(y + 4 * n * first, group, 4 * GROUP)));
        const call = (at: Operand<"i32">, ldo: number) => f.call(dot, { w: weights, x: activations, out: at, ldo });
        if (n % GROUP === 0) {
          call(out, 4 * n);
          return;
        }
        // The last group has fewer rows than it computes.
        const copyLast = () => {
          const from = addressOf(workspace, 1, scratch);
          call(from, 4 * GROUP);
          for (let r = 0; r < rows; r++)
            f.memory.copy(i32.add(out, 4 * n * r), addressOf(from, r, 4 * GROUP), 4 * (n % GROUP));
        };
        f.if(i32.eq(group, Math.floor(n / GROUP)), copyLast, () => call(out, 4 * n));
      };
      f.forRange(group, from, to, 1, () => {
        for (let i = 0; i < passes; i++) pass(i);
      });
      emitEpilogue(e, p, from, to);
    },
  };
}

const operandExpr = (x: Operand<"i32">): Expr<"i32"> => (typeof x === "number" ? i32.const(x) : x);

/** y = act(y + bias + residual) for the columns of groups [from, to), just written by this thread. */
function emitEpilogue(e: StepEmitter, { m, n, activation }: Product, from: Operand<"i32">, to: Operand<"i32">): void {
  const { f } = e;
  const [, , bias, residual] = e.inputs;
  const [y] = e.outputs;
  const act = activation && activationVector(activation).make;
  if (!bias && !residual && !act) return;
  const start = f.let(i32.mul(operandExpr(from), 4 * GROUP));
  const end = f.let(i32.mul(operandExpr(to), 4 * GROUP));
  f.if(i32.gt_s(end, 4 * n), () => f.set(end, 4 * n));
  const row = f.local("i32");
  const at = f.local("i32");
  /** Finishes the elements at `at`, with loads and stores of one or of four. */
  const finish = (
    load: (address: Expr<"i32">) => Expr<"v128">,
    store: (address: Expr<"i32">, v: Expr<"v128">) => void,
  ) => {
    let v = load(i32.add(i32.add(row, at), y));
    if (bias) v = f32x4.add(v, load(i32.add(at, bias)));
    if (residual) v = f32x4.add(v, load(i32.add(i32.add(row, at), residual)));
    store(i32.add(i32.add(row, at), y), act ? act(f, v) : v);
  };
  f.forRange(row, 0, 4 * n * m, 4 * n, () => {
    f.set(at, start);
    f.while(i32.le_s(at, i32.sub(end, 16)), () => {
      finish(
        (a) => v128.load(a),
        (a, v) => f.v128.store(a, v),
      );
      f.increment(at, 16);
    });
    f.while(i32.lt_s(at, end), () => {
      finish(
        (a) => v128.load32_zero(a),
        (a, v) => f.v128.store32_lane(a, v, 0),
      );
      f.increment(at, 4);
    });
  });
}

function panelStep(target: WasmTarget, p: Product): WasmStep {
  const { m, n, k, matrix, activation } = p;
  const groups = Math.ceil(n / GROUP);
  const panels = align(4 * GROUP * k * Math.min(panelGroups, groups));
  const own = align(panels + gemmWorkspaceBytes(m, k));
  return {
    workspaceBytes: own * target.threads,
    prepack: [matrix.prepack],
    work: m * n * k,
    emit(e) {
      const { f } = e;
      const [x, w, bias, residual] = e.inputs;
      const [y] = e.outputs;
      const panel = matrix.panel(e);
      const product = gemmFunction(e, { bias: bias ? "column" : "none", residual: residual !== 0, activation });
      const workspace = addressOf(e.workspace, e.thread, own);
      const { from, to } = e.share(groups);
      const [group, last, out, columns] = f.locals("i32", 4);
      f.set(group, from);
      f.while(i32.lt_s(group, to), () => {
        f.set(columns, i32.mul(group, GROUP));
        f.set(last, i32.add(group, panelGroups));
        f.if(i32.gt_s(last, to), () => f.set(last, to));
        f.set(out, workspace);
        f.while(i32.lt_s(group, last), () => {
          f.call(panel, { w: addressOf(w, group, matrix.groupBytes), out });
          f.increment(out, 4 * GROUP * k);
          f.increment(group, 1);
        });
        const end = f.let(i32.mul(last, GROUP));
        f.if(i32.gt_s(end, n), () => f.set(end, n));
        f.call(product, {
          a: x,
          lda: 4 * k,
          b: workspace,
          c: addressOf(y, columns, 4),
          ldc: 4 * n,
          m,
          n: i32.sub(end, columns),
          k,
          bias: bias ? addressOf(bias, columns, 4) : 0,
          residual: residual ? addressOf(residual, columns, 4) : 0,
          ldr: 4 * n,
          workspace: addressOf(workspace, 1, panels),
        });
      });
    },
  };
}

export const quantizedKernels: WasmKernels = (target) => [
  wasmKernel(quantizedMatmul, "wasm/quantizedMatmul/panels", (inputs, _, attrs) => {
    const p = productOf(target, inputs, attrs);
    return p && p.m >= p.matrix.manyRows ? panelStep(target, p) : undefined;
  }),
  wasmKernel(quantizedMatmul, "wasm/quantizedMatmul/dot", (inputs, _, attrs) => {
    const p = productOf(target, inputs, attrs);
    return p && p.m < p.matrix.manyRows ? dotStep(target, p) : undefined;
  }),
  wasmKernel(quantizedGather, "wasm/quantizedGather/panel", ([indices, w], _, { type, rows, k }) => {
    const matrix = matrixOf(type, rows, k, target.features.relaxedSimd);
    const count = sizeOf(indices.shape);
    if (!matrix || !w.constant || rows * k * count === 0) return undefined;
    const own = align(4 * GROUP * k);
    const stride = indices.dtype === "i64" ? 8 : 4;
    return {
      workspaceBytes: own * target.threads,
      prepack: [matrix.prepack],
      work: count * k,
      emit(e) {
        const { f } = e;
        const [indices, w] = e.inputs;
        const [y] = e.outputs;
        const panel = matrix.panel(e);
        const { from, to } = count < manyIndices ? { from: 0, to: count } : e.share(count);
        const workspace = f.let(operandExpr(addressOf(e.workspace, e.thread, own)));
        const [i, index, at, out, end] = f.locals("i32", 5);
        f.forRange(i, from, to, 1, () => {
          const entry = f.let(operandExpr(addressOf(indices, i, stride)));
          f.set(index, i32.load(entry));
          // The upper word of an i64 must be the sign's.
          if (stride === 8) f.if(i32.ne(i32.load(entry, 4), i32.shr_s(index, 31)), () => f.unreachable());
          f.if(i32.lt_s(index, 0), () => f.increment(index, rows));
          f.if(i32.ge_u(index, rows), () => f.unreachable());
          f.call(panel, { w: addressOf(w, i32.div_u(index, GROUP), matrix.groupBytes), out: workspace });
          f.set(at, i32.add(workspace, i32.shl(i32.rem_u(index, GROUP), 2)));
          f.set(out, addressOf(y, i, 4 * k));
          f.set(end, i32.add(out, 4 * k));
          f.while(i32.lt_u(out, end), () => {
            f.i32.store(out, i32.load(at));
            f.increment(at, 4 * GROUP);
            f.increment(out, 4);
          });
        });
      },
    };
  }),
];
