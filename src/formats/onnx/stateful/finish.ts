/** What is done to the graph with state once it is written. */
import { type Graph, type Node, producers } from "../../../graph/ir.ts";

export const finished = (graph: Graph): Graph => quantizedByRow(withoutTurns(graph));

/** Heads that attention gives apart and the graph joins again are not moved: of two such transpositions nothing is left. */
function withoutTurns(graph: Graph): Graph {
  const made = producers(graph);
  const permOf = (node: Node | undefined): readonly number[] =>
    node?.op.name === "transpose" ? ((node.attrs["perm"] as number[] | undefined) ?? []) : [];
  const nodes = graph.nodes.map((node) => ({
    ...node,
    inputs: node.inputs.map((id) => {
      const outer = id === undefined ? undefined : made.get(id);
      const inner = outer && made.get(outer.inputs[0]!);
      const [second, first] = [permOf(outer), permOf(inner)];
      const cancels = second.length > 0 && second.length === first.length && second.every((p, i) => first[p] === i);
      return cancels ? inner!.inputs[0] : id;
    }),
  }));
  return { ...graph, nodes };
}

/**
 * Activations that are quantised as a whole, all tokens of a run with one scale, are quantised token by token: what is computed
 * of a token then does not depend on what else a run holds, and is what the graph computes of single tokens. Only where all
 * that reads them takes scales and zero points by row.
 */
function quantizedByRow(graph: Graph): Graph {
  const others = new Set(graph.outputs.map((p) => p.id));
  for (const { op, inputs } of graph.nodes)
    inputs.forEach((id, i) => {
      const isFactor = op.name === "matmulIntegerToFloat" && [0, 2, 4].includes(i);
      if (id !== undefined && !isFactor) others.add(id);
    });
  const nodes = graph.nodes.map((node) =>
    node.op.name === "dynamicQuantizeLinear" && !node.outputs.some((id) => others.has(id))
      ? { ...node, attrs: { ...node.attrs, perRow: true } }
      : node,
  );
  return { ...graph, nodes };
}
