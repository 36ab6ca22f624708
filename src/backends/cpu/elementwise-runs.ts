/**
 * Broadcasting reduced to runs: the output is cut into runs of `length` consecutive elements, along which each operand
 * advances by its own fixed step (1, or 0 where it repeats). Equal shapes and scalars are one run; a row vector gives a
 * run per row, a per-channel vector one per channel. Adjacent dimensions merge where every operand allows it.
 */
import { broadcastStrides, type Shape, sizeOf } from "../../tensor/shape.ts";

export interface Runs {
  readonly length: number;
  readonly count: number;
  /** Per operand: elements to advance inside a run. */
  readonly steps: readonly number[];
  /** Per operand: where each run starts. */
  readonly starts: readonly Int32Array[];
}

export function runsOf(out: Shape, ...operands: Shape[]): Runs {
  const strides = operands.map((s) => broadcastStrides(s, out));
  // From the innermost dimension outwards; a dimension joins the one inside it when every operand walks on evenly.
  const dims: { size: number; strides: number[] }[] = [];
  for (let d = out.length - 1; d >= 0; d--) {
    if (out[d] === 1) continue;
    const inner = dims[dims.length - 1];
    const own = strides.map((s) => s[d]);
    if (inner && own.every((s, t) => s === inner.strides[t] * inner.size)) inner.size *= out[d];
    else dims.push({ size: out[d], strides: own });
  }
  const { size: length, strides: steps } = dims[0] ?? { size: 1, strides: operands.map(() => 0) };
  const outer = dims.slice(1);
  const count = sizeOf(out) === 0 ? 0 : sizeOf(outer.map((d) => d.size));
  const starts = operands.map((_, t) => {
    const at = new Int32Array(count);
    let filled = Math.min(1, count);
    for (const { size, strides } of outer) {
      const block = filled;
      for (let k = 1; k < size && filled < count; k++)
        for (let i = 0; i < block; i++) at[filled++] = at[i] + k * strides[t];
    }
    return at;
  });
  return { length, count, steps, starts };
}

/** One run: y[i] = a op b, where `a` starts at `p` and advances by `sa`, `b` at `q` by `sb`, and `y` at `i` to `end`. */
export type RunLoop<X, Y = X> = (
  a: X,
  p: number,
  sa: number,
  b: X,
  q: number,
  sb: number,
  y: Y,
  i: number,
  end: number,
) => void;

export function forRuns<X, Y>(loop: RunLoop<X, Y>, runs: Runs, a: X, b: X, y: Y): void {
  const [sa, sb] = runs.steps;
  const [as, bs] = runs.starts;
  const { length, count } = runs;
  for (let r = 0; r < count; r++) loop(a, as[r], sa, b, bs[r], sb, y, r * length, (r + 1) * length);
}
