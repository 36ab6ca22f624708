/**
 * Planning: from a position in the graph, the longest run of nodes whose shapes are all known becomes one stage, with a
 * kernel for each node and a place in memory for each value. A graph without data-dependent shapes is a single stage.
 * A stage remembers which types and values of its surroundings it relied on, and is reused while they are the same.
 */
import type { Backend, StagePlan, Step } from "../backends/backend.ts";
import { DeviceError } from "../tensor/errors.ts";
import { sameShape } from "../tensor/shape.ts";
import { type HostTensor, isHostTensor, isTensor, type TensorType } from "../tensor/tensor.ts";
import { type Choice, chooseKernels } from "./choose.ts";
import { checkOutput, defaultMemoryLimit } from "./infer.ts";
import type { Graph, Node, ValueId } from "./ir.ts";
import { Layout } from "./layout.ts";
import { planRules } from "./passes/index.ts";
import { type RewriteHost, rewrite } from "./passes/rewrite.ts";
import { type Environment, ShapeWalk } from "./shape-walk.ts";

export interface PlanLimits {
  /** Bytes that a stage's values may take. */
  memoryLimit?: number;
  /** Plans kept for each position: one for each recent combination of input shapes. Default 8. */
  plans?: number;
  /** False: nodes run as they are, unfused. */
  optimize?: boolean;
}

export interface Stage<S extends Step = Step> {
  /** One past its last node. Equal to its start where the first node has to run on the host. */
  readonly end: number;
  /** Its steps and views, by values; `plan` has them by places in memory. */
  readonly choices: readonly Choice<S>[];
  readonly plan: StagePlan<S>;
  readonly inputs: readonly ValueId[];
  readonly outputs: readonly ValueId[];
  /** Values that later nodes need and that planning found already. */
  readonly folded: readonly (readonly [ValueId, HostTensor])[];
  /** What the plan relied on. */
  readonly types: readonly (readonly [ValueId, TensorType | undefined])[];
  readonly values: readonly (readonly [ValueId, HostTensor])[];
}

/** Whether a stage planned earlier holds for these values. */
export function stageFits(stage: Stage, env: Environment): boolean {
  return (
    stage.types.every(([id, type]) => {
      const v = env.get(id);
      if (!isTensor(v)) return type === undefined;
      return type !== undefined && v.dtype === type.dtype && sameShape(v.shape, type.shape);
    }) &&
    stage.values.every(([id, value]) => {
      const v = env.get(id);
      return isHostTensor(v) && sameElements(v, value);
    })
  );
}

function sameElements(a: HostTensor, b: HostTensor): boolean {
  for (let i = 0; i < b.data.length; i++) if (!Object.is(a.data[i], b.data[i])) return false;
  return true;
}

/** Index of the last node that reads each value; Infinity for graph outputs. */
export function lastUses(graph: Graph): Map<ValueId, number> {
  const last = new Map<ValueId, number>();
  graph.nodes.forEach((node, i) => {
    for (const id of node.inputs) if (id !== undefined) last.set(id, i);
  });
  for (const port of graph.outputs) last.set(port.id, Number.POSITIVE_INFINITY);
  return last;
}

/**
 * Plans from node `start` on.
 * @throws ShapeError for a value that takes more bytes than `memoryLimit`, DeviceError where values together do, DTypeError for
 * an output of another dtype than it declares
 */
export function planStage<S extends Step>(
  graph: Graph,
  start: number,
  env: Environment,
  lastUse: ReadonlyMap<ValueId, number>,
  backend: Backend<S>,
  { memoryLimit = defaultMemoryLimit, optimize }: PlanLimits = {},
): Stage<S> {
  const shapes = new ShapeWalk(graph, start, env, memoryLimit);
  const end = shapes.walk();
  for (const port of graph.outputs) checkOutput(port, shapes.types.get(port.id));
  const isNeededLater = (id: ValueId): boolean => (lastUse.get(id) ?? -1) >= end;
  const own = graph.nodes.slice(start, end);
  const nodes = optimize === false ? own : fuse(own, shapes, isNeededLater);
  const chosen = chooseKernels(nodes, shapes, isNeededLater, backend);
  const steps = backend.arrange?.(chosen) ?? chosen;
  const layout = new Layout<S>(shapes, isNeededLater, backend.inplace);
  const plan = layout.place(steps);
  const { arenaBytes } = plan.plan;
  if (arenaBytes > memoryLimit)
    throw new DeviceError(
      `a run would take ${arenaBytes} bytes at once for its values, more than the limit of ${memoryLimit}; try smaller ` +
        "inputs, or load with a higher { memoryLimit }",
    );
  const folded = [...shapes.known].filter(([id]) => isNeededLater(id));
  return {
    end,
    choices: steps,
    plan: backend.refine?.(plan.plan) ?? plan.plan,
    inputs: plan.inputs,
    outputs: plan.outputs,
    folded,
    types: [...shapes.readTypes],
    values: [...shapes.readValues],
  };
}

/** Applies the fusions. New values get ids past the graph's own, which mean something in this stage only. */
function fuse(nodes: readonly Node[], shapes: ShapeWalk, isOutput: (id: ValueId) => boolean): readonly Node[] {
  let next = shapes.graph.valueCount;
  const host: RewriteHost = {
    type: (id) => shapes.typeOf(id),
    constant: (id) => shapes.constantOf(id),
    owns: () => false,
    setConstant: (id, t) => shapes.known.set(id, t),
    addConstant(t) {
      shapes.known.set(next, t);
      shapes.types.set(next, t);
      return next++;
    },
    addValue(type) {
      if (type) shapes.types.set(next, type);
      return next++;
    },
    isOutput,
  };
  return rewrite(nodes, planRules(), host);
}
