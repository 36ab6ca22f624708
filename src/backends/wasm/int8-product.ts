/** Products of bytes with the gemm of kernels/gemm.ts, which takes words for floats, and how both sides of them are laid out. */
import { matmulGeometry } from "../../ops/matmul.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { KernelInput, Prepack } from "../backend.ts";
import { i32, type Operand } from "./assembler.ts";
import { isByte, isScalar } from "./int8.ts";
import { type GemmFunction, gemmWorkspaceBytes } from "./kernels/gemm.ts";
import { PANEL_COLUMNS } from "./kernels/gemm-pack.ts";
import { alignUp } from "./memory.ts";
import { addressOf, type StepEmitter, type WasmTarget } from "./step.ts";

/** What a layout knows of a product of A [m, k] and B [k, n]. */
export interface ByteProduct {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: "i8" | "u8";
  readonly b: "i8" | "u8";
  /** B's zero points, one or one for each column. */
  readonly zeros: TypedArray | undefined;
  /** Whether A has zero points. */
  readonly hasZero: boolean;
  readonly threads: number;
}

/** Addresses of A, B as packed, and the zero points of A's rows, `zeroStep` bytes apart. */
interface Sides {
  readonly a: number;
  readonly b: number;
  readonly zero: number;
  readonly zeroStep: number;
}

/** How bytes become words that the gemm multiplies. */
export type Layout = (product: ByteProduct) => {
  /** In a row of A, and a column of B. */
  readonly words: number;
  readonly key: string;
  readonly packedWords: number;
  readonly pack: (source: TypedArray, packed: Int32Array) => void;
  /** Of the step, for all threads. */
  readonly workspaceBytes: number;
  gemm(e: StepEmitter): GemmFunction;
  /** Prepares rows of A. Returns where the first one is, and bytes from one to the next. */
  rows(
    e: StepEmitter,
    part: Sides & { readonly row: Operand<"i32">; readonly rows: Operand<"i32"> },
  ): { at: Operand<"i32">; stride: number };
  /** Completes sums at `c`: those of a row, from a column on. */
  correct?(e: StepEmitter, part: Sides & Record<"row" | "column" | "count" | "c", Operand<"i32">>): void;
};

export interface ProductPlan {
  readonly m: number;
  readonly n: number;
  readonly workspaceBytes: number;
  readonly prepack: readonly Prepack[];
  /** C, i32 [m, n] at `c`, and then `finish` with a row of it: the address of its first column, and of how many. */
  emit(e: StepEmitter, at: { a: number; aZero: number; b: number; c: number }, finish?: FinishRow): void;
}

export type FinishRow = (row: Operand<"i32">, column: Operand<"i32">, count: Operand<"i32">) => void;

/** Rows from which each thread takes some of them, rather than columns. */
const fewRows = 24;

/** A scale or zero point of the rows of `x`, all its axes but the last: one for all, or one for each. */
export const ofRows = (t: TensorType | undefined, x: TensorType): boolean =>
  isScalar(t) ||
  (t!.shape.length === x.shape.length && t!.shape.every((d, i, s) => d === (i < s.length - 1 ? x.shape[i] : 1)));

/** Undefined where B is not constant, or has zero points of another kind. */
export function planProduct(
  target: WasmTarget,
  layout: Layout,
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
  const zeros = bZero?.constant?.data as TypedArray | undefined;
  const { threads } = target;
  const types = { a: a.dtype as "i8" | "u8", b: b.dtype as "i8" | "u8" };
  const { words, ...how } = layout({ m, n, k, ...types, zeros, hasZero: aZero !== undefined, threads });
  const prepared = alignUp(how.workspaceBytes);
  const own = alignUp(gemmWorkspaceBytes(m, words));
  return {
    m,
    n,
    workspaceBytes: prepared + own * threads,
    prepack: [
      {
        input: inputOfB,
        key: `${how.key}/${k}/${zeros ?? ""}`,
        type: { dtype: "i32", shape: [how.packedWords] },
        pack: (source, packed) => how.pack(source as TypedArray, packed as Int32Array),
      },
    ],
    emit(e, at, finish) {
      const { f } = e;
      const byRows = m >= fewRows * e.target.threads;
      const { from, to } = byRows ? e.share(m, 4) : e.share(n, PANEL_COLUMNS);
      const count = typeof from === "number" ? (to as number) - from : f.let(i32.sub(to, from));
      const [row, rows] = byRows ? [from, count] : [0, m];
      const [column, width] = byRows ? [0, n] : [from, count];
      const sides = { a: at.a, b: at.b, zero: at.aZero, zeroStep: isScalar(aZero) ? 0 : 1 };
      const first = how.rows(e, { ...sides, row, rows });
      const sumsAt = (r: Operand<"i32">) => addressOf(addressOf(at.c, r, 4 * n), column, 4);
      f.call(how.gemm(e), {
        a: first.at,
        lda: first.stride,
        b: addressOf(at.b, column, 4 * words),
        c: sumsAt(row),
        ldc: 4 * n,
        m: rows,
        n: width,
        k: words,
        bias: 0,
        residual: 0,
        ldr: 0,
        workspace: addressOf(e.workspace + prepared, e.thread, own),
      });
      if (!finish && !how.correct) return;
      const r = f.local("i32");
      f.forRange(r, row, byRows ? to : m, 1, () => {
        how.correct?.(e, { ...sides, row: r, column, count: width, c: sumsAt(r) });
        finish?.(r, column, width);
      });
    },
  };
}
