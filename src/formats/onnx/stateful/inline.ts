/** Branches written into the graph around them: of merged decoders, the one with caches and the one without. */
import { type Graph, isGraph, type Node, type ValueId } from "../../../graph/ir.ts";

/**
 * The nodes of a branch of an `if` node among those of its graph, with ids of their own, and where the branch's outputs are.
 * @param condition which branch
 */
export function inlineBranch(graph: Graph, node: Node, condition: boolean): { graph: Graph; outputs: ValueId[] } {
  const { thenBranch, elseBranch } = node.attrs as { thenBranch: Graph; elseBranch: Graph };
  const branch = condition ? thenBranch : elseBranch;
  const first = condition ? 1 : 1 + thenBranch.inputs.length;
  const outer = new Map<ValueId, ValueId>();
  branch.inputs.forEach((port, i) => {
    outer.set(port.id, node.inputs[first + i]!);
  });
  const idOf = (id: ValueId): ValueId => outer.get(id) ?? graph.valueCount + id;
  const constants = new Map(graph.constants);
  for (const [id, t] of branch.constants) constants.set(idOf(id), t);
  const nodes = branch.nodes.map((n) => ({
    ...n,
    inputs: n.inputs.map((id) => (id === undefined ? id : idOf(id))),
    outputs: n.outputs.map(idOf),
  }));
  const at = graph.nodes.indexOf(node);
  return {
    graph: {
      ...graph,
      constants,
      nodes: [...graph.nodes.slice(0, at), ...nodes, ...graph.nodes.slice(at)],
      valueCount: graph.valueCount + branch.valueCount,
    },
    outputs: branch.outputs.map((p) => idOf(p.id)),
  };
}

/** The `if` that an input of the graph decides. */
export const decidedBy = (graph: Graph, input: ValueId): Node | undefined =>
  graph.nodes.find(({ op, inputs, attrs }) => op.name === "if" && inputs[0] === input && isGraph(attrs["thenBranch"]));

/** The graph without what `wanted` does not depend on. */
export function pruned(graph: Graph, wanted: readonly ValueId[]): Graph {
  const read = new Set(wanted);
  const nodes: Node[] = [];
  for (const node of [...graph.nodes].reverse()) {
    if (!node.outputs.some((id) => read.has(id))) continue;
    nodes.push(node);
    for (const id of node.inputs) if (id !== undefined) read.add(id);
  }
  return { ...graph, nodes: nodes.reverse() };
}
