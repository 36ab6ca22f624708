/** What a run would take, without running: the first stage's plan for inputs of given shapes. */

import { ShapeError } from "../tensor/errors.ts";
import { formatType, type Shape } from "../tensor/shape.ts";
import { emptyTensor, type HostTensor, type HostValue, memoryOf, printed } from "../tensor/tensor.ts";
import { defaultMemoryLimit } from "./infer.ts";
import type { GraphPort, ValueId } from "./ir.ts";
import { lastUses, planStage, type Stage } from "./plan.ts";
import type { Session } from "./session.ts";

export interface PlanPreview {
  /** Printed types of the inputs it holds for. */
  readonly inputs: readonly string[];
  /** Their shapes by name. */
  readonly shapes: Readonly<Record<string, Shape>>;
  /** Bytes of activations and workspaces. */
  readonly arenaBytes: number;
  /** The node whose shape depends on data, where planning stops until a run knows it. */
  readonly stopsAt?: string;
}

/**
 * @param shapes by input name. Free dimensions of the others are `free`, a batch (the first dimension) is 1
 * @throws ShapeError where the model can't take them
 */
export function previewPlan(
  session: Session,
  shapes: Readonly<Record<string, readonly number[]>> = {},
  free = 1,
): PlanPreview {
  const { graph } = session;
  const given = zerosFor(session, shapes, free);
  const stage = planFor(session, given);
  return {
    inputs: given.map(([{ name }, t]) => `${name} ${formatType(t)}`),
    shapes: Object.fromEntries(given.map(([{ name }, t]) => [name, t.shape])),
    arenaBytes: stage.plan.arenaBytes,
    stopsAt: graph.nodes[stage.end]?.name,
  };
}

/** The plan of the first stage for inputs of given shapes, as `previewPlan` takes them. */
export const planInputs = (session: Session, shapes: Readonly<Record<string, readonly number[]>>): Stage =>
  planFor(session, zerosFor(session, shapes, 1));

function planFor({ graph, device, limits }: Session, given: readonly (readonly [GraphPort, HostTensor])[]): Stage {
  const env = new Map<ValueId, HostValue>(given.map(([{ id }, t]) => [id, t]));
  return planStage(graph, 0, env, lastUses(graph), device, { optimize: limits.optimize });
}

function zerosFor(
  { graph }: Session,
  shapes: Readonly<Record<string, readonly number[]>>,
  free: number,
): [GraphPort, HostTensor][] {
  return graph.inputs.flatMap((port): [GraphPort, HostTensor][] => {
    if (!port.dtype) return [];
    const shape =
      shapes[port.name] ?? (port.shape ?? []).map((d, i) => (typeof d === "number" ? d : i === 0 ? 1 : free));
    if (!Array.isArray(shape) || !shape.every((d) => Number.isSafeInteger(d) && d >= 0))
      throw new ShapeError(`input "${port.name}": a shape is an array of whole numbers >= 0, got ${printed(shape)}`);
    const type = { dtype: port.dtype, shape };
    if (memoryOf(type) > defaultMemoryLimit)
      throw new ShapeError(
        `input "${port.name}" of type ${formatType(type)} takes more than ${defaultMemoryLimit} bytes`,
      );
    return [[port, port.default ?? emptyTensor(type)]];
  });
}
