import type { LstmAttrs } from "../../../ops/lstm.ts";
import { f32x4 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import { constant } from "./math.ts";
import { type CellForm, cellFunction, gateSum, type Stage } from "./recurrent-cell.ts";

const { add, mul, sub } = f32x4;

/** `kept` is the cell's state, `constants` are peepholes. Gates in the order input, output, forget, cell. */
export function lstmStages(
  e: Pick<StepEmitter, "shared" | "target">,
  form: Omit<CellForm, "kind">,
  { inputForget = false }: LstmAttrs,
  peepholes: boolean,
): Stage[] {
  const kind = `lstm${inputForget ? "/coupled" : ""}${peepholes ? "/peepholes" : ""}`;
  const cell = cellFunction(e, { ...form, kind }, (u) => {
    const { f, load, store, activate, gate } = u;
    const before = f.let(load("kept"));
    const sum = (k: number, seen = before) =>
      peepholes ? add(gateSum(u, k), mul(load("constants", k), seen)) : gateSum(u, k);
    const input = gate(0, sum(0));
    const forget = inputForget ? sub(constant(f, 1), input) : gate(0, sum(2));
    const added = f.let(mul(input, gate(1, gateSum(u, 3))));
    const state = f.let(add(mul(forget, before), added));
    const output = gate(0, sum(1, state));
    const h = f.let(mul(output, activate(2, state)));
    store("kept", state);
    store("h", h);
    store("y", h);
  });
  return [{ gates: 4, of: "h", cell }];
}
