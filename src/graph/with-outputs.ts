/** Graphs that compute some of their outputs. */
import { InputError } from "../tensor/errors.ts";
import type { Graph, ValueId } from "./ir.ts";
import { dropDead } from "./passes/rewrite.ts";
import { idsOf, portsNamed } from "./selection.ts";

/**
 * The graph with these outputs alone, in its own order, and with the inputs that they take.
 * @throws InputError for names of no outputs, and for none
 */
export function withOutputs(graph: Graph, names: readonly string[]): Graph {
  const wanted = portsNamed(graph.outputs, "compile: outputs", names);
  if (wanted.size === 0) throw new InputError("compile: outputs names none: leave it out for all of them");
  const ids = idsOf(wanted)!;
  const nodes = dropDead(graph.nodes, (id) => ids.has(id));
  const read = new Set<ValueId | undefined>([...ids, ...nodes.flatMap((n) => n.inputs)]);
  return {
    ...graph,
    inputs: graph.inputs.filter((p) => read.has(p.id)),
    outputs: graph.outputs.filter((p) => wanted.has(p)),
    constants: new Map([...graph.constants].filter(([id]) => read.has(id))),
    nodes,
  };
}
