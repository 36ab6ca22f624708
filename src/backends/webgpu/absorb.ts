/**
 * Steps that disappear into the one that reads them, which says how (`GpuStep.absorb`):
 *
 *   a norm, or an elementwise step, into products of few rows: prologue.ts
 *   a rotation into the cache that its result is appended to: rotation.ts
 */
import type { PlannedStep, StagePlan } from "../backend.ts";
import { countReaders } from "./fuse.ts";
import { type AnyStep, isGpuStep } from "./step.ts";

export function absorbSteps(plan: StagePlan<AnyStep>): StagePlan<AnyStep> {
  const readers = countReaders(plan);
  const steps: (PlannedStep<AnyStep> | undefined)[] = [...plan.steps];
  steps.forEach((before, i) => {
    const slot = before?.outputs[0]?.slot;
    if (!before || slot === undefined || before.outputs.length !== 1) return;
    const later = steps.flatMap((s, k) => (s && k > i && s.inputs.some((p) => p?.slot === slot) ? [k] : []));
    // All that read it have to be here.
    if (later.length === 0 || later.length !== readers.get(slot)) return;
    const merged = later.map((k) => {
      const after = steps[k]!;
      const both = isGpuStep(after.step) ? after.step.absorb?.(before, after, slot) : undefined;
      const join = (a: string, b: string): string => `${a} + ${b}`;
      return (
        both && { ...after, ...both, node: join(before.node, after.node), kernel: join(before.kernel, after.kernel) }
      );
    });
    if (!merged.every((m) => m !== undefined)) return;
    later.forEach((k, j) => {
      steps[k] = merged[j];
    });
    steps[i] = undefined;
  });
  return { ...plan, steps: steps.filter((s) => s !== undefined) };
}
