/**
 * Graphs of 16-bit floats for devices that compute in f32: weights and inputs become f32, and results are rounded to their
 * dtype where they leave. In between nothing is rounded but what the model itself casts to 16 bits.
 */
import { cast } from "../../ops/cast.ts";
import type { DType } from "../../tensor/dtype.ts";
import { decodeTable } from "../../tensor/float.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { Elements, Weight } from "../../tensor/weight.ts";
import { type Graph, type GraphPort, type Half, isHalf, type Node, subgraphsOf, type ValueId } from "../ir.ts";

/** Operators through which a dtype goes unseen: sequences, optionals, and what looks at bits. */
const opaque = /^bitCast$|sequence|optional/i;

/** Whether every value that is a 16-bit float can be told without knowing shapes. */
const isPlain = ({ inputs, outputs, nodes }: Graph): boolean =>
  [...inputs, ...outputs].every((p) => p.dtype !== undefined) &&
  nodes.every((n) => !opaque.test(n.op.name) && subgraphsOf(n).length === 0);

function decoded(data: ArrayLike<number | bigint>, dtype: Half): Float32Array {
  const table = decodeTable(dtype);
  return Float32Array.from(data as ArrayLike<number>, (bits) => table[bits]);
}

function widened(t: HostTensor, dtype: Half): HostTensor {
  const { shape } = t;
  if (!(t instanceof Weight) || !t.elements.pending)
    return { dtype: "f32", shape, data: decoded(t.data as Uint16Array, dtype) };
  const { elements } = t;
  const fetch = async (): Promise<Float32Array> => {
    await elements.load();
    const data = decoded(elements.data as Uint16Array, dtype);
    // The file has them still.
    elements.release(undefined);
    return data;
  };
  return new Weight("f32", shape, Elements.stored(fetch));
}

/** The graph itself where something in it hides what dtype its values have. */
export function widen(graph: Graph): Graph {
  if (!isPlain(graph)) return graph;
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
  for (const [id, t] of graph.constants) constants.set(id, isHalf(t.dtype) ? widened(t, t.dtype) : t);
  for (const node of graph.nodes) {
    nodes.push({ ...node, inputs: node.inputs.map((id) => (id === undefined ? id : (wide.get(id) ?? id))) });
    // What casts to a 16-bit float, or makes one of nothing, says so.
    if (Object.values(node.attrs).some(isHalf)) wide.set(node.outputs[0], castTo("f32", node.name, node.outputs[0]));
  }
  const outputs = graph.outputs.map((p): GraphPort => {
    if (!isHalf(p.dtype)) return p;
    return { ...p, id: castTo(p.dtype, p.name, wide.get(p.id) ?? p.id) };
  });
  return { ...graph, nodes, constants, outputs, valueCount };
}
