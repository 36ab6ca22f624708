/**
 * ONNX model -> our graph. Names are resolved through scopes, each node goes to its lowering, functions are written into
 * the place of their call, and whatever cannot be lowered is collected, so that one error lists all of it.
 */
import { GraphBuilder, type SymbolicValue } from "../../graph/builder.ts";
import type { Graph, GraphPort } from "../../graph/ir.ts";
import { DTypeError, FormatError, ForwardpassError, UnsupportedOpError } from "../../tensor/errors.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { decodeUtf8 } from "../../tensor/utf8.ts";
import { Weight } from "../../tensor/weight.ts";
import type { OpenExternal } from "./external.ts";
import { loweringsFor } from "./lower.ts";
import { type ImportedGraph, type LoweringTable, type NestedGraph, type OnnxAttribute, OnnxNode } from "./node.ts";
import { graphsOf, nodeLabel, type Schedule, schedule, tensorsOf } from "./order.ts";
import {
  type AttributeProto,
  type FunctionProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  readModel,
  type ValueInfoProto,
} from "./proto.ts";
import { Poisoned, Scope } from "./scope.ts";
import { denseOf, dtypeOfOnnx, tensorOf } from "./tensor-proto.ts";

export interface OnnxOptions {
  /** What the graph and messages are called. Default: the name in the file. */
  name?: string;
  /** Opens the files that hold external weights. */
  loadExternal?: OpenExternal;
  signal?: AbortSignal;
}

export interface OnnxModel {
  readonly graph: Graph;
  /** `metadata_props` of the file. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Imported version of each operator set; `ai.onnx` is the default one. */
  readonly opset: Readonly<Record<string, number>>;
  readonly irVersion: number;
  /** Name and version of the tool that wrote the file. */
  readonly producer: string;
}

/**
 * Reads an ONNX model. Weights stay views of `bytes` where they are aligned, so keep it unchanged.
 * @throws FormatError with the byte offset for a corrupt file, UnsupportedOpError whose `missing` lists every operator
 * that has no lowering
 */
export async function importOnnx(bytes: Uint8Array, options: OnnxOptions = {}): Promise<OnnxModel> {
  const model = readModel(bytes, options.name);
  const external = [...tensorsOf(model)].filter((t) => t.external);
  if (external.length > 0)
    await (await import("./external.ts")).readExternal(external, options.loadExternal, options.signal);
  const opset = Object.fromEntries([...model.opsets].map(([domain, version]) => [domain || "ai.onnx", version]));
  return {
    graph: new Importer(model, options.name ?? model.graph.name, await loweringsFor(typesOf(model))).import(),
    metadata: Object.fromEntries(model.metadata),
    opset,
    irVersion: model.irVersion,
    producer: model.producer,
  };
}

/** Where a node list comes from: which opsets it is written in, and the attributes that a function's body refers to. */
interface Frame {
  readonly opsets: ReadonlyMap<string, number>;
  readonly attributes?: ReadonlyMap<string, OnnxAttribute>;
  readonly calls: readonly FunctionProto[];
}

/** Functions that call functions multiply: more nodes than this is an attack, not a model. */
const maxNodes = 1 << 17;

const keyOf = (n: { domain: string; overload: string }, type: string): string =>
  `${n.domain}::${type}${n.overload ? `:${n.overload}` : ""}`;

/** What an operator is called in messages and tables. */
const typeOf = (n: NodeProto): string => (n.domain ? `${n.domain}::${n.type}` : n.type);

/** Every operator type that a model mentions, in nested graphs and functions too. */
function typesOf({ graph, functions }: ModelProto): Set<string> {
  const types = new Set<string>();
  const lists = [graph.nodes, ...functions.map((f) => f.nodes)];
  for (let nodes = lists.pop(); nodes; nodes = lists.pop())
    for (const node of nodes) {
      types.add(typeOf(node));
      for (const nested of graphsOf(node)) lists.push(nested.nodes);
    }
  return types;
}

