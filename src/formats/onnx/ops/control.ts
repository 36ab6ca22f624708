/** ONNX control flow -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { defaultMemoryLimit } from "../../../graph/infer.ts";
import type { Graph, GraphPort } from "../../../graph/ir.ts";
import { ShapeWalk } from "../../../graph/shape-walk.ts";
import { ifElse } from "../../../ops/if.ts";
import { loop, type TypesWithoutTurns } from "../../../ops/loop.ts";
import { type ScanAxis, scan } from "../../../ops/scan.ts";
import { sequenceMap } from "../../../ops/sequence.ts";
import { DTypeError, FormatError, ForwardpassError } from "../../../tensor/errors.ts";
import { type HostValue, isHostTensor } from "../../../tensor/tensor.ts";
import type { ImportedGraph, LoweringTable, OnnxNode } from "../node.ts";

/** A graph attribute with the number of formal inputs that the node gives it. */
function nested(n: OnnxNode, name: string, formals: number): ImportedGraph {
  const g = n.graph(name).import();
  if (g.formals !== formals)
    throw new FormatError(`${n.type}: ${name} takes ${g.formals} inputs, the node gives ${formals}`, { op: n.type });
  if (g.captures.some((v) => v.executor !== n.builder)) n.unsupported("a graph passed through functions");
  return g;
}

/**
 * Types of one element of the outputs from `first` on, for runs without a turn: as declared, else as they follow from the
 * values that a first turn would have; where they depend on data, that turn tells. Dimensions that nothing tells count as 0.
 */
const elementTypes = (first: number): TypesWithoutTurns =>
  function* (body, values, context) {
    const { inputs, outputs } = body as Graph;
    const ports = outputs.slice(first);
    const isDeclared = ({ dtype, shape }: GraphPort): boolean =>
      dtype !== undefined && (shape?.every((d) => typeof d === "number") ?? false);
    const env = new Map(inputs.map(({ id }, i) => [id, values[i]]));
    const walk = new ShapeWalk(body as Graph, 0, env, defaultMemoryLimit);
    let turn: readonly HostValue[] = [];
    try {
      if (!ports.every(isDeclared)) walk.walk();
      if (!ports.every((port) => isDeclared(port) || walk.typeOf(port.id))) turn = yield* context.run(body, values);
    } catch (e) {
      // A turn that would fail is not taken.
      if (!(e instanceof ForwardpassError)) throw e;
    }
    return ports.map((port, k) => {
      const { dtype = "f32", shape = [] } = port;
      const declared = { dtype, shape: shape.map((d) => (typeof d === "number" ? d : 0)) };
      const given = turn[first + k];
      return isDeclared(port) ? declared : (walk.typeOf(port.id) ?? (isHostTensor(given) ? given : declared));
    });
  };

/** @throws DTypeError where two ports that are one value declare different dtypes */
function sameDTypes(n: OnnxNode, what: string, a: readonly GraphPort[], b: readonly GraphPort[]): void {
  a.forEach(({ name, dtype }, i) => {
    if (!dtype || !b[i].dtype || b[i].dtype === dtype) return;
    throw new DTypeError(`${n.type}: ${what} differ in dtype: "${name}" is ${dtype}, "${b[i].name}" ${b[i].dtype}`, {
      op: n.type,
      types: [dtype, b[i].dtype],
    });
  });
}

function lowerIf(n: OnnxNode): readonly SymbolicValue[] {
  const condition = n.input(0);
  const known = condition.constant?.data;
  if (known?.length === 1) return n.graph(known[0] ? "then_branch" : "else_branch").inline([]);
  const then = nested(n, "then_branch", 0);
  const other = nested(n, "else_branch", 0);
  if (then.graph.outputs.length !== other.graph.outputs.length)
    throw new FormatError("If: the branches differ in their number of outputs", { op: "If" });
  sameDTypes(n, "the branches", then.graph.outputs, other.graph.outputs);
  return n.builder.run(ifElse.op, [condition, ...then.captures, ...other.captures], {
    thenBranch: then.graph,
    elseBranch: other.graph,
  });
}

function lowerLoop(n: OnnxNode): readonly SymbolicValue[] {
  const values = n.rest(2);
  const body = nested(n, "body", values.length + 2);
  const carried = values.length;
  if (body.graph.outputs.length < carried + 1)
    throw new FormatError(`Loop: the body has ${body.graph.outputs.length} outputs, needs ${carried + 1}`, {
      op: "Loop",
    });
  const { inputs, outputs } = body.graph;
  sameDTypes(n, "what one turn takes and gives", inputs.slice(2, 2 + carried), outputs.slice(1));
  return n.builder.run(loop.op, [n.optional(0), n.optional(1), ...values, ...body.captures], {
    body: body.graph,
    carried,
    scanned: elementTypes(carried + 1),
  });
}

/** Opset 8 has a batch axis and sequence lengths in front, and scans along the axis after it. */
function lowerScan(n: OnnxNode): readonly SymbolicValue[] {
  const batched = n.opset < 9;
  const values = n.rest(batched ? 1 : 0);
  const count = n.int("num_scan_inputs") ?? n.unsupported("without num_scan_inputs");
  const body = nested(n, "body", values.length);
  const states = values.length - count;
  const results = body.graph.outputs.length - states;
  if (count < 1 || states < 0 || results < 0)
    throw new FormatError(`Scan: ${values.length} inputs, ${count} of them scanned, do not fit the body`, {
      op: "Scan",
    });
  sameDTypes(n, "what one turn takes and gives", body.graph.inputs.slice(0, states), body.graph.outputs);
  const axes = (length: number, kind: string, directions: string): ScanAxis[] => {
    const axis = n.ints(`scan_${kind}_axes`) ?? [];
    const reverse = n.ints(directions) ?? [];
    return Array.from({ length }, (_, i) => ({ axis: axis[i] ?? 0, reverse: reverse[i] === 1 }));
  };
  return n.builder.run(scan.op, [batched ? n.optional(0) : undefined, ...values, ...body.captures], {
    body: body.graph,
    states,
    inputs: axes(count, "input", batched ? "directions" : "scan_input_directions"),
    outputs: axes(results, "output", "scan_output_directions"),
    scanned: elementTypes(states),
    batched,
  });
}

function lowerSequenceMap(n: OnnxNode): readonly SymbolicValue[] {
  const values = n.rest();
  const body = nested(n, "body", values.length);
  return n.builder.run(sequenceMap.op, [...values, ...body.captures], { body: body.graph, mapped: values.length });
}

export const controlLowerings: LoweringTable = {
  If: lowerIf,
  Loop: lowerLoop,
  Scan: lowerScan,
  SequenceMap: lowerSequenceMap,
};
