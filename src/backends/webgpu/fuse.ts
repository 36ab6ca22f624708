/**
 * Chains of elementwise steps run as one: a value that only one later step reads, element by element, is computed there
 * and never stored.
 */
import { sameShape } from "../../tensor/shape.ts";
import type { Place, PlannedStep, StagePlan } from "../backend.ts";
import { type Elementwise, elementwiseStep } from "./elementwise.ts";
import { type AnyStep, isGpuStep } from "./step.ts";
import type { GpuTarget } from "./target.ts";

export function fuseElementwise(plan: StagePlan<AnyStep>, target: GpuTarget): StagePlan<AnyStep> {
  const readers = countReaders(plan);
  const steps: (PlannedStep<AnyStep> | undefined)[] = [...plan.steps];
  const producer = new Map<number, number>();
  steps.forEach((_, i) => {
    for (let merged: Merged | undefined; (merged = mergeOne(steps, i, producer, readers, target)); ) {
      steps[merged.from] = undefined;
      steps[i] = merged.step;
    }
    const [y] = steps[i]!.outputs;
    if (y?.slot !== undefined && elementwiseOf(steps[i]!)) producer.set(y.slot, i);
  });
  return { ...plan, steps: steps.filter((s) => s !== undefined) };
}

interface Merged {
  readonly from: number;
  readonly step: PlannedStep<AnyStep>;
}

const elementwiseOf = ({ step }: PlannedStep<AnyStep>): Elementwise | undefined =>
  isGpuStep(step) ? step.elementwise : undefined;

/** Step `i` with one of the steps that it reads from in it. */
function mergeOne(
  steps: readonly (PlannedStep<AnyStep> | undefined)[],
  i: number,
  producer: ReadonlyMap<number, number>,
  readers: ReadonlyMap<number, number>,
  target: GpuTarget,
): Merged | undefined {
  const step = steps[i]!;
  const own = elementwiseOf(step);
  if (!own) return undefined;
  for (const { input, type } of own.operands) {
    const { slot } = step.inputs[input]!;
    const from = slot === undefined || readers.get(slot) !== 1 ? undefined : producer.get(slot);
    const before = from === undefined ? undefined : steps[from];
    const inner = before && elementwiseOf(before);
    if (!inner || !sameShape(inner.output.shape, own.output.shape) || !sameShape(type.shape, own.output.shape))
      continue;
    const merged = merge(before, inner, step, own, slot!, target);
    if (merged) return { from: from!, step: merged };
  }
  return undefined;
}

function merge(
  before: PlannedStep<AnyStep>,
  inner: Elementwise,
  after: PlannedStep<AnyStep>,
  outer: Elementwise,
  slot: number,
  target: GpuTarget,
): PlannedStep<AnyStep> | undefined {
  const inputs: Place[] = [];
  const operands: Elementwise["operands"][number][] = [];
  /** Position among the joint operands. */
  const add = (place: Place, type: Elementwise["operands"][number]["type"]): number => {
    const found = inputs.findIndex((p, k) => sameShape(operands[k].type.shape, type.shape) && samePlace(p, place));
    if (found >= 0) return found;
    operands.push({ input: inputs.length, type });
    return inputs.push(place) - 1;
  };
  const innerAt = inner.operands.map(({ input, type }) => add(before.inputs[input]!, type));
  const outerAt = outer.operands.map(({ input, type }) => {
    const place = after.inputs[input]!;
    return place.slot === slot ? undefined : add(place, type);
  });
  // One binding is the result.
  if (operands.length >= target.limits.maxStorageBuffersPerShaderStage) return undefined;
  const joint: Elementwise = {
    output: outer.output,
    operands,
    value(args, name) {
      const value = name(
        inner.value(
          innerAt.map((k) => args[k]),
          name,
        ),
      );
      return outer.value(
        outerAt.map((k) => (k === undefined ? value : args[k])),
        name,
      );
    },
  };
  const step = elementwiseStep(target, joint);
  if (!step) return undefined;
  const node = `${before.node} + ${after.node}`;
  return { ...after, node, kernel: "webgpu/elementwise/fused", inputs, step: { dispatches: 1, ...step } };
}

const samePlace = (a: Place, b: Place): boolean =>
  a.slot !== undefined ? a.slot === b.slot : a.constant !== undefined && a.constant === b.constant;

/** How many steps read each slot; more than one for what the plan gives. */
export function countReaders(plan: StagePlan<AnyStep>): Map<number, number> {
  const readers = new Map<number, number>();
  const count = (slot: number | undefined): void => {
    if (slot !== undefined) readers.set(slot, (readers.get(slot) ?? 0) + 1);
  };
  for (const s of plan.steps) for (const slot of new Set(s.inputs.map((p) => p?.slot))) count(slot);
  for (const p of plan.outputs) for (let k = 0; k < 2; k++) count(p.slot);
  return readers;
}