class Importer {
  private readonly functions = new Map<string, FunctionProto>();
  private readonly missing = new Set<string>();
  /** A function's body is ordered once, however often it is called. */
  private readonly schedules = new Map<readonly NodeProto[], Schedule>();
  private nodes = 0;

  constructor(
    private readonly model: ModelProto,
    private readonly name: string,
    private readonly lowerings: LoweringTable,
  ) {
    for (const f of model.functions) this.functions.set(keyOf(f, f.name), f);
  }

  import(): Graph {
    const { model } = this;
    const { graph } = model;
    const builder = new GraphBuilder(this.name);
    const scope = new Scope(builder);
    const constants = initializersOf(graph);
    for (const port of graph.inputs) {
      // Before IR version 4 every weight had to be listed as an input, although nobody meant to pass it.
      const initial = constants.get(port.name);
      if (initial && model.irVersion < 4) continue;
      constants.delete(port.name);
      const { dtype, shape, elements } = typeOfPort(port);
      if (scope.has(port.name)) throw new FormatError(`onnx: two inputs are named "${port.name}"`);
      scope.define(port.name, builder.input(port.name, dtype, shape, initial && inMemory(initial()), elements));
    }
    for (const [name, tensor] of constants) scope.initialize(name, tensor);
    this.lowerAll(graph.nodes, outputNames(graph), scope, { opsets: model.opsets, calls: [] });
    this.reportMissing();
    for (const port of graph.outputs) builder.output(port.name, definedValue(scope, port.name), typeOfPort(port));
    return builder.build();
  }

  private reportMissing(): void {
    const missing = [...this.missing].sort();
    if (missing.length === 0) return;
    throw new UnsupportedOpError(
      `onnx: ${this.name || "the model"} needs what is not supported: ${missing.join("; ")}`,
      {
        missing,
      },
    );
  }

  /** Lowers the nodes that `outputs` depend on. */
  private lowerAll(nodes: readonly NodeProto[], outputs: readonly string[], scope: Scope, frame: Frame): void {
    let plan = this.schedules.get(nodes);
    if (!plan) this.schedules.set(nodes, (plan = schedule(nodes, outputs)));
    const outer = scope.builder.scope;
    for (const node of plan.nodes) {
      if (++this.nodes > maxNodes) throw new FormatError(`onnx: functions unfold to more than ${maxNodes} nodes`);
      scope.builder.scope = nodeLabel(node);
      try {
        this.lower(node, plan.used, scope, frame);
      } catch (e) {
        this.handle(e, node, scope, frame);
      }
    }
    scope.builder.scope = outer;
  }

  /** Notes what is not supported and goes on; everything else is thrown with the node's name. */
  private handle(e: unknown, node: NodeProto, scope: Scope, frame: Frame): void {
    if (e instanceof UnsupportedOpError)
      for (const m of e.missing.length ? e.missing : [e.message]) this.missing.add(m);
    else if (e instanceof ForwardpassError) throw e.at(nodeLabel(node));
    else if (e instanceof TypeError || e instanceof RangeError)
      // Attributes of a shape that no lowering expects: lengths and values that make no sense.
      throw new FormatError(`${typeOf(node)}: malformed: ${e.message}`, { op: typeOf(node), cause: e }).at(
        nodeLabel(node),
      );
    else if (!(e instanceof Poisoned)) throw e;
    for (const name of node.outputs) if (name !== "") scope.poison(name);
    for (const g of graphsOf(node)) this.findUnknown(g.nodes, frame);
  }

  /** Operators without a lowering in graphs that were not reached. */
  private findUnknown(nodes: readonly NodeProto[], frame: Frame): void {
    for (const node of nodes) {
      if (!this.functions.has(keyOf(node, node.type)) && !Object.hasOwn(this.lowerings, typeOf(node)))
        this.missing.add(unknown(node, frame));
      for (const g of graphsOf(node)) this.findUnknown(g.nodes, frame);
    }
  }

