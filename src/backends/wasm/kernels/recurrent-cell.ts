/** What the cells of LSTM, GRU and RNN are to the loop that calls them, and how they are written. */
import type { Activation } from "../../../ops/activation.ts";
import type { CellActivation } from "../../../ops/recurrent.ts";
import { type Expr, type Func, type FunctionBuilder, f32x4, i32, type Local, v128 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import { activationKey, activationVector, hasActivation } from "./activations.ts";
import { gateSigmoid, gateTanh } from "./gates.ts";
import { clip, type VectorFunction } from "./math.ts";
import { storeUpTo } from "./vector.ts";

/**
 * Addresses of one sample's rows of n units at a step. `x` and `r` are its products with the input and with the state, a
 * row for each gate; `h` and `kept` its state, `y` where the new h goes as well; `constants` what the cell says they are.
 */
const cellParams = { x: "i32", r: "i32", h: "i32", kept: "i32", y: "i32", constants: "i32" } as const;
export type CellFunction = Func<typeof cellParams, undefined>;
type Row = keyof typeof cellParams;

/** A product with the state, and what follows it. */
export interface Stage {
  /** Gates that it gives. Those of the stages lie side by side in `r`. */
  readonly gates: number;
  /** The row that is multiplied. */
  readonly of: "h" | "kept";
  /** The last stage's changes the state. */
  readonly cell: CellFunction;
}

/** What a cell depends on. */
export interface CellForm {
  readonly n: number;
  /** One for each gate function. */
  readonly activations: readonly CellActivation[];
  readonly clip?: number;
  /** What else its operator distinguishes. */
  readonly kind: string;
}

/** Whether a cell can have it: all but those that ONNX has for cells only. */
export const hasCellActivation = (a: CellActivation): boolean =>
  a.kind !== "affine" && a.kind !== "scaledTanh" && a.kind !== "thresholdedRelu" && hasActivation(a);

/** Four units at a time. */
export interface Units {
  readonly f: FunctionBuilder;
  /** The row of gate `k`, or of the state. */
  load(row: Row, k?: number): Expr<"v128">;
  store(row: Row, value: Local<"v128">): void;
  /** Gate function `i`. */
  activate(i: number, x: Expr<"v128">): Local<"v128">;
  /** The same of what goes into a gate, and is clipped before. */
  gate(i: number, x: Expr<"v128">): Local<"v128">;
}

/** A function that does to all units of a row what `body` does to four. Made once for each form. */
export function cellFunction(
  e: Pick<StepEmitter, "shared" | "target">,
  { n, activations, clip: bound, kind }: CellForm,
  body: (units: Units) => void,
): CellFunction {
  const fma = e.target.features.relaxedSimd;
  const gates: Partial<Record<CellActivation["kind"], VectorFunction>> = {
    tanh: gateTanh(fma),
    sigmoid: gateSigmoid(fma),
  };
  const functions = activations.map((a) => gates[a.kind] ?? activationVector(a as Activation).make);
  const keys = activations.map((a) => activationKey(a as Activation));
  const limit: VectorFunction = bound === undefined ? (_, x) => x : clip(-bound, bound);
  const name = `${kind}/${n}/${keys}/${bound ?? ""}`;
  return e.shared(name, (m) =>
    m.func({ name, params: cellParams }, (f, rows) => {
      const left = f.let(i32.const(n));
      f.loop((again) => {
        body({
          f,
          load: (row, k = 0) => v128.load(rows[row], 4 * n * k),
          store: (row, value) => storeUpTo(f, "f32", rows[row], value, left),
          activate: (i, x) => f.let(functions[i](f, x)),
          gate: (i, x) => f.let(functions[i](f, limit(f, x))),
        });
        for (const at of Object.values(rows)) f.increment(at, 16);
        f.increment(left, -4);
        f.brIf(again, i32.gt_s(left, 0));
      });
    }),
  );
}

/** What gate `k` sums up. */
export const gateSum = ({ load }: Units, k: number): Expr<"v128"> => f32x4.add(load("x", k), load("r", k));
