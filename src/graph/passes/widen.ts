/**
 * Graphs of 16-bit floats for devices that compute in f32: weights and inputs become f32, and results are rounded to their
 * dtype where they leave. In between nothing is rounded but what the model itself casts to 16 bits. Weights keep their
 * 16 bits in memory where the device has kernels for that.
 */
import type { Backend } from "../../backends/backend.ts";
import { cast } from "../../ops/cast.ts";
import { type DType, isHalf } from "../../tensor/dtype.ts";
import { decodeHalves, HalfWeight, halfWeight } from "../../tensor/half-weight.ts";
import { type HostTensor, reshaped } from "../../tensor/tensor.ts";
import { sourceOf } from "../../tensor/weight.ts";
import { type Graph, type GraphPort, type Node, subgraphsOf, type ValueId } from "../ir.ts";

/** Operators through which a dtype goes unseen: sequences, optionals, and what looks at bits. Digits depend on it too. */
const opaque = /^bitCast$|sequence|optional/i;

/** An attribute that is a tensor, such as what `constantOfShape` fills with, in f32. */
function widened(attribute: unknown): unknown {
  const { dtype, shape, data } = (attribute ?? {}) as HostTensor;
  return isHalf(dtype) ? { dtype: "f32", shape, data: decodeHalves(data as Uint16Array, dtype) } : attribute;
}

/** Whether every value that is a 16-bit float can be told without knowing shapes. @param stated see `statedTypes` */
const isPlain = ({ inputs, outputs, nodes }: Graph, stated: ReadonlyMap<ValueId, DType>): boolean =>
  [...inputs, ...outputs].every((p) => p.dtype !== undefined) &&
  nodes.every(
    (n) =>
      !opaque.test(n.op.name) &&
      n.attrs["to"] !== "string" &&
      subgraphsOf(n).length === 0 &&
      (n.op.name !== "castLike" || (stated.get(n.inputs[1] as ValueId) ?? "string") !== "string"),
  );

/** The dtypes of values of which it is written somewhere. */
function statedTypes({ inputs, constants, nodes }: Graph): Map<ValueId, DType> {
  const stated = new Map<ValueId, DType>();
  for (const { id, dtype } of inputs) if (dtype) stated.set(id, dtype);
  for (const [id, { dtype }] of constants) stated.set(id, dtype);
  for (const { op, outputs, attrs } of nodes) if (op.name === "cast") stated.set(outputs[0], attrs["to"] as DType);
  return stated;
}

/**
 * The graph for a device. One in which something hides what dtype its values have stays as it is.
 * @param owned nobody else has the constants' arrays
 */
export function widen(
  graph: Graph,
  { widens, storesHalves = false }: Pick<Backend, "widens" | "storesHalves">,
  owned = false,
): Graph {
  const own = storesHalves ? graph : withoutHalfWeights(graph);
  const stated = statedTypes(own);
  return widens && isPlain(own, stated) ? inF32(own, stated, storesHalves, owned) : own;
}

function withoutHalfWeights(graph: Graph): Graph {
  const constants = [...graph.constants].map(([id, t]) => [id, t instanceof HalfWeight ? t.widened() : t] as const);
  return { ...graph, constants: new Map(constants) };
}

function inF32(graph: Graph, stated: ReadonlyMap<ValueId, DType>, keepsHalves: boolean, owned: boolean): Graph {
  let { valueCount } = graph;
  const nodes: Node[] = [];
  /** What f32 value stands for a value that is a 16-bit float. */
  const wide = new Map<ValueId, ValueId>();
  const castTo = (to: DType, name: string, id: ValueId): ValueId => {
    nodes.push({ op: cast.op, name: `${name} to ${to}`, inputs: [id], outputs: [valueCount], attrs: { to } });
    return valueCount++;
  };
  for (const p of graph.inputs) if (isHalf(p.dtype)) wide.set(p.id, castTo("f32", p.name, p.id));
  const constants = new Map<ValueId, HostTensor>();
  /** Constants of the same elements stay that. */
  const known = new Map<object, HostTensor>();
  for (const [id, t] of graph.constants) {
    if (!isHalf(t.dtype)) {
      constants.set(id, t);
      continue;
    }
    const source = sourceOf(t);
    const found = known.get(source) ?? halfWeight(t, t.dtype, owned);
    known.set(source, found);
    constants.set(id, reshaped(!keepsHalves && found instanceof HalfWeight ? found.widened() : found, t.shape));
  }
  for (const given of graph.nodes) {
    // What it is like may be f32 now.
    const like = given.op.name === "castLike" ? stated.get(given.inputs[1] as ValueId) : undefined;
    const node = isHalf(like)
      ? { ...given, op: cast.op, inputs: [given.inputs[0]], attrs: { ...given.attrs, to: like } }
      : given;
    const inputs = node.inputs.map((id) => (id === undefined ? id : (wide.get(id) ?? id)));
    const attrs = Object.fromEntries(Object.entries(node.attrs).map(([name, a]) => [name, widened(a)]));
    nodes.push({ ...node, inputs, attrs });
    // What casts to a 16-bit float, or makes one of nothing, says so.
    if (Object.values(node.attrs).some(isHalf)) wide.set(node.outputs[0], castTo("f32", node.name, node.outputs[0]));
  }
  const outputs = graph.outputs.map((p): GraphPort => {
    if (!isHalf(p.dtype)) return p;
    return { ...p, id: castTo(p.dtype, p.name, wide.get(p.id) ?? p.id) };
  });
  return { ...graph, nodes, constants, outputs, valueCount };
}