  private lower(node: NodeProto, used: ReadonlySet<string>, scope: Scope, frame: Frame): void {
    const f = this.functions.get(keyOf(node, node.type));
    const type = typeOf(node);
    const lowering = Object.hasOwn(this.lowerings, type) ? this.lowerings[type] : undefined;
    if (!f && !lowering) throw new UnsupportedOpError(type, { missing: [unknown(node, frame)] });
    const inputs = node.inputs.map((name) => (name === "" ? undefined : scope.find(name)));
    const attributes = this.attributesOf(node, scope, frame);
    if (f) {
      this.call(f, node, inputs, attributes, scope, frame);
      return;
    }
    const outputs = node.outputs.map((name) => (used.has(name) ? name : ""));
    const opset = opsetOf(node, frame, this.model);
    const n = new OnnxNode(scope.builder, nodeLabel(node), type, opset, inputs, outputs, attributes);
    const result = lowering!(n);
    if (inputs.some((v, i) => v && i >= n.known)) n.wrong(`takes ${n.known} inputs, got ${inputs.length}`);
    const values = Array.isArray(result) ? (result as readonly (SymbolicValue | undefined)[]) : [result];
    outputs.forEach((name, i) => {
      if (name === "") return;
      const value = values[i] as SymbolicValue | undefined;
      if (!value) n.wrong(`has no output ${i}, which is read as "${name}"`);
      scope.define(name, value);
    });
  }

  /** Writes a function's body in place of its call. */
  private call(
    f: FunctionProto,
    node: NodeProto,
    inputs: readonly (SymbolicValue | undefined)[],
    attributes: Map<string, OnnxAttribute>,
    scope: Scope,
    frame: Frame,
  ): void {
    if (frame.calls.includes(f)) throw new FormatError(`onnx: function ${f.name} calls itself`);
    if (inputs.length > f.inputs.length)
      throw new FormatError(`onnx: function ${f.name} takes ${f.inputs.length} inputs, got ${inputs.length}`);
    const body = new Scope(scope.builder);
    f.inputs.forEach((name, i) => {
      body.define(name, inputs[i]);
    });
    for (const a of f.defaults) if (!attributes.has(a.name)) attributes.set(a.name, this.attribute(a, body, frame));
    const inner: Frame = { opsets: f.opsets, attributes, calls: [...frame.calls, f] };
    this.lowerAll(f.nodes, f.outputs, body, inner);
    node.outputs.forEach((name, i) => {
      if (name === "") return;
      const source = f.outputs[i];
      if (source === undefined) throw new FormatError(`onnx: function ${f.name} has no output ${i}`);
      scope.define(name, definedValue(body, source));
    });
  }

  private attributesOf(node: NodeProto, scope: Scope, frame: Frame): Map<string, OnnxAttribute> {
    const map = new Map<string, OnnxAttribute>();
    for (const a of node.attributes) {
      if (a.reference === "") {
        map.set(a.name, this.attribute(a, scope, frame));
        continue;
      }
      // Not given by the caller: the operator's own default holds.
      const given = frame.attributes?.get(a.reference);
      if (given) map.set(a.name, given);
    }
    return map;
  }

  private attribute(a: AttributeProto, scope: Scope, frame: Frame): OnnxAttribute {
    const need = <T>(v: T | undefined): T => {
      if (v === undefined) throw new FormatError(`onnx: attribute "${a.name}" of type ${a.kind} has no value`);
      return v;
    };
    switch (a.kind) {
      case "int":
      case "float":
      case "ints":
      case "floats":
      case "strings":
        return { type: a.kind, value: a[a.kind] } as OnnxAttribute;
      case "string":
        return { type: "string", value: decodeUtf8(a.string) };
      case "tensor":
        return { type: "tensor", value: tensorOf(need(a.tensor)) };
      case "sparse":
        return { type: "tensor", value: denseOf(need(a.sparse)) };
      case "graph":
        return { type: "graph", value: this.nested(need(a.graph), scope, frame) };
      default:
        return { type: "other", value: a.type };
    }
  }

