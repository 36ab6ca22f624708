/**
 * The short way for small models: a graph that is one stage, on a device that runs in this thread, needs no
 * environment and no generator. A small MLP's run is about a microsecond, most of it spent around the kernels.
 */
import type { Program } from "../backends/backend.ts";
import { sameShape } from "../tensor/shape.ts";
import { type AnyValue, type HostTensor, isHostTensor, type TensorType } from "../tensor/tensor.ts";
import type { Graph, ValueId } from "./ir.ts";
import type { Stage } from "./plan.ts";

/** Runs the graph if `inputs` have the types that it was planned for. What is not `wanted` may be missing. */
export type DirectRun = (inputs: readonly AnyValue[], wanted?: ReadonlySet<ValueId>) => HostTensor[] | undefined;

/** Undefined for stages that don't qualify. */
export function directRun(graph: Graph, stage: Stage, program: Program | undefined): DirectRun | undefined {
  const runSync = program?.runSync?.bind(program);
  if (!runSync || stage.end !== graph.nodes.length || stage.values.length || stage.folded.length) return undefined;
  const positions = stage.inputs.map((id) => graph.inputs.findIndex((p) => p.id === id));
  const results = graph.outputs.map((p) => stage.outputs.indexOf(p.id));
  const shared = new Set(results).size < results.length;
  if (positions.includes(-1) || results.includes(-1) || shared) return undefined;
  const expected: { position: number; type: TensorType }[] = [];
  for (const [id, type] of stage.types) {
    const position = graph.inputs.findIndex((p) => p.id === id);
    if (position < 0 || !type) return undefined;
    expected.push({ position, type });
  }
  const inOrder = results.every((r, i) => r === i) && results.length === stage.outputs.length;
  let latest: { wanted?: ReadonlySet<ValueId>; skip?: ReadonlySet<number> } = {};
  return (inputs, wanted) => {
    for (const { position, type } of expected) {
      const v = inputs[position];
      if (!isHostTensor(v) || v.dtype !== type.dtype || !sameShape(v.shape, type.shape)) return undefined;
    }
    const given = positions.map((i) => inputs[i] as HostTensor);
    if (wanted !== latest.wanted) latest = { wanted, skip: wanted && unwanted(stage.outputs, wanted) };
    const outputs = runSync(given, latest.skip);
    return inOrder ? outputs : results.map((r) => outputs[r]);
  };
}

/** Numbers of the outputs that are not among the `wanted`. */
export function unwanted(outputs: readonly ValueId[], wanted: ReadonlySet<ValueId>): ReadonlySet<number> {
  const numbers = new Set<number>();
  for (let i = 0; i < outputs.length; i++) if (!wanted.has(outputs[i])) numbers.add(i);
  return numbers;
}
