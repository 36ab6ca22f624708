import type { StepEmitter } from "../step.ts";
import { type CellForm, cellFunction, gateSum, type Stage } from "./recurrent-cell.ts";

export function rnnStages(e: Pick<StepEmitter, "shared" | "target">, form: Omit<CellForm, "kind">): Stage[] {
  const cell = cellFunction(e, { ...form, kind: "rnn" }, (u) => {
    const h = u.gate(0, gateSum(u, 0));
    u.store("h", h);
    u.store("y", h);
  });
  return [{ gates: 1, of: "h", cell }];
}
