/** The graph: what formats produce, passes rewrite and sessions run. Plain data; a node's operator is a reference. */
import type { Attrs, OpDef } from "../ops/op.ts";
import { type DType, isHalf } from "../tensor/dtype.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { Weight } from "../tensor/weight.ts";

export type ValueId = number;

/** A number, or the name of a dimension that the caller decides (`"batch"`). Unnamed ones are `"?"`. */
export type Dim = number | string;

/** What a model says of an input or output before it runs. */
export interface ValueInfo {
  readonly name: string;
  /** Undefined for sequences and optionals. */
  readonly dtype?: DType;
  /** Undefined where the model doesn't say. */
  readonly shape?: readonly Dim[];
}

export interface Node {
  readonly op: OpDef;
  /** The name in the source file, for messages. */
  readonly name: string;
  readonly inputs: readonly (ValueId | undefined)[];
  readonly outputs: readonly ValueId[];
  readonly attrs: Attrs;
}

export interface Graph {
  readonly name: string;
  readonly inputs: readonly GraphPort[];
  readonly outputs: readonly GraphPort[];
  readonly constants: ReadonlyMap<ValueId, HostTensor>;
  /** In an order in which every value is produced before it is used. */
  readonly nodes: readonly Node[];
  /** Memory that lasts from run to run; see `GraphState`. */
  readonly states?: readonly GraphState[];
  /** All ids are below this: passes take new ones from here. */
  readonly valueCount: number;
}

export interface GraphPort extends ValueInfo {
  readonly id: ValueId;
  /** What the tensors of a sequence or an optional are, where the model says it. */
  readonly elements?: DType;
  /** An input that may be left out, and its value then. */
  readonly default?: HostTensor;
}

/**
 * Memory of a session that operators with `mutates` change in place: KV caches. Only as many rows (of the first axis) are
 * there as the owner has reserved; plans do not depend on how many.
 */
export interface GraphState extends TensorType {
  readonly name: string;
  readonly id: ValueId;
}

/** The values that are state, by index in `graph.states`: the declared ones, and what mutating operators make of them. */
export function stateValues(graph: Graph): Map<ValueId, number> {
  const map = new Map<ValueId, number>();
  if (!graph.states?.length) return map;
  graph.states.forEach(({ id }, i) => {
    map.set(id, i);
  });
  for (const { op, inputs, outputs } of graph.nodes) {
    const state = op.mutates ? map.get(inputs[0]!) : undefined;
    if (state !== undefined) map.set(outputs[0], state);
  }
  return map;
}

/** Attribute values that are graphs: branches and loop bodies. */
export function subgraphsOf(node: Node): Graph[] {
  return Object.values(node.attrs).filter(isGraph);
}

export const isGraph = (v: unknown): v is Graph =>
  typeof v === "object" && v !== null && "nodes" in v && "constants" in v && "valueCount" in v;

/** Whether 16-bit floats go in or out, lie among the weights, or are made. */
export const usesHalves = ({ inputs, outputs, constants, nodes }: Graph): boolean =>
  [...inputs, ...outputs, ...constants.values()].some((t) => isHalf(t.dtype) || (t instanceof Weight && t.stored)) ||
  nodes.some((n) => Object.values(n.attrs).some(isHalf));

/** The node that produces each value. */
export function producers(graph: Graph): Map<ValueId, Node> {
  const map = new Map<ValueId, Node>();
  for (const node of graph.nodes) for (const id of node.outputs) map.set(id, node);
  return map;
}

/** The operators of a graph and of those nested in it. */
export function operatorsOf(graph: Graph): Set<OpDef> {
  const ops = new Set<OpDef>();
  const graphs = [graph];
  for (let g = graphs.pop(); g; g = graphs.pop())
    for (const node of g.nodes) {
      ops.add(node.op);
      graphs.push(...subgraphsOf(node));
    }
  return ops;
}
