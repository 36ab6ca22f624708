/** The plainest meaning of a graph: every node by its reference, in order. What sessions are compared with. */
import { inferNode } from "../../src/graph/infer.ts";
import type { Graph, ValueId } from "../../src/graph/ir.ts";
import { emptyTensor, type HostTensor } from "../../src/tensor/tensor.ts";

export function runRaw(graph: Graph, inputs: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> {
  const env = new Map<ValueId, HostTensor>(graph.constants);
  for (const port of graph.inputs) env.set(port.id, inputs[port.name]);
  for (const node of graph.nodes) {
    const given = node.inputs.map((id) => (id === undefined ? undefined : env.get(id)!));
    const types = inferNode(
      node,
      given.map((t) => t && { dtype: t.dtype, shape: t.shape, value: t }),
    );
    const outputs = types.map(emptyTensor);
    node.op.reference!(given, node.attrs, outputs);
    node.outputs.forEach((id, i) => {
      env.set(id, outputs[i]);
    });
  }
  return Object.fromEntries(graph.outputs.map((p) => [p.name, env.get(p.id)!]));
}
