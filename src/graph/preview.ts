/** What a run would take, without running: the first stage's plan for inputs of given shapes. */

import { formatType } from "../tensor/shape.ts";
import { emptyTensor, type HostTensor, type HostValue } from "../tensor/tensor.ts";
import type { ValueId } from "./ir.ts";
import { lastUses, planStage } from "./plan.ts";
import type { Session } from "./session.ts";

export interface PlanPreview {
  /** Printed types of the inputs it holds for. */
  readonly inputs: readonly string[];
  /** Bytes of activations and workspaces. */
  readonly arenaBytes: number;
  /** The node whose shape depends on data, where planning stops until a run knows it. */
  readonly stopsAt?: string;
}

/** @param shapes by input name; free dimensions of the others are 1 */
export function previewPlan(session: Session, shapes: Readonly<Record<string, readonly number[]>> = {}): PlanPreview {
  const { graph } = session;
  const env = new Map<ValueId, HostValue>();
  const inputs: string[] = [];
  for (const port of graph.inputs) {
    if (!port.dtype) continue;
    const shape = shapes[port.name] ?? (port.shape ?? []).map((d) => (typeof d === "number" ? d : 1));
    const zeros: HostTensor = port.default ?? emptyTensor({ dtype: port.dtype, shape });
    inputs.push(`${port.name} ${formatType(zeros)}`);
    env.set(port.id, zeros);
  }
  const stage = planStage(graph, 0, env, lastUses(graph), session.device);
  return { inputs, arenaBytes: stage.plan.arenaBytes, stopsAt: graph.nodes[stage.end]?.name };
}
