/**
 * Products that don't need each other's results go side by side: threads then share them as one step, and meet once. A layer
 * of a decoder has queries, keys and values of one input, and two products in its feed-forward part. Meeting costs a
 * microsecond, as does the thread that is late, where such a product of one token takes some ten.
 */
import type { ChosenStep, PlannedStep, StagePlan } from "../backend.ts";
import { type AnyStep, isWasmStep } from "./step.ts";

/** Where steps take longer, meeting costs nothing, and that more of their results exist at once is memory. */
const mostWork = 5_000_000;

function canMove({ step, node }: ChosenStep<AnyStep>): boolean {
  const work = step && isWasmStep(step) && step.prepack ? (step.work ?? 0) : 0;
  return work > 0 && work < mostWork && !node.op.states;
}

/** The same steps; some products come earlier, beside others. */
export function sideBySide<C extends ChosenStep<AnyStep>>(steps: readonly C[]): readonly C[] {
  const runs: C[][] = [];
  /** Numbers of the runs that values come from. */
  const from = new Map<number, number>();
  /** The latest run of products. */
  let latest = -1;
  for (const s of steps) {
    const after = Math.max(-1, ...s.node.inputs.map((id) => from.get(id!) ?? -1));
    const moves = canMove(s);
    const at = moves && latest > after ? latest : runs.push([]) - 1;
    runs[at].push(s);
    if (moves) latest = at;
    for (const id of s.node.outputs) from.set(id, at);
  }
  return runs.flatMap((run) => run.map((s, i) => (i > 0 ? { ...s, beside: true } : s)));
}

/** The same plan, in which steps side by side that begin with the same thing do it once: an input of products, quantised. */
export function beginTogether(plan: StagePlan<AnyStep>): StagePlan<AnyStep> {
  /** Of the steps side by side so far, those that begin. */
  let first: PlannedStep<AnyStep>[] = [];
  const steps = plan.steps.map((s): PlannedStep<AnyStep> => {
    if (!s.beside) first = [];
    if (!isWasmStep(s.step) || s.step.begins === undefined) return s;
    const { begins } = s.step;
    const same = first.find(({ step, inputs: [x] }) => {
      const y = s.inputs[0]!;
      return isWasmStep(step) && step.begins === begins && x!.offset !== undefined && x!.offset === y.offset;
    });
    if (same) return { ...s, step: { ...s.step, begin: undefined }, workspaceOffset: same.workspaceOffset };
    first.push(s);
    return s;
  });
  return { ...plan, steps };
}
