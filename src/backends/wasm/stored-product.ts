/**
 * Products with matrices in fewer bits than f32 takes (kernels/stored-panels.ts), which stay that way in memory.
 *
 *   dot      a few rows of activations at a time: numbers are widened on the way to the multiplication. In blocks,
 *            activations are rounded to 8 bit and multiplied in integers with the codes as they are
 *   panels   weights become floats, a panel for each block of rows, for the product of kernels/gemm.ts. For many rows of
 *            activations, where that is faster: they are rounded as for `dot`, so that a prompt read at once and the same
 *            tokens one by one give the same numbers but for the order of additions
 *
 * That order decides the last bit, and the last bit now and then how the next layer's activations are rounded. Logits of a
 * prompt and of its tokens one by one, on Node 20, root of the mean square relative to that of the logits:
 *
 *                                   one layer   three    thirty, q4_k   TinyLlama 1.1B, 2 bits
 *   panels without rounding            1.3e-2  4.6e-2          2.3e-2                   3.8e-2
 *   with                               1.5e-4  8.2e-3          1.7e-2                   2.4e-2
 *
 * q4_0, which takes `dot` for any number of rows, gives the same bits. For k-quants without relaxed SIMD that would cost up to
 * a third of the speed of prompts, and more where codes are looked up. 256 x 768 x 1536 on Node 20, 10^9 multiply-adds a second,
 * panels and dot: q2_k 19, 14; q3_k 19, 12; q4_k 20, 21; q5_k 20, 13; q6_k 20, 14; iq4_xs 20, 18; iq2_xxs 20, 4.
 */
import type { Activation } from "../../ops/activation.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type Expr, f32x4, i32, type Operand, v128 } from "./assembler.ts";
import { activationVector } from "./kernels/activations.ts";
import { gemmWorkspaceBytes } from "./kernels/gemm.ts";
import { PANEL_COLUMNS } from "./kernels/gemm-pack.ts";
import { mostRowsOf, type StoredMatrix } from "./kernels/stored-panels.ts";
import { emitProduct } from "./matmul.ts";
import { alignUp } from "./memory.ts";
import { addressOf, type StepEmitter, type WasmStep, type WasmTarget } from "./step.ts";

/** y = act(x W + bias + residual): inputs x, W, bias[n], residual. */
export interface StoredProduct {
  readonly m: number;
  readonly matrix: StoredMatrix;
  readonly activation?: Activation;
  /** Activations are not rounded. */
  readonly exact?: boolean;
}

/** Activations from which threads divide them. */
const manyActivations = 32_768;

export function dotStep(target: WasmTarget, p: StoredProduct): WasmStep {
  const { m, matrix } = p;
  const { n, k, activations } = matrix;
  const mostRows = mostRowsOf(target.features.fma);
  const scratch = alignUp(m * matrix.activationBytes);
  const own = 4 * PANEL_COLUMNS * mostRows;
  return {
    workspaceBytes: scratch + own * target.threads,
    alike: true,
    prepack: [matrix.prepack],
    work: m * n * k,
    begins: activations && `${activations.name} ${m}x${k}`,
    begin:
      activations &&
      ((e) => {
        const { from, to } = m * k < manyActivations ? { from: 0, to: m } : e.share(m);
        e.f.call(activations.emit(e), {
          x: addressOf(e.inputs[0], from, 4 * k),
          to: addressOf(e.workspace, from, matrix.activationBytes),
          count: i32.mul(i32.sub(to, from), k),
        });
      }),
    emit(e) {
      const { f } = e;
      const [x, w] = e.inputs;
      const [y] = e.outputs;
      // One row takes panels two by two.
      const { from, to } = e.share(Math.ceil(n / PANEL_COLUMNS), m === 1 ? 2 : 1, m === 1 ? "uneven" : undefined);
      const start = f.let(expressionOf(from));
      const end = f.let(expressionOf(to));
      const [group, i] = f.locals("i32", 2);
      /** Rows of activations go through in passes of about equal size. */
      const forPasses = (body: (rows: number, first: Operand<"i32">) => void) => {
        const passes = Math.ceil(m / mostRows);
        const rows = Math.floor(m / passes);
        const larger = m % passes;
        if (passes === 1) return body(m, 0);
        if (larger) f.forRange(i, 0, larger, 1, () => body(rows + 1, i32.mul(i, rows + 1)));
        f.forRange(i, larger, passes, 1, () => body(rows, i32.add(i32.mul(i, rows), larger)));
      };
      /** `rows` of activations from `first` on and a panel, or one row and `groups` panels. */
      const multiply = (
        at: Record<"group" | "first" | "out", Operand<"i32">>,
        { rows, groups = 1, ldo = 4 * n }: { rows: number; groups?: Operand<"i32">; ldo?: number },
      ) => {
        const addresses = {
          w: addressOf(w, at.group, matrix.groupBytes),
          x: addressOf(activations ? e.workspace : x, at.first, matrix.activationBytes),
          out: at.out,
        };
        if (rows === 1) f.call(matrix.row(e), { ...addresses, groups, pairs: matrix.pairs });
        else f.call(matrix.dot(e, rows), { ...addresses, ldo });
      };
      const result = (group: Operand<"i32">, first: Operand<"i32">) =>
        addressOf(addressOf(y, group, 4 * PANEL_COLUMNS), first, 4 * n);
      const last = Math.floor(n / PANEL_COLUMNS);
      // The last panel may have fewer columns than it computes. Parts may be empty.
      if (n % PANEL_COLUMNS)
        f.if(i32.and(i32.gt_u(end, last), i32.lt_u(start, end)), () => {
          f.set(end, last);
          forPasses((rows, first) => {
            const out = f.let(expressionOf(addressOf(e.workspace + scratch, e.thread, own)));
            multiply({ group: last, first, out }, { rows, ldo: 4 * PANEL_COLUMNS });
            const to = f.let(expressionOf(result(last, first)));
            for (let r = 0; r < rows; r++)
              f.memory.copy(i32.add(to, 4 * n * r), i32.add(out, 4 * PANEL_COLUMNS * r), 4 * (n % PANEL_COLUMNS));
          });
        });
      if (m === 1)
        multiply({ group: start, first: 0, out: result(start, 0) }, { rows: 1, groups: i32.sub(end, start) });
      else
        f.forRange(group, start, end, 1, () => {
          forPasses((rows, first) => multiply({ group, first, out: result(group, first) }, { rows }));
        });
      emitEpilogue(e, p, from, to);
    },
  };
}

