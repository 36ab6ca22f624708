import type { GruAttrs } from "../../../ops/gru.ts";
import { f32x4 } from "../assembler.ts";
import type { StepEmitter } from "../step.ts";
import { constant } from "./math.ts";
import { type CellForm, cellFunction, gateSum, type Stage, type Units } from "./recurrent-cell.ts";

const { add, mul, sub } = f32x4;

/** Gates in the order update, reset, hidden. */
export function gruStages(
  e: Pick<StepEmitter, "shared" | "target">,
  form: Omit<CellForm, "kind">,
  { linearBeforeReset = false }: GruAttrs,
  bias: boolean,
): Stage[] {
  /** h = (1 - update) candidate + update h */
  const renew = (u: Units, candidate: Parameters<Units["gate"]>[1]): void => {
    const { f, load, store, gate } = u;
    const update = gate(0, gateSum(u, 0));
    const fresh = mul(sub(constant(f, 1), update), gate(1, candidate));
    const h = f.let(add(fresh, mul(update, load("h"))));
    store("h", h);
    store("y", h);
  };
  const reset = (u: Units) => u.gate(0, gateSum(u, 1));
  if (linearBeforeReset) {
    // `constants` are the bias that goes with the state.
    const cell = cellFunction(e, { ...form, kind: `gru/linear${bias ? "/bias" : ""}` }, (u) => {
      const fromState = bias ? add(u.load("r", 2), u.load("constants")) : u.load("r", 2);
      renew(u, add(u.load("x", 2), mul(reset(u), fromState)));
    });
    return [{ gates: 3, of: "h", cell }];
  }
  // `kept` is the state times the reset gate, which the hidden gate multiplies.
  const before = cellFunction(e, { ...form, kind: "gru/reset" }, (u) =>
    u.store("kept", u.f.let(mul(reset(u), u.load("h")))),
  );
  const after = cellFunction(e, { ...form, kind: "gru/renew" }, (u) => renew(u, gateSum(u, 2)));
  return [
    { gates: 2, of: "h", cell: before },
    { gates: 1, of: "kept", cell: after },
  ];
}
