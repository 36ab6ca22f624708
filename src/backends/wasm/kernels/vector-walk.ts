/** An odometer in wasm: visits the cells of a few nested axes in order, with a pointer for each tensor. */
import { type FunctionBuilder, i32, type Local, type Operand } from "../assembler.ts";
import { addressOf, type Share, type StepEmitter } from "../step.ts";

export interface WalkAxis {
  readonly size: number;
  /** Bytes to the next position, for each pointer. */
  readonly steps: readonly number[];
}

/** Number of cells. */
export const walkSize = (axes: readonly WalkAxis[]): number => axes.reduce((n, a) => n * a.size, 1);

/** Axes of size 1 go; neighbours that are one evenly spaced axis for every pointer are merged. Outermost first. */
export function mergeAxes(axes: readonly WalkAxis[]): WalkAxis[] {
  const merged: WalkAxis[] = [];
  for (const axis of axes) {
    if (axis.size === 1) continue;
    const last = merged.at(-1);
    if (last?.steps.every((s, t) => s === axis.steps[t] * axis.size))
      merged[merged.length - 1] = { size: last.size * axis.size, steps: axis.steps };
    else merged.push(axis);
  }
  return merged;
}

/**
 * Calls `body` once, to write the code for a cell; it runs for cells [from, to) in row-major order. One division for each
 * axis where a thread starts, an addition and a comparison for each cell after that.
 */
export function emitWalk(
  f: FunctionBuilder,
  axes: readonly WalkAxis[],
  bases: readonly Operand<"i32">[],
  { from, to }: Share,
  body: (pointers: readonly Local<"i32">[]) => void,
): void {
  const pointers = bases.map((b) => f.let(typeof b === "number" ? i32.const(b) : b));
  const total = walkSize(axes);
  if (total === 1 && from === 0 && to === 1) {
    body(pointers);
    return;
  }
  const indices = axes.map((axis, d) => {
    const inner = walkSize(axes.slice(d + 1));
    const index = f.local("i32");
    if (from === 0) {
      f.set(index, 0);
      return index;
    }
    const whole = i32.div_u(from, inner);
    f.set(index, d === 0 ? whole : i32.rem_u(whole, axis.size));
    pointers.forEach((p, t) => {
      if (axis.steps[t] !== 0) f.set(p, addressOf(p, index, axis.steps[t]));
    });
    return index;
  });
  const cell = f.local("i32");
  const advance = (d: number): void => {
    if (d < 0) return;
    const axis = axes[d];
    f.increment(indices[d], 1);
    move(f, pointers, axis.steps, 1);
    if (d === 0) return;
    f.if(i32.eq(indices[d], axis.size), () => {
      f.set(indices[d], 0);
      move(f, pointers, axis.steps, -axis.size);
      advance(d - 1);
    });
  };
  f.forRange(cell, from, to, 1, () => {
    body(pointers);
    advance(axes.length - 1);
  });
}

function move(f: FunctionBuilder, pointers: readonly Local<"i32">[], steps: readonly number[], times: number): void {
  pointers.forEach((p, t) => {
    if (steps[t] !== 0) f.increment(p, steps[t] * times);
  });
}

/** `body` for each cell of the axes, dealt out to the threads. */
export function emitCells(
  e: StepEmitter,
  axes: readonly WalkAxis[],
  bases: readonly Operand<"i32">[],
  body: (pointers: readonly Operand<"i32">[]) => void,
): void {
  const cells = walkSize(axes);
  emitWalk(e.f, axes, bases, cells > 1 ? e.share(cells) : { from: 0, to: 1 }, body);
}

/**
 * `body` for columns of a stack of matrices: all of them for some of the matrices, or some for all where there are few.
 * It gets the pointers moved to the first column, and how many columns there are.
 */
export function emitColumns(
  e: StepEmitter,
  outer: readonly WalkAxis[],
  columns: WalkAxis,
  bases: readonly Operand<"i32">[],
  body: (pointers: readonly Operand<"i32">[], count: Operand<"i32">) => void,
): void {
  const { f } = e;
  const cells = walkSize(outer);
  if (cells >= 2 * e.target.threads) {
    emitCells(e, outer, bases, (pointers) => body(pointers, columns.size));
    return;
  }
  const { from, to } = e.share(columns.size, 16);
  const count = typeof from === "number" ? columns.size : f.let(i32.sub(to, from));
  emitWalk(f, outer, bases, { from: 0, to: cells }, (pointers) =>
    body(
      pointers.map((p, i) => addressOf(p, from, columns.steps[i])),
      count,
    ),
  );
}
