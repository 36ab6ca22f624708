/**
 * The loop of recurrent layers, f32, which LSTM, GRU and RNN share. A direction of a sample is a sequence; threads take
 * sequences, and the steps of one follow each other on one thread.
 *
 *   products with the input    of many steps at once where there are few samples, so that weights are read once for them
 *   products with the state    of all samples, at every step
 *   cells                      row by row: recurrent-cell.ts
 *
 * Threads don't share the units of a sequence: a step of 256 units takes 15 microseconds and would take two meetings, in
 * which a part waits for others that may not run yet. One sample in one direction is for one thread, therefore, where
 * onnxruntime-web is 1.7 times as fast on two.
 *
 * Time goes alike for all samples: one that is shorter than others keeps its state where it has ended, which the reverse
 * direction meets first.
 */
import { inputRow, outputRow, type RecurrentGeometry, stateRow } from "../../../ops/recurrent.ts";
import { type Expr, i32, type Local, type Operand, select } from "../assembler.ts";
import { alignUp } from "../memory.ts";
import { addressOf, partsOf, type StepEmitter } from "../step.ts";
import { gemmWorkspaceBytes } from "./gemm.ts";
import { gemvSlack } from "./gemv.ts";
import type { Stage } from "./recurrent-cell.ts";

export interface Layer {
  readonly g: RecurrentGeometry;
  readonly direction: "forward" | "reverse" | "bidirectional";
  readonly gates: number;
}

/** Rows of a product with the input: enough to make good use of each weight. */
const productRows = 128;
/** So many samples are enough for that at every step. */
const manySamples = 12;

/** A thread's workspace, and of how many steps it takes the products with the input. */
export function loopLayout({ g, gates }: Layer) {
  const { seq, batch, input, hidden: n } = g;
  const steps = batch >= manySamples ? 1 : Math.min(seq, Math.floor(productRows / batch));
  const r = alignUp(4 * (steps * batch * gates * n + gemvSlack));
  const h = r + alignUp(4 * (batch * gates * n + gemvSlack));
  const kept = h + alignUp(4 * batch * n);
  const gemm = kept + alignUp(4 * batch * n);
  const bytes = gemm + alignUp(gemmWorkspaceBytes(Math.max(steps, batch), Math.max(input, n)));
  return { steps, x: 0, r, h, kept, gemm, bytes };
}

/** What there is one of for each direction: an address, and bytes from one to the next. */
export interface Sided {
  readonly at: number;
  readonly step: number;
}

/** c[m, n] = a[m, k] b (+ bias): strides in bytes, b in panels. Where m is 1, whole panels are written. */
export interface ProductArgs {
  readonly a: Expr<"i32">;
  readonly lda: number;
  readonly b: Operand<"i32">;
  readonly c: Expr<"i32">;
  readonly ldc: Operand<"i32">;
  readonly m: Operand<"i32">;
  readonly n: number;
  readonly k: number;
  readonly bias: Operand<"i32">;
  readonly workspace: Expr<"i32">;
}
export type Product = (args: ProductArgs) => void;

export interface LoopParts {
  readonly stages: readonly Stage[];
  /** With the bias, and without. */
  readonly fromInput: Product;
  readonly fromState: Product;
  /** Packed for these; of the state's, one for each stage. */
  readonly w: Sided;
  readonly r: readonly Sided[];
  readonly bias: Sided;
  /** For cells. */
  readonly constants: Sided;
}

/** Addresses of tensors; 0: missing, or unread. */
export interface LoopTensors {
  readonly x: number;
  readonly lengths: number;
  readonly h: number;
  readonly c: number;
  readonly y: number;
  readonly lastH: number;
  readonly lastC: number;
}

