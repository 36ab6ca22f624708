/** A kernel for each node of a stage. */
import type { Backend, KernelInput, Step } from "../backends/backend.ts";
import { isHostInput } from "../ops/op.ts";
import { UnsupportedOpError } from "../tensor/errors.ts";
import { formatType } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import type { Node, ValueId } from "./ir.ts";
import type { ShapeWalk } from "./shape-walk.ts";

export interface Choice<S extends Step> {
  node: Node;
  kernel: string;
  /** Undefined for views: their output is their input's memory under another shape. */
  step: S | undefined;
  fallback: boolean;
  inputs: (KernelInput | undefined)[];
  outputs: (TensorType | undefined)[];
  /** Runs at the same time as the one before it. */
  beside?: boolean;
}

/** A kernel for each node that somebody needs, in order. */
export function chooseKernels<S extends Step>(
  nodes: readonly Node[],
  shapes: ShapeWalk,
  isNeededLater: (id: ValueId) => boolean,
  backend: Backend<S>,
): Choice<S>[] {
  const needed = new Set<ValueId>();
  const isNeeded = (id: ValueId): boolean => (needed.has(id) || isNeededLater(id)) && !shapes.known.has(id);
  const live: Node[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some(isNeeded) && !shapes.states.has(node.outputs[0])) continue;
    live.push(node);
    node.inputs.forEach((id, k) => {
      if (id !== undefined && !isHostInput(node.op, k)) needed.add(id);
    });
  }
  const missing: string[] = [];
  const choices: Choice<S>[] = [];
  for (const node of live.reverse()) {
    const inputs = node.inputs.map((id, k): KernelInput | undefined => {
      if (id === undefined) return undefined;
      const constant = isHostInput(node.op, k) ? shapes.valueOf(id) : shapes.constantOf(id);
      const { dtype, shape } = shapes.typeOf(id)!;
      return { dtype, shape, constant };
    });
    checkStates(node, shapes.states);
    const all = node.outputs.map((id) => shapes.types.get(id)!);
    const wanted = node.outputs.map((id, k) => (isNeeded(id) || shapes.states.has(id) ? all[k] : undefined));
    const choice = choose(node, inputs, wanted, all, backend);
    if (choice) choices.push(choice);
    else missing.push(`${node.op.name} (node "${node.name}", ${inputs.map((t) => t && formatType(t)).join(", ")})`);
  }
  if (missing.length)
    throw new UnsupportedOpError(`${backend.name} has no kernel for: ${missing.join("; ")}`, { missing });
  return choices;
}

/** Kernels expect values at fixed places; only those of operators that say so know state. */
function checkStates({ op, name, inputs }: Node, states: ReadonlyMap<ValueId, number>): void {
  inputs.forEach((id, k) => {
    if (id === undefined || !states.has(id) || op.states?.includes(op.inputs[k])) return;
    throw new UnsupportedOpError(`${op.name}: cannot read state directly`, { op: op.name, node: name });
  });
}

function choose<S extends Step>(
  node: Node,
  inputs: (KernelInput | undefined)[],
  wanted: (TensorType | undefined)[],
  all: TensorType[],
  backend: Backend<S>,
): Choice<S> | undefined {
  if (node.op.view) return { node, kernel: "view", step: undefined, fallback: false, inputs, outputs: wanted };
  for (const k of backend.kernelsFor(node.op)) {
    const step = k.plan(inputs, wanted, node.attrs);
    if (step) return { node, kernel: k.name, step, fallback: false, inputs, outputs: wanted };
  }
  const step = backend.fallback?.(node.op, inputs, all, node.attrs);
  return step && { node, kernel: `reference/${node.op.name}`, step, fallback: true, inputs, outputs: all };
}
