/**
 * The one way in which graphs change: a rule looks at a node, in order, and may put others in its place or declare its
 * output equal to another value. Nodes that nobody reads afterwards disappear.
 */
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import type { Node, ValueId } from "../ir.ts";

/** What a rule may know and do. */
export interface RewriteContext {
  /** The type of a value, where shapes are known already (while planning, not at compile). */
  type(id: ValueId): TensorType | undefined;
  constant(id: ValueId): HostTensor | undefined;
  /** Whether a constant with one reader may be written over: the session owns its array, and no other has the same. */
  owns(id: ValueId): boolean;
  /** The node that produces a value, after the rewrites so far. */
  producer(id: ValueId): Node | undefined;
  /** How many nodes and graph outputs read a value. */
  uses(id: ValueId): number;
  addConstant(t: HostTensor): ValueId;
  addValue(type?: TensorType): ValueId;
}

/**
 * New nodes in place of one (they must produce its outputs); `same`: output 0 is another value; `constants`: the outputs
 * are these; or no change.
 */
export type Rewrite = readonly Node[] | { same: ValueId } | { constants: readonly HostTensor[] };
export type Rule = (node: Node, context: RewriteContext) => Rewrite | undefined;

export interface RewriteHost extends Omit<RewriteContext, "producer" | "uses"> {
  /** Values read from outside the node list: graph outputs, later stages. */
  isOutput(id: ValueId): boolean;
  setConstant(id: ValueId, t: HostTensor): void;
}

/** Drops what nobody reads, then applies each rule to every node once, in order, and drops again. */
export function rewrite(nodes: readonly Node[], rules: readonly Rule[], host: RewriteHost): readonly Node[] {
  return rules.reduce<readonly Node[]>((list, rule) => apply(list, rule, host), dropDead(nodes, host.isOutput));
}

function apply(nodes: readonly Node[], rule: Rule, host: RewriteHost): readonly Node[] {
  const alias = new Map<ValueId, ValueId>();
  const out: Node[] = [];
  // Made when they are first asked for: most rules find nothing to ask about in most graphs.
  let producers: Map<ValueId, Node> | undefined;
  let counts: Map<ValueId, number> | undefined;
  let changed = false;
  const count = (node: Node, by: number): void => {
    for (const id of node.inputs) if (id !== undefined) uses().set(id, (uses().get(id) ?? 0) + by);
  };
  const uses = (): Map<ValueId, number> => {
    if (!counts) {
      counts = new Map();
      for (const node of nodes) count(node, 1);
    }
    return counts;
  };
  const produce = (node: Node): void => {
    for (const id of node.outputs) producers!.set(id, node);
  };
  const keep = (node: Node): void => {
    out.push(node);
    if (producers) produce(node);
  };
  const context: RewriteContext = {
    ...host,
    producer(id) {
      if (!producers) {
        producers = new Map();
        out.forEach(produce);
      }
      return producers.get(id);
    },
    uses: (id) => (uses().get(id) ?? 0) + (host.isOutput(id) ? 1 : 0),
  };
  for (const original of nodes) {
    const node = redirect(original, alias);
    const result = rule(node, context);
    if (!result) {
      keep(node);
      continue;
    }
    changed = true;
    if ("same" in result && !host.isOutput(node.outputs[0])) {
      alias.set(node.outputs[0], result.same);
      uses().set(result.same, (uses().get(result.same) ?? 0) + (uses().get(node.outputs[0]) ?? 0) - 1);
      continue;
    }
    if ("constants" in result) {
      count(node, -1);
      node.outputs.forEach((id, i) => {
        host.setConstant(id, result.constants[i]);
      });
      continue;
    }
    const replacement = "same" in result ? [node] : result;
    if (replacement[0] !== node) {
      count(node, -1);
      for (const n of replacement) count(n, 1);
    }
    replacement.forEach(keep);
  }
  return changed ? dropDead(out, host.isOutput) : nodes;
}

function redirect(node: Node, alias: ReadonlyMap<ValueId, ValueId>): Node {
  if (alias.size === 0 || !node.inputs.some((id) => id !== undefined && alias.has(id))) return node;
  return { ...node, inputs: node.inputs.map((id) => (id === undefined ? id : (alias.get(id) ?? id))) };
}

/** Keeps the nodes whose outputs somebody reads, and those that change state. */
export function dropDead(nodes: readonly Node[], isOutput: (id: ValueId) => boolean): Node[] {
  const read = new Set<ValueId>();
  const kept: Node[] = [];
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i];
    if (!node.op.mutates && !node.outputs.some((id) => read.has(id) || isOutput(id))) continue;
    kept.push(node);
    for (const id of node.inputs) if (id !== undefined) read.add(id);
  }
  return kept.reverse();
}