export function emitLoop(e: StepEmitter, layer: Layer, parts: LoopParts, tensors: LoopTensors): void {
  const { f } = e;
  const { g, gates, direction } = layer;
  const { seq, batch, input, hidden: n, directions } = g;
  const own = loopLayout(layer);
  const [rowBytes, gateBytes] = [4 * n, 4 * n * gates];
  const sequences = directions * batch;
  const share = sequences > 1 ? e.share(sequences, 1, partsOf(sequences, manySamples, e.target)) : { from: 0, to: 1 };
  const workspace = f.let(asExpr(addressOf(e.workspace, e.thread, own.bytes)));
  const [d, t, first, last, rows, b] = f.locals("i32", 6);
  const [s, start, count, left] = f.locals("i32", 4);

  const part = (offset: number): Expr<"i32"> => i32.add(workspace, offset);
  /** Of sample b: a thread has those from `first` on. */
  const rowOf = (offset: number, bytes: number): Expr<"i32"> =>
    i32.add(part(offset), i32.mul(i32.sub(b, first), bytes));
  /** The row of a tensor. @param row elements in front of step t, direction d and sample b */
  const rowIn = (
    tensor: number,
    row: (t: number, d: number, b: number) => number,
    [t, sample]: [t: Operand<"i32">, sample: Local<"i32">],
  ): Expr<"i32"> =>
    [i32.mul(t, 4 * row(1, 0, 0)), i32.mul(d, 4 * row(0, 1, 0)), i32.mul(sample, 4 * row(0, 0, 1))].reduce(
      (sum, bytes) => i32.add(sum, bytes),
      i32.const(tensor),
    );
  const xRow = (t: number, _: number, b: number): number => inputRow(g, t, b);
  const yRow = (t: number, d: number, b: number): number => outputRow(g, t, d, b);
  const sRow = (_: number, d: number, b: number): number => stateRow(g, d, b);
  const sided = ({ at, step }: Sided): Operand<"i32"> => addressOf(at, d, step);
  const forSamples = (body: () => void): void => f.forRange(b, first, last, 1, body);
  const product = { workspace: part(own.gemm) };

  const states = [
    { at: own.h, initial: tensors.h, final: tensors.lastH },
    { at: own.kept, initial: tensors.c, final: tensors.lastC },
  ];
  const begin = (): void =>
    forSamples(() => {
      for (const { at, initial } of states)
        if (initial) f.memory.copy(rowOf(at, rowBytes), rowIn(initial, sRow, [0, b]), rowBytes);
        else f.memory.fill(rowOf(at, rowBytes), 0, rowBytes);
    });
  const end = (): void =>
    forSamples(() => {
      for (const { at, final } of states)
        if (final) f.memory.copy(rowIn(final, sRow, [0, b]), rowOf(at, rowBytes), rowBytes);
    });

  /** The products of steps [start, start + count) with the input, step by step and in a step by samples. */
  const multiplyInput = (): void => {
    const weights = { b: sided(parts.w), bias: sided(parts.bias), n: gates * n, k: input };
    const multiply = (args: Pick<ProductArgs, "a" | "lda" | "c" | "ldc" | "m">): void =>
      parts.fromInput({ ...product, ...weights, ...args });
    if (own.steps === 1)
      multiply({
        a: rowIn(tensors.x, xRow, [start, first]),
        lda: 4 * inputRow(g, 0, 1),
        c: part(own.x),
        ldc: gateBytes,
        m: rows,
      });
    else
      forSamples(() =>
        multiply({
          a: rowIn(tensors.x, xRow, [start, b]),
          lda: 4 * inputRow(g, 1, 0),
          c: rowOf(own.x, gateBytes),
          ldc: i32.mul(rows, gateBytes),
          m: count,
        }),
      );
  };

  const step = (): void => {
    const x = f.let(i32.mul(i32.mul(i32.sub(t, start), rows), gateBytes));
    let gate = 0;
    parts.stages.forEach(({ gates: columns, of, cell }, i) => {
      parts.fromState({
        ...product,
        a: part(own[of]),
        lda: rowBytes,
        b: sided(parts.r[i]),
        c: part(own.r + gate * rowBytes),
        ldc: gateBytes,
        m: rows,
        n: columns * n,
        k: n,
        bias: 0,
      });
      gate += columns;
      const isLast = i === parts.stages.length - 1;
      forSamples(() => {
        const h = rowOf(own.h, rowBytes);
        const y = isLast && tensors.y ? rowIn(tensors.y, yRow, [t, b]) : h;
        const call = (): void =>
          f.call(cell, {
            x: i32.add(x, rowOf(own.x, gateBytes)),
            r: rowOf(own.r, gateBytes),
            h,
            kept: rowOf(own.kept, rowBytes),
            y,
            constants: sided(parts.constants),
          });
        if (!isLast || !tensors.lengths) call();
        else
          f.if(i32.gt_s(i32.load(i32.add(tensors.lengths, i32.shl(b, 2))), t), call, () => {
            if (tensors.y) f.memory.fill(y, 0, rowBytes);
          });
      });
    });
  };

  f.forRange(d, 0, directions, 1, () => {
    const limited = (bound: Operand<"i32">): Expr<"i32"> => {
      const at = f.let(i32.sub(bound, i32.mul(d, batch)));
      return f.let(select(select(at, i32.const(batch), i32.lt_s(at, batch)), i32.const(0), i32.gt_s(at, 0)));
    };
    f.set(first, limited(share.from));
    f.set(last, limited(share.to));
    f.set(rows, i32.sub(last, first));
    const backward = direction === "bidirectional" ? d : i32.const(direction === "reverse" ? 1 : 0);
    f.if(i32.gt_s(rows, 0), () => {
      begin();
      f.forRange(s, 0, seq, own.steps, () => {
        f.set(left, i32.sub(seq, s));
        f.set(count, select(left, i32.const(own.steps), i32.lt_s(left, own.steps)));
        f.set(start, select(i32.sub(left, count), s, backward));
        multiplyInput();
        f.set(left, count);
        f.set(t, select(i32.add(start, i32.sub(count, 1)), start, backward));
        f.while(left, () => {
          step();
          f.increment(t, select(i32.const(-1), i32.const(1), backward));
          f.increment(left, -1);
        });
      });
      end();
    });
  });
}

const asExpr = (x: Operand<"i32">): Expr<"i32"> => (typeof x === "number" ? i32.const(x) : x);
