/** What a run would take, without running: the first stage's plan for inputs of given shapes. */

import { ShapeError } from "../tensor/errors.ts";
import { formatType, type Shape } from "../tensor/shape.ts";
import { emptyTensor, type HostTensor, type HostValue, memoryOf, printed } from "../tensor/tensor.ts";
import { defaultMemoryLimit } from "./infer.ts";
import { checkType } from "./inputs.ts";
import type { Dim, GraphPort, ValueId } from "./ir.ts";
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

/** By input name. */
export type Shapes = Readonly<Record<string, Shape>>;

/**
 * What shapes of some inputs say of all: a dimension of another input that has the name of one of theirs has its size.
 * @returns shapes by input name, with names where nothing is known; undefined where the model says nothing
 * @throws ShapeError for a shape that is none, that an input can't take, or that has another size for a name
 */
export function knownShapes(
  { graph: { inputs } }: Pick<Session, "graph">,
  shapes: Shapes,
): Readonly<Record<string, readonly Dim[] | undefined>> {
  const sizes = new Map<Dim, { size: number; by: string }>();
  const given = (name: string): Shape | undefined => (Object.hasOwn(shapes, name) ? shapes[name] : undefined);
  for (const port of inputs) {
    const shape = given(port.name);
    if (shape === undefined) continue;
    const who = `input "${port.name}"`;
    if (!Array.isArray(shape) || !shape.every((d) => Number.isSafeInteger(d) && d >= 0))
      throw new ShapeError(`${who}: a shape is an array of whole numbers >= 0, got ${printed(shape)}`);
    if (port.dtype) checkType(port, { dtype: port.dtype, shape });
    port.shape?.forEach((name, i) => {
      if (typeof name === "number" || name === "?") return;
      const { size, by } = sizes.get(name) ?? { size: shape[i], by: who };
      if (size !== shape[i])
        throw new ShapeError(
          `${who}: its dimension "${name}" is ${shape[i]}, but ${size} in ${by}: give both one size`,
        );
      sizes.set(name, { size, by });
    });
  }
  return Object.fromEntries(
    inputs.map(({ name, shape }) => [name, given(name) ?? shape?.map((d) => sizes.get(d)?.size ?? d)]),
  );
}

/**
 * @param shapes of some inputs, and what they say of others. What is free then is `free`, a batch (the first dimension) is 1
 * @throws ShapeError where the model can't take them
 */
export function previewPlan(session: Session, shapes: Shapes = {}, free = 1): PlanPreview {
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
export const planInputs = (session: Session, shapes: Shapes): Stage => planFor(session, zerosFor(session, shapes, 1));

function planFor({ graph, device, limits }: Session, given: readonly (readonly [GraphPort, HostTensor])[]): Stage {
  const env = new Map<ValueId, HostValue>(given.map(([{ id }, t]) => [id, t]));
  return planStage(graph, 0, env, lastUses(graph), device, { optimize: limits.optimize });
}

function zerosFor(session: Session, shapes: Shapes, free: number): [GraphPort, HostTensor][] {
  const known = knownShapes(session, shapes);
  return session.graph.inputs.flatMap((port): [GraphPort, HostTensor][] => {
    if (!port.dtype) return [];
    const shape = (known[port.name] ?? []).map((d, i) => (typeof d === "number" ? d : i === 0 ? 1 : free));
    const type = { dtype: port.dtype, shape };
    if (memoryOf(type) > defaultMemoryLimit)
      throw new ShapeError(
        `input "${port.name}" of type ${formatType(type)} takes more than ${defaultMemoryLimit} bytes`,
      );
    return [[port, port.default ?? emptyTensor(type)]];
  });
}
