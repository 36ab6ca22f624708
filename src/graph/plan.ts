/**
 * Planning: from a position in the graph, the longest run of nodes whose shapes are all known becomes one stage, with a
 * kernel for each node and a place in memory for each value. A graph without data-dependent shapes is a single stage.
 * A stage remembers which types and values of its surroundings it relied on, and is reused while they are the same.
 */
import type { Backend, KernelInput, Place, PlannedStep, StagePlan, Step } from "../backends/backend.ts";
import { isHostInput } from "../ops/op.ts";
import { bytesOf } from "../tensor/dtype.ts";
import { UnsupportedOpError } from "../tensor/errors.ts";
import { formatType, sameShape, sizeOf } from "../tensor/shape.ts";
import {
  emptyTensor,
  type HostTensor,
  type HostValue,
  isHostTensor,
  reshaped,
  type TensorType,
} from "../tensor/tensor.ts";
import { inferNode } from "./infer.ts";
import { type Graph, type Node, stateValues, type ValueId } from "./ir.ts";
import { planRules } from "./passes/index.ts";
import { type RewriteHost, rewrite } from "./passes/rewrite.ts";
import { placeLinear, type Storage } from "./place.ts";

/** Elements up to which a value that follows from shapes and constants is computed while planning. */
const foldLimit = 4096;
/** Elements a node may read while a shape is computed from run-time values. */
const demandLimit = 65536;

export interface Stage<S extends Step = Step> {
  /** One past its last node. Equal to its start where the first node has to run on the host. */
  readonly end: number;
  readonly plan: StagePlan<S>;
  readonly inputs: readonly ValueId[];
  readonly outputs: readonly ValueId[];
  /** Values that later nodes need and that planning found already. */
  readonly folded: readonly (readonly [ValueId, HostTensor])[];
  /** What the plan relied on. */
  readonly types: readonly (readonly [ValueId, TensorType | undefined])[];
  readonly values: readonly (readonly [ValueId, HostTensor])[];
}

export type Environment = ReadonlyMap<ValueId, HostValue>;

/** Whether a stage planned earlier holds for these values. */
export function stageFits(stage: Stage, env: Environment): boolean {
  return (
    stage.types.every(([id, type]) => {
      const v = env.get(id);
      if (!isHostTensor(v)) return type === undefined;
      return type !== undefined && v.dtype === type.dtype && sameShape(v.shape, type.shape);
    }) && stage.values.every(([id, value]) => sameElements(env.get(id) as HostTensor, value))
  );
}

