/** What a run would take, without running: the first stage's plan for inputs of given shapes. */

import { formatType, type Shape } from "../tensor/shape.ts";
import { emptyTensor, type HostTensor, type HostValue } from "../tensor/tensor.ts";
import type { ValueId } from "./ir.ts";
import { lastUses, planStage } from "./plan.ts";
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
  const env = new Map<ValueId, HostValue>();
  const inputs: string[] = [];
  const taken: Record<string, Shape> = {};
  for (const port of graph.inputs) {
    if (!port.dtype) continue;
    const shape =
      shapes[port.name] ?? (port.shape ?? []).map((d, i) => (typeof d === "number" ? d : i === 0 ? 1 : free));
    const zeros: HostTensor = port.default ?? emptyTensor({ dtype: port.dtype, shape });
    inputs.push(`${port.name} ${formatType(zeros)}`);
    taken[port.name] = zeros.shape;
    env.set(port.id, zeros);
  }
  const stage = planStage(graph, 0, env, lastUses(graph), session.device);
  return { inputs, shapes: taken, arenaBytes: stage.plan.arenaBytes, stopsAt: graph.nodes[stage.end]?.name };
}
