/** ONNX control flow, and the operators that only name values. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import type { Graph } from "../../../graph/ir.ts";
import { ifElse } from "../../../ops/if.ts";
import { loop } from "../../../ops/loop.ts";
import { type ScanAxis, scan } from "../../../ops/scan.ts";
import { sequenceMap } from "../../../ops/sequence.ts";
import { FormatError } from "../../../tensor/errors.ts";
import type { HostTensor, TensorType } from "../../../tensor/tensor.ts";
import type { ImportedGraph, LoweringTable, OnnxNode } from "../node.ts";

/** A graph attribute with the number of formal inputs that the node gives it. */
function nested(n: OnnxNode, name: string, formals: number): ImportedGraph {
  const g = n.graph(name).import();
  if (g.formals !== formals)
    throw new FormatError(`${n.type}: ${name} takes ${g.formals} inputs, the node gives ${formals}`, { op: n.type });
  if (g.captures.some((v) => v.executor !== n.builder)) n.unsupported("a graph passed through functions");
  return g;
}

/** Types of one element of the outputs from `first` on, for runs without a turn: unknown dimensions count as 0. */
const elementTypes = (body: Graph, first: number): TensorType[] =>
  body.outputs.slice(first).map(({ dtype = "f32", shape = [] }) => ({
    dtype,
    shape: shape.map((d) => (typeof d === "number" ? d : 0)),
  }));

function lowerIf(n: OnnxNode): readonly SymbolicValue[] {
  const condition = n.input(0);
  const known = condition.constant?.data;
  if (known?.length === 1) return n.graph(known[0] ? "then_branch" : "else_branch").inline([]);
  const then = nested(n, "then_branch", 0);
  const other = nested(n, "else_branch", 0);
  if (then.graph.outputs.length !== other.graph.outputs.length)
    throw new FormatError("If: the branches differ in their number of outputs", { op: "If" });
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
  return n.builder.run(loop.op, [n.optional(0), n.optional(1), ...values, ...body.captures], {
    body: body.graph,
    carried,
    scanned: elementTypes(body.graph, carried + 1),
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
    scanned: elementTypes(body.graph, states),
    batched,
  });
}

function lowerSequenceMap(n: OnnxNode): readonly SymbolicValue[] {
  const values = n.rest();
  const body = nested(n, "body", values.length);
  return n.builder.run(sequenceMap.op, [...values, ...body.captures], { body: body.graph, mapped: values.length });
}

/** The value of a Constant node, in whichever of its attributes it is. */
function constantOf(n: OnnxNode): HostTensor {
  const tensor = n.tensor("value") ?? n.tensor("sparse_value");
  if (tensor) return tensor;
  const ints = n.has("value_int") ? [n.int("value_int", 0)] : n.ints("value_ints");
  const floats = n.has("value_float") ? [n.float("value_float", 0)] : n.floats("value_floats");
  const strings = n.has("value_string") ? [n.string("value_string", "")] : n.strings("value_strings");
  const list = ints ?? floats ?? strings;
  if (!list) throw new FormatError("Constant: has no value", { op: "Constant" });
  const shape = n.has("value_int") || n.has("value_float") || n.has("value_string") ? [] : [list.length];
  if (ints) return { dtype: "i64", shape, data: BigInt64Array.from(ints, BigInt) };
  if (floats) return { dtype: "f32", shape, data: Float32Array.from(floats) };
  return { dtype: "string", shape, data: strings! };
}

export const controlLowerings: LoweringTable = {
  If: lowerIf,
  Loop: lowerLoop,
  Scan: lowerScan,
  SequenceMap: lowerSequenceMap,
  Constant: (n) => n.builder.constant(constantOf(n)),
  // Another name for the same value: tensors, sequences and optionals alike.
  Identity: (n) => n.input(0),
};
