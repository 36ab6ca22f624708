/**
 * Where a graph attends to its caches: everything between keys, values and queries on one side and what attention gives on
 * the other, however exporters write it. Found by following keys and values; what it computes is measured elsewhere.
 */
import type { Graph, Node, ValueId } from "../../../graph/ir.ts";
import { sizeOf } from "../../../tensor/shape.ts";
import type { CachePort } from "./ports.ts";
import { Unrecognised } from "./unrecognised.ts";

/** Keys or values with the new ones behind them. */
export interface Cache extends CachePort {
  /** [1, heads, past + tokens, dim]. */
  readonly id: ValueId;
  /** The new ones; none where the encoder gave all. */
  readonly added?: ValueId;
}

export interface Region {
  readonly keys: Cache;
  readonly values: Cache;
  readonly query: ValueId;
  readonly result: ValueId;
  /** In order; the last gives the result. */
  readonly nodes: readonly Node[];
}

export interface Regions {
  readonly regions: readonly Region[];
  /** Nodes that put new keys and values behind old ones. */
  readonly appends: ReadonlySet<Node>;
}

/** What a value is made of, among caches, queries and scores. */
interface Flow {
  keys?: Cache;
  values?: Cache;
  query?: ValueId;
  nodes: ReadonlySet<Node>;
}

/**
 * @param isStatic whether shapes and masks decide a value
 * @throws Unrecognised where keys or values go elsewhere than into attention
 */
export function findRegions(graph: Graph, caches: readonly CachePort[], isStatic: (id: ValueId) => boolean): Regions {
  const past = new Map(caches.map((c) => [c.port.id, c]));
  const flows = new Map<ValueId, Flow>();
  const appends = new Set<Node>();
  const regions: Region[] = [];
  const begin = (cache: Cache): void => {
    flows.set(cache.id, { [cache.kind === "key" ? "keys" : "values"]: cache, nodes: new Set() });
  };
  for (const c of caches) if (c.encoder) begin({ ...c, id: c.port.id });
  for (const node of graph.nodes) {
    if (node.op.shapeOnly || node.outputs.every(isStatic)) continue;
    const read = node.inputs.filter((id) => id !== undefined);
    const old = read.map((id) => past.get(id)).find((c) => c && !c.encoder);
    if (old) {
      begin({ ...old, id: node.outputs[0], added: addedBy(node, old.port.id) });
      appends.add(node);
      continue;
    }
    const tracked = read.flatMap((id) => flows.get(id) ?? []);
    if (tracked.length === 0) continue;
    const free = read.filter((id) => !flows.has(id) && !isStatic(id));
    const flow = merged(node, tracked, free);
    if (!flow.keys || !flow.values || flow.query === undefined) {
      for (const id of node.outputs) flows.set(id, flow);
      continue;
    }
    const { query, scaling } = beforeScaling(flow.query, graph);
    const nodes = graph.nodes.filter((n) => flow.nodes.has(n) || scaling.has(n));
    regions.push({ keys: flow.keys, values: flow.values, query, result: node.outputs[0], nodes });
  }
  for (const c of caches)
    if (!regions.some(({ keys, values }) => keys.port === c.port || values.port === c.port))
      throw new Unrecognised(`no attention reads "${c.port.name}"`);
  return { regions, appends };
}

/** Queries as they were before they were multiplied by a number, and the nodes that did it. */
function beforeScaling(query: ValueId, graph: Graph): { query: ValueId; scaling: ReadonlySet<Node> } {
  const scaling = new Set<Node>();
  for (;;) {
    const node = graph.nodes.find((n) => n.outputs[0] === query);
    const readers = graph.nodes.filter((n) => n.inputs.includes(query));
    if (!node || readers.length > 1 || !["mul", "div"].includes(node.op.name)) return { query, scaling };
    const [x, factor] = node.op.name === "mul" && graph.constants.has(node.inputs[0]!) ? [1, 0] : [0, 1];
    const scale = graph.constants.get(node.inputs[factor]!);
    if (!scale || sizeOf(scale.shape) !== 1) return { query, scaling };
    scaling.add(node);
    query = node.inputs[x]!;
  }
}

function merged(node: Node, tracked: readonly Flow[], free: readonly ValueId[]): Flow {
  const one = <T>(what: string, list: readonly (T | undefined)[]): T | undefined => {
    const [first, second] = new Set(list.filter((v) => v !== undefined));
    if (second !== undefined) throw new Unrecognised(`"${node.name}" reads several ${what}`);
    return first;
  };
  return {
    keys: one(
      "keys",
      tracked.map((f) => f.keys),
    ),
    values: one(
      "values",
      tracked.map((f) => f.values),
    ),
    query: one("queries", [...tracked.map((f) => f.query), ...free]),
    nodes: new Set([...tracked.flatMap((f) => [...f.nodes]), node]),
  };
}

/**
 * What `present` has behind a cache.
 * @throws Unrecognised where it is anything but the cache and new tokens, such as the last of them
 */
export function addedIn(graph: Graph, cache: CachePort, id: ValueId): ValueId {
  const { port, present } = cache;
  const node = graph.nodes.find((n) => n.outputs.includes(id));
  if (node?.op.name === "identity") return addedIn(graph, cache, node.inputs[0]!);
  if (!node?.inputs.includes(port.id)) throw new Unrecognised(`"${present.name}" is not "${port.name}" and new tokens`);
  return addedBy(node, port.id);
}

/** What a node puts behind `old` in the third of four axes. */
function addedBy({ op, name, inputs, attrs }: Node, old: ValueId): ValueId {
  if (op.name === "concat" && inputs.length === 2 && inputs[0] === old && [2, -2].includes(attrs["axis"] as number))
    return inputs[1]!;
  if (op.name === "appendCache" && inputs[3] === old) return inputs[0]!;
  throw new Unrecognised(`"${name}" reads a cache and does not append to it`);
}
