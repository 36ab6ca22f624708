/** Names and order of nodes: who uses what, a valid order, and which results anybody reads. */
import { FormatError } from "../../tensor/errors.ts";
import type { GraphProto, ModelProto, NodeProto, TensorProto } from "./proto.ts";

/** What a node is called in messages. */
export const nodeLabel = (n: NodeProto): string => n.name || n.outputs.find((o) => o !== "") || n.type;

/** Graphs nested in a node. */
export function* graphsOf(node: NodeProto): Generator<GraphProto> {
  for (const a of node.attributes) {
    if (a.graph) yield a.graph;
    yield* a.graphs;
  }
}

/** Every name that a node reads: its inputs, and what the graphs nested in it take from outside. */
function referencesOf(node: NodeProto): Set<string> {
  const names = new Set(node.inputs);
  for (const g of graphsOf(node)) for (const name of freeNames(g)) names.add(name);
  names.delete("");
  return names;
}

const free = new WeakMap<GraphProto, Set<string>>();

/** Names that a nested graph uses and doesn't define. */
function freeNames(graph: GraphProto): Set<string> {
  let names = free.get(graph);
  if (names) return names;
  names = new Set(graph.outputs.map((o) => o.name));
  for (const node of graph.nodes) for (const name of referencesOf(node)) names.add(name);
  for (const port of graph.inputs) names.delete(port.name);
  for (const t of graph.initializers) names.delete(t.name);
  for (const t of graph.sparseInitializers) names.delete(t.values.name);
  for (const node of graph.nodes) for (const name of node.outputs) names.delete(name);
  free.set(graph, names);
  return names;
}

export interface Schedule {
  /** The nodes that contribute to an output, each after the ones it depends on. */
  readonly nodes: readonly NodeProto[];
  /** Names that one of them, or an output, reads. */
  readonly used: ReadonlySet<string>;
}

/**
 * Orders nodes. Files must be sorted already; the ones that aren't are sorted here.
 * @param outputs names that must be produced
 * @throws FormatError for a cycle, or a name produced twice
 */
export function schedule(nodes: readonly NodeProto[], outputs: readonly string[]): Schedule {
  const producer = new Map<string, number>();
  nodes.forEach((node, i) => {
    for (const name of node.outputs) {
      if (name === "") continue;
      if (producer.has(name))
        throw new FormatError(`onnx: two nodes produce "${name}"`, { op: node.type }).at(nodeLabel(node));
      producer.set(name, i);
    }
  });
  const references = nodes.map(referencesOf);
  const order = topological(nodes, references, producer);
  const used = new Set(outputs);
  const live: NodeProto[] = [];
  for (const i of order.reverse()) {
    if (!nodes[i].outputs.some((name) => used.has(name))) continue;
    live.push(nodes[i]);
    for (const name of references[i]) used.add(name);
  }
  return { nodes: live.reverse(), used };
}

function topological(
  nodes: readonly NodeProto[],
  references: readonly Set<string>[],
  producer: ReadonlyMap<string, number>,
): number[] {
  const waiting = nodes.map(() => 0);
  const users: number[][] = nodes.map(() => []);
  let sorted = true;
  references.forEach((names, i) => {
    for (const name of names) {
      const from = producer.get(name);
      if (from === undefined) continue;
      waiting[i]++;
      users[from].push(i);
      sorted &&= from < i;
    }
  });
  if (sorted) return nodes.map((_, i) => i);
  const ready = [...nodes.keys()].filter((i) => waiting[i] === 0);
  for (let at = 0; at < ready.length; at++)
    for (const user of users[ready[at]]) if (--waiting[user] === 0) ready.push(user);
  if (ready.length < nodes.length) {
    const names = nodes.filter((_, i) => waiting[i] > 0).map((n) => `"${nodeLabel(n)}"`);
    const list = names.slice(0, 4).join(", ");
    throw new FormatError(`onnx: nodes depend on each other in a cycle: ${list}${names.length > 4 ? ", ..." : ""}`);
  }
  return ready;
}

/** Every tensor of a model, also in nested graphs, attributes and functions. */
export function* tensorsOf(model: ModelProto): Generator<TensorProto> {
  yield* tensorsOfGraph(model.graph);
  for (const f of model.functions) yield* tensorsOfNodes(f.nodes);
}

function* tensorsOfGraph(graph: GraphProto): Generator<TensorProto> {
  yield* graph.initializers;
  for (const s of graph.sparseInitializers) yield* [s.values, s.indices];
  yield* tensorsOfNodes(graph.nodes);
}

function* tensorsOfNodes(nodes: readonly NodeProto[]): Generator<TensorProto> {
  for (const node of nodes) {
    for (const a of node.attributes) {
      if (a.tensor) yield a.tensor;
      yield* a.tensors;
    }
    for (const g of graphsOf(node)) yield* tensorsOfGraph(g);
  }
}
