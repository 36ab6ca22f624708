/**
 * How one row of activations goes through panels of weights: two at a time, far from each other, and several such pairs in turn.
 * Processors fetch ahead within a page of memory and wait at its end; from so many places at once they get more of it. See
 * quantized-dot.ts for what that gives.
 */
import { type FunctionBuilder, i32, type Local, type Params } from "../assembler.ts";
import { PANEL_COLUMNS } from "./gemm-pack.ts";
import type { rowParams } from "./stored-panels.ts";

/** Panels that are multiplied at the same time: `2 * pairs` of them, from `w` and `out` on so many bytes `apart`. */
export interface Line {
  readonly w: Local<"i32">;
  readonly out: Local<"i32">;
  readonly pairs: Local<"i32">;
  readonly apart: Record<"w" | "out", Local<"i32">>;
}

/** Writes code that takes all `groups` panels, line by line. What is left goes pair by pair, and a last one twice. */
export function walkRow(
  f: FunctionBuilder,
  { w, out, groups, pairs }: Params<typeof rowParams>,
  panelBytes: number,
  line: (line: Line) => void,
): void {
  const resultBytes = 4 * PANEL_COLUMNS;
  const [together, lines, left, taken, wApart, outApart] = f.locals("i32", 6);
  f.while(groups, () => {
    f.set(together, pairs);
    f.if(i32.lt_u(groups, i32.shl(pairs, 1)), () => f.set(together, 1));
    f.set(lines, i32.div_u(groups, i32.shl(together, 1)));
    f.set(wApart, i32.mul(lines, panelBytes));
    f.set(outApart, i32.mul(lines, resultBytes));
    f.set(taken, i32.mul(i32.shl(together, 1), lines));
    f.if(i32.eqz(lines), () => {
      f.set(lines, 1);
      f.set(taken, 1);
    });
    f.set(groups, i32.sub(groups, taken));
    f.set(taken, i32.sub(taken, lines));
    f.set(left, lines);
    f.while(left, () => {
      line({ w, out, pairs: together, apart: { w: wApart, out: outApart } });
      f.increment(w, panelBytes);
      f.increment(out, resultBytes);
      f.increment(left, -1);
    });
    f.set(w, i32.add(w, i32.mul(taken, panelBytes)));
    f.set(out, i32.add(out, i32.mul(taken, resultBytes)));
  });
}