function sameElements(a: HostTensor, b: HostTensor): boolean {
  if (a.data === b.data) return true;
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

export function planStage<S extends Step>(
  graph: Graph,
  start: number,
  env: Environment,
  lastUse: ReadonlyMap<ValueId, number>,
  backend: Backend<S>,
): Stage<S> {
  const shapes = new ShapeWalk(graph, start, env);
  const end = shapes.walk();
  const isNeededLater = (id: ValueId): boolean => (lastUse.get(id) ?? -1) >= end;
  const nodes = fuse(graph.nodes.slice(start, end), shapes, isNeededLater);
  const steps = chooseKernels(nodes, shapes, isNeededLater, backend);
  const layout = new Layout<S>(shapes, isNeededLater);
  const plan = layout.place(steps);
  const folded = [...shapes.known].filter(([id]) => isNeededLater(id));
  return {
    end,
    plan: plan.plan,
    inputs: plan.inputs,
    outputs: plan.outputs,
    folded,
    types: [...shapes.readTypes],
    values: [...shapes.readValues],
  };
}

/** Walks nodes forward, inferring types and folding what follows from them, until one can't be planned. */
class ShapeWalk {
  readonly types = new Map<ValueId, TensorType>();
  /** Values that follow from constants and types alone. */
  readonly known = new Map<ValueId, HostTensor>();
  readonly readTypes = new Map<ValueId, TensorType | undefined>();
  readonly readValues = new Map<ValueId, HostTensor>();
  /** Values computed from run-time values because a shape depends on them. */
  private readonly demanded = new Map<ValueId, HostTensor>();
  private readonly producer = new Map<ValueId, Node>();
  /** Values that are state, by its number. */
  readonly states: ReadonlyMap<ValueId, number>;

  constructor(
    readonly graph: Graph,
    readonly start: number,
    readonly env: Environment,
  ) {
    this.states = stateValues(graph);
  }

  walk(): number {
    const { nodes } = this.graph;
    for (let i = this.start; i < nodes.length; i++) if (!this.visit(nodes[i])) return i;
    return nodes.length;
  }

  private visit(node: Node): boolean {
    if (!node.op.infer) return false;
    const inputs: (TensorType | undefined)[] = [];
    for (const id of node.inputs) {
      const type = id === undefined ? undefined : this.typeOf(id);
      if (id !== undefined && (!type || type.dtype === "string")) return false;
      inputs.push(type);
    }
    const operands = inputs.map((type, k) => {
      const id = node.inputs[k];
      return type && id !== undefined && isHostInput(node.op, k) ? { ...type, value: this.valueOf(id) } : type;
    });
    if (operands.some((o, k) => o && isHostInput(node.op, k) && !("value" in o && o.value))) return false;
    const outputs = inferNode(node, operands);
    if (outputs.some((t) => t.dtype === "string")) return false;
    outputs.forEach((type, k) => {
      const id = node.outputs[k];
      if (id === undefined) return;
      this.types.set(id, type);
      this.producer.set(id, node);
    });
    this.fold(node, inputs, outputs);
    return true;
  }

  typeOf(id: ValueId): TensorType | undefined {
    const own = this.types.get(id) ?? this.graph.constants.get(id);
    if (own) return own;
    const state = this.states.get(id);
    if (state !== undefined) return this.graph.states![state];
    const v = this.env.get(id);
    const type = isHostTensor(v) ? { dtype: v.dtype, shape: v.shape } : undefined;
    this.readTypes.set(id, type);
    return type;
  }

  /** A value that never changes while this plan holds, without looking at run-time values. */
  constantOf(id: ValueId): HostTensor | undefined {
    return this.graph.constants.get(id) ?? this.known.get(id);
  }

  /** Also from run-time values, on which the plan then depends. */
  valueOf(id: ValueId): HostTensor | undefined {
    const found = this.constantOf(id) ?? this.demanded.get(id);
    if (found) return found;
    const v = this.env.get(id);
    if (isHostTensor(v)) {
      this.readValues.set(id, v);
      return v;
    }
    const node = this.producer.get(id);
    if (!node || node.op.infer === undefined) return undefined;
    const inputs: (HostTensor | undefined)[] = [];
    for (const input of node.inputs) {
      const value =
        input === undefined ? undefined : sizeOf(this.typeOf(input)!.shape) > demandLimit ? null : this.valueOf(input);
      if (input !== undefined && !value) return undefined;
      inputs.push(value ?? undefined);
    }
    const outputs = node.outputs.map((o) => this.types.get(o)!);
    if (!this.evaluate(node, inputs, outputs, this.demanded)) return undefined;
    return this.demanded.get(id);
  }

  private fold(node: Node, inputTypes: readonly (TensorType | undefined)[], outputs: readonly TensorType[]): void {
    if (outputs.some((t) => sizeOf(t.shape) > foldLimit)) return;
    const inputs = node.inputs.map((id, k) => {
      if (id === undefined) return undefined;
      const type = inputTypes[k]!;
      if (node.op.shapeOnly) return this.constantOf(id) ?? { ...type, data: [] };
      return this.constantOf(id) ?? null;
    });
    if (inputs.some((v) => v === null)) return;
    this.evaluate(node, inputs as (HostTensor | undefined)[], outputs, this.known);
  }

  private evaluate(
    node: Node,
    inputs: readonly (HostTensor | undefined)[],
    outputs: readonly TensorType[],
    into: Map<ValueId, HostTensor>,
  ): boolean {
    if (!node.op.reference) return false;
    const results = outputs.map(emptyTensor);
    node.op.reference(inputs, node.attrs, results);
    results.forEach((r, k) => {
      if (node.outputs[k] !== undefined) into.set(node.outputs[k], r);
    });
    return true;
  }
}

/** Applies the fusions. New values get ids past the graph's own, which mean something in this stage only. */
function fuse(nodes: readonly Node[], shapes: ShapeWalk, isOutput: (id: ValueId) => boolean): readonly Node[] {
  let next = shapes.graph.valueCount;
  const host: RewriteHost = {
    type: (id) => shapes.typeOf(id),
    constant: (id) => shapes.constantOf(id),
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
  return planRules.reduce<readonly Node[]>((list, rule) => rewrite(list, rule, host), nodes);
}

interface Choice<S extends Step> {
  node: Node;
  kernel: string;
  /** Undefined for views: their output is their input's memory under another shape. */
  step: S | undefined;
  fallback: boolean;
  inputs: (KernelInput | undefined)[];
  outputs: (TensorType | undefined)[];
}

/** A kernel for each node that somebody needs, in order. */
function chooseKernels<S extends Step>(
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

/** Gives every value of the chosen steps a place: constants where they are, the rest in one arena. */
class Layout<S extends Step> {
  private readonly storages: Storage[] = [];
  private readonly storageOf = new Map<ValueId, Storage>();
  private readonly constants = new Map<ValueId, HostTensor>();
  private readonly stageInputs = new Map<ValueId, TensorType>();

  constructor(
    private readonly shapes: ShapeWalk,
    private readonly isNeededLater: (id: ValueId) => boolean,
  ) {}

  place(choices: readonly Choice<S>[]): { plan: StagePlan<S>; inputs: ValueId[]; outputs: ValueId[] } {
    const last = this.lastReads(choices);
    const drafts = choices.map((choice, i) => this.draft(choice, i, last));
    const outputs = [...this.shapes.types.keys()].filter(
      (id) => this.isNeededLater(id) && (this.storageOf.has(id) || this.constants.has(id)),
    );
    const arenaBytes = placeLinear(this.storages);
    const steps = drafts.flatMap((d, i) => this.finish(choices[i], d));
    const inputs = [...this.stageInputs.keys()];
    return {
      plan: {
        steps,
        inputs: inputs.map((id) => this.placeOf(id)),
        outputs: outputs.map((id) => this.placeOf(id)),
        arenaBytes,
      },
      inputs,
      outputs,
    };
  }

  /** Last step that reads each value. */
  private lastReads(choices: readonly Choice<S>[]): Map<ValueId, number> {
    const last = new Map<ValueId, number>();
    choices.forEach(({ node }, i) => {
      for (const id of node.inputs) if (id !== undefined) last.set(id, i);
    });
    for (const id of this.shapes.types.keys()) if (this.isNeededLater(id)) last.set(id, choices.length);
    return last;
  }

  private draft(choice: Choice<S>, i: number, last: ReadonlyMap<ValueId, number>): { workspace?: Storage } {
    const { node } = choice;
    const runtime = node.inputs.filter((id, k) => id !== undefined && !choice.inputs[k]!.constant) as ValueId[];
    for (const id of runtime) {
      if (this.constants.has(id) || this.shapes.states.has(id)) continue;
      // Comes from before the stage: copied into the arena at the start.
      if (!this.storageOf.has(id)) {
        const type = this.shapes.typeOf(id)!;
        this.stageInputs.set(id, type);
        this.storageOf.set(id, this.storage(type, -1, i));
      }
      const s = this.storageOf.get(id)!;
      s.last = Math.max(s.last, last.get(id)!);
    }
    node.outputs.forEach((id, k) => {
      const type = choice.outputs[k];
      if (id === undefined || !type || this.shapes.states.has(id)) return;
      const shared = k === 0 ? this.shareable(choice, i, type) : undefined;
      if (shared === "constant") return;
      const storage = shared ?? this.storage(type, i, i);
      storage.last = Math.max(storage.last, last.get(id) ?? i);
      this.storageOf.set(id, storage);
    });
    const bytes = choice.step?.workspaceBytes ?? 0;
    return { workspace: bytes ? this.addStorage({ bytes, first: i, last: i, offset: 0 }) : undefined };
  }

  /** The storage of an input that output 0 may take over: a view of it, or dead after this step. */
  private shareable(choice: Choice<S>, i: number, type: TensorType): Storage | "constant" | undefined {
    const { node, step } = choice;
    const first = node.inputs[0];
    if (node.op.view && first !== undefined) {
      const constant = this.constants.get(first) ?? this.shapes.constantOf(first);
      if (!constant) return this.storageOf.get(first);
      this.constants.set(node.outputs[0], reshaped(constant, type.shape));
      return "constant";
    }
    if (choice.fallback || !(node.op.inplace || step?.inplace)) return undefined;
    for (const [k, id] of node.inputs.entries()) {
      if (id === undefined || choice.inputs[k]!.constant) continue;
      const s = this.storageOf.get(id);
      const t = choice.inputs[k]!;
      const sameSize = sizeOf(t.shape) === sizeOf(type.shape) && bytesOf(t.dtype) === bytesOf(type.dtype);
      if (s && s.last === i && sameSize) return s;
    }
    return undefined;
  }

  private storage(type: TensorType, first: number, last: number): Storage {
    return this.addStorage({ bytes: sizeOf(type.shape) * bytesOf(type.dtype), first, last, offset: 0 });
  }

  private addStorage(s: Storage): Storage {
    this.storages.push(s);
    return s;
  }

  private placeOf(id: ValueId): Place {
    const { dtype, shape } = this.shapes.typeOf(id)!;
    const storage = this.storageOf.get(id);
    if (storage) return { dtype, shape, offset: storage.offset };
    const state = this.shapes.states.get(id);
    if (state !== undefined) return { dtype, shape, state };
    return { dtype, shape, constant: this.constants.get(id) ?? this.shapes.constantOf(id)! };
  }

  private finish(choice: Choice<S>, { workspace }: { workspace?: Storage }): PlannedStep<S>[] {
    const { node, kernel, step } = choice;
    if (!step) return [];
    const inputs = node.inputs.map((id, k): Place | undefined => {
      if (id === undefined) return undefined;
      const { dtype, shape, constant } = choice.inputs[k]!;
      const prepack = step.prepack?.find((p) => p.input === k);
      return constant ? { dtype, shape, constant, prepack } : this.placeOf(id);
    });
    const outputs = node.outputs.map((id, k) => (choice.outputs[k] ? this.placeOf(id) : undefined));
    return [
      {
        node: node.name,
        op: node.op,
        attrs: node.attrs,
        kernel,
        step,
        inputs,
        outputs,
        workspaceOffset: workspace?.offset ?? 0,
      },
    ];
  }
}
