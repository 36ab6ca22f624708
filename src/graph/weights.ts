/** A session's own copy of a graph, in which devices may take over the constants. */
import type { TypedArray } from "../tensor/dtype.ts";
import type { AnyValue, HostTensor } from "../tensor/tensor.ts";
import { Elements, Weight } from "../tensor/weight.ts";
import { mayWait, type Work } from "./drive.ts";
import { type Graph, isGraph, type Node } from "./ir.ts";

/**
 * The graph with its constants as weights, nested graphs included. Constants that share an array go on sharing.
 * @param owned nobody else has the constants' arrays
 */
export function withWeights(graph: Graph, owned = false, known = new Map<TypedArray, Elements>()): Graph {
  const weight = (t: HostTensor): HostTensor => {
    if (t instanceof Weight || t.dtype === "string") return t;
    const data = t.data as TypedArray;
    let elements = known.get(data);
    if (!elements) known.set(data, (elements = new Elements(data, owned)));
    return new Weight(t.dtype, t.shape, elements);
  };
  const attribute = (v: unknown): unknown => (isGraph(v) ? withWeights(v, owned, known) : isTensor(v) ? weight(v) : v);
  const node = (n: Node): Node => {
    const entries = Object.entries(n.attrs);
    if (!entries.some(([, v]) => isGraph(v) || isTensor(v))) return n;
    return { ...n, attrs: Object.fromEntries(entries.map(([k, v]) => [k, attribute(v)])) };
  };
  return {
    ...graph,
    inputs: graph.inputs.map((p) => (p.default ? { ...p, default: weight(p.default) } : p)),
    constants: new Map([...graph.constants].map(([id, t]) => [id, weight(t)])),
    nodes: graph.nodes.map(node),
  };
}

export const isPending = (v: AnyValue | undefined): v is Weight => v instanceof Weight && v.elements.pending;

/** Whether to load a weight that is pending. Where nobody waits, one that is readable is read where it is needed. */
export function* mayLoad({ elements }: Weight): Work<boolean> {
  return !elements.readable || ((yield mayWait) as boolean);
}

export function* loadPending(v: AnyValue | undefined): Work<void> {
  if (isPending(v) && (yield* mayLoad(v))) yield v.elements.load();
}

const isTensor = (v: unknown): v is HostTensor =>
  typeof v === "object" && v !== null && "dtype" in v && "shape" in v && "data" in v;