  private nested(graph: GraphProto, parent: Scope, frame: Frame): NestedGraph {
    const names = graph.outputs.map((port) => port.name);
    const prepare = (scope: Scope, formals: readonly SymbolicValue[]): SymbolicValue[] => {
      graph.inputs.forEach((port, i) => {
        scope.define(port.name, formals[i]);
      });
      for (const [name, tensor] of initializersOf(graph)) if (!scope.has(name)) scope.initialize(name, tensor);
      this.lowerAll(graph.nodes, names, scope, frame);
      return names.map((name) => definedValue(scope, name));
    };
    return {
      import: (): ImportedGraph => {
        const builder = new GraphBuilder(graph.name);
        const scope = new Scope(builder, parent);
        // What a loop carries may change its shape from turn to turn, whatever the file says.
        const formals = graph.inputs.map((port) => builder.input(port.name, typeOfPort(port).dtype));
        const outputs = prepare(scope, formals);
        graph.outputs.forEach((port, i) => {
          // Their places count: a body may return one value twice, to carry it and to stack it.
          const name = names.indexOf(port.name) === i ? port.name : `${port.name}, output ${i}`;
          builder.output(name, outputs[i], typeOfPort(port));
        });
        return { graph: builder.build(), captures: scope.captures, formals: formals.length };
      },
      inline: (inputs) => prepare(new Scope(parent.builder, parent), inputs),
    };
  }
}

const unknown = (n: NodeProto, frame: Frame): string => {
  const version = frame.opsets.get(n.domain);
  return version === undefined ? typeOf(n) : `${typeOf(n)} (opset ${version})`;
};

function opsetOf(node: NodeProto, frame: Frame, model: ModelProto): number {
  const version = frame.opsets.get(node.domain) ?? model.opsets.get(node.domain);
  if (version !== undefined) return version;
  // Files of the first IR versions import nothing; other domains are mostly at their first version.
  if (node.domain !== "" || model.irVersion < 3) return 1;
  throw new FormatError("onnx: the model doesn't say which version of the ai.onnx operators it uses");
}

function initializersOf(graph: GraphProto): Map<string, () => HostTensor> {
  const map = new Map<string, () => HostTensor>();
  const add = (name: string, tensor: () => HostTensor): void => {
    if (map.has(name)) throw new FormatError(`onnx: two initializers are named "${name}"`);
    map.set(name, tensor);
  };
  for (const t of graph.initializers) add(t.name, () => tensorOf(t));
  for (const s of graph.sparseInitializers) add(s.values.name, () => denseOf(s));
  return map;
}

/** What is an input's default is read by every run that doesn't give another. */
const inMemory = (t: HostTensor): HostTensor =>
  t instanceof Weight ? { dtype: t.dtype, shape: t.shape, data: t.data } : t;

function outputNames(graph: GraphProto): string[] {
  const names = graph.outputs.map((o) => o.name);
  if (new Set(names).size < names.length)
    throw new FormatError(`onnx: two outputs have the same name: ${names.join(", ")}`);
  return names;
}

function definedValue(scope: Scope, name: string): SymbolicValue {
  const value = scope.find(name);
  if (!value) throw new FormatError(`onnx: "${name}" is an output, and an optional input that was left out`);
  return value;
}

/** `dtype` and `shape` are undefined where the model doesn't say them, and for sequences and optionals, which have `elements`. */
function typeOfPort({ name, type }: ValueInfoProto): Pick<GraphPort, "dtype" | "shape" | "elements"> {
  let t = type;
  while (t?.kind === "sequence" || t?.kind === "optional") t = t.element;
  if (t?.kind !== "tensor") return {};
  const dtype = dtypeOfOnnx(t.dataType);
  if (!dtype && t.dataType !== 0)
    throw new DTypeError(`onnx: "${name}" has data type ${t.dataType}, which is not supported`);
  return t === type ? { dtype, shape: t.shape } : { elements: dtype };
}