const expressionOf = (x: Operand<"i32">): Expr<"i32"> => (typeof x === "number" ? i32.const(x) : x);

/** y = act(y + bias + residual) for the columns of groups [from, to), just written by this thread. */
function emitEpilogue(
  e: StepEmitter,
  { m, matrix, activation }: StoredProduct,
  from: Operand<"i32">,
  to: Operand<"i32">,
): void {
  const { f } = e;
  const { n } = matrix;
  const [, , bias, residual] = e.inputs;
  const [y] = e.outputs;
  const act = activation && activationVector(activation).make;
  if (!bias && !residual && !act) return;
  const start = f.let(i32.mul(expressionOf(from), 4 * PANEL_COLUMNS));
  const end = f.let(i32.mul(expressionOf(to), 4 * PANEL_COLUMNS));
  f.if(i32.gt_s(end, 4 * n), () => f.set(end, 4 * n));
  // Bytes of rows reach beyond 2 GB.
  const [row, at, r] = f.locals("i32", 3);
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
  f.set(row, 0);
  f.forRange(r, 0, m, 1, () => {
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
    f.increment(row, 4 * n);
  });
}

export function panelStep(target: WasmTarget, { m, matrix, activation, exact }: StoredProduct): WasmStep {
  const { n, k } = matrix;
  return {
    workspaceBytes: gemmWorkspaceBytes(m, k, true) * target.threads,
    alike: true,
    prepack: [matrix.prepack],
    work: m * n * k,
    emit(e) {
      const [a, b, bias, residual] = e.inputs;
      const form = { bias: bias ? "column" : "none", residual: residual !== 0, activation } as const;
      emitProduct(e, form, { m, n, k }, { a, b, c: e.outputs[0], bias, residual }, matrix.panels(e, exact));
    },
  };
}

/** Rows of a table from which threads divide them. */
const manyIndices = 16;

/** Rows of a matrix, which are columns of its panels. @param at which inputs the table and the indices are */
export function gatherStep(
  target: WasmTarget,
  matrix: StoredMatrix,
  indices: TensorType,
  at: { table: number; indices: number },
): WasmStep | undefined {
  const { n: rows, k } = matrix;
  const count = sizeOf(indices.shape);
  if (count === 0) return undefined;
  const own = alignUp(4 * PANEL_COLUMNS * k);
  const stride = indices.dtype === "i64" ? 8 : 4;
  return {
    workspaceBytes: own * target.threads,
    alike: true,
    prepack: [matrix.prepack],
    work: count * k,
    emit(e) {
      const { f } = e;
      const [table, list] = [e.inputs[at.table], e.inputs[at.indices]];
      const [y] = e.outputs;
      const { widen, tail = 0 } = matrix.panels(e, true);
      const { from, to } = count < manyIndices ? { from: 0, to: count } : e.share(count);
      const workspace = f.let(expressionOf(addressOf(e.workspace, e.thread, own)));
      const [i, index, value, out, end] = f.locals("i32", 5);
      f.forRange(i, from, to, 1, () => {
        const entry = f.let(expressionOf(addressOf(list, i, stride)));
        f.set(index, i32.load(entry));
        // The upper word of an i64 must be the sign's.
        if (stride === 8) f.if(i32.ne(i32.load(entry, 4), i32.shr_s(index, 31)), () => f.unreachable());
        f.if(i32.lt_s(index, 0), () => f.increment(index, rows));
        f.if(i32.ge_u(index, rows), () => f.unreachable());
        const panel = f.let(expressionOf(addressOf(table, i32.div_u(index, PANEL_COLUMNS), matrix.groupBytes)));
        f.call(widen, { w: panel, end: i32.add(panel, matrix.groupBytes - tail), out: workspace });
        f.set(value, i32.add(workspace, i32.shl(i32.rem_u(index, PANEL_COLUMNS), 2)));
        f.set(out, addressOf(y, i, 4 * k));
        f.set(end, i32.add(out, 4 * k));
        f.while(i32.lt_u(out, end), () => {
          f.i32.store(out, i32.load(value));
          f.increment(value, 4 * PANEL_COLUMNS);
          f.increment(out, 4);
        });
      });
    },
  };
}
