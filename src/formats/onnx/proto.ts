/**
 * The messages of onnx.proto as plain objects. Weights stay where they are: a tensor's data is a view of the file's bytes
 * until `tensorOf` makes it a host tensor.
 */
import { FormatError } from "../../tensor/errors.ts";
import type { StoredElements } from "../../tensor/weight.ts";
import { type KnownString, WireReader } from "./wire.ts";

export interface ModelProto {
  irVersion: number;
  producer: string;
  /** Version imported for each domain; "" is ai.onnx. */
  opsets: Map<string, number>;
  metadata: Map<string, string>;
  graph: GraphProto;
  functions: FunctionProto[];
}

export interface GraphProto {
  name: string;
  nodes: NodeProto[];
  initializers: TensorProto[];
  sparseInitializers: SparseTensorProto[];
  inputs: ValueInfoProto[];
  outputs: ValueInfoProto[];
}

export interface NodeProto {
  name: string;
  type: string;
  domain: string;
  overload: string;
  inputs: string[];
  outputs: string[];
  attributes: AttributeProto[];
}

export interface FunctionProto {
  name: string;
  domain: string;
  overload: string;
  inputs: string[];
  outputs: string[];
  attributes: string[];
  defaults: AttributeProto[];
  nodes: NodeProto[];
  opsets: Map<string, number>;
}

/** Which of the fields is meant, by the numbers of AttributeProto.AttributeType. */
const attributeTypes = [
  "undefined",
  "float",
  "int",
  "string",
  "tensor",
  "graph",
  "floats",
  "ints",
  "strings",
  "tensors",
  "graphs",
  "sparse",
  "sparses",
  "type",
  "types",
] as const;
export type AttributeKind = (typeof attributeTypes)[number];

/** Integers of 64 bits. Numbers where all of them are exactly. */
export type Integers = Float64Array | BigInt64Array;

export interface AttributeProto {
  name: string;
  kind: AttributeKind;
  /** Inside a function: the attribute of the caller that gives the value. */
  reference: string;
  float: number;
  /** A bigint where no number is it exactly. */
  int: number | bigint;
  string: Uint8Array;
  tensor?: TensorProto;
  graph?: GraphProto;
  sparse?: SparseTensorProto;
  type?: TypeProto;
  /** A forest has millions of them, which would fill the heap as elements of their own. */
  floats: Float32Array;
  ints: Integers;
  strings: string[];
  tensors: TensorProto[];
  graphs: GraphProto[];
}

export interface TensorProto {
  name: string;
  dims: (number | bigint)[];
  dataType: number;
  /** Undefined where the elements are in a typed field or an external file. */
  raw?: Uint8Array;
  /** The bytes of packed `float_data`, ... . */
  floats: Uint8Array[];
  doubles: Uint8Array[];
  int32s: Uint8Array[];
  int64s: Uint8Array[];
  uint64s: Uint8Array[];
  strings: Uint8Array[];
  /** `location`, `offset`, `length` of a tensor that is in another file. */
  external?: Map<string, string>;
  /** The same, once it is found, where it is read later. */
  stored?: StoredElements;
  /** Where the message ends in the file, for messages. */
  offset: number;
}

export interface SparseTensorProto {
  values: TensorProto;
  indices: TensorProto;
  dims: (number | bigint)[];
}

export interface ValueInfoProto {
  name: string;
  type?: TypeProto;
}

export type TypeProto =
  | { kind: "tensor"; dataType: number; shape?: (number | string)[] }
  | { kind: "sequence" | "optional"; element?: TypeProto }
  | { kind: "other" };

/**
 * @param name of the file, for messages
 * @throws FormatError with the byte offset when `bytes` is not an ONNX model
 */
export function readModel(bytes: Uint8Array, name = "onnx"): ModelProto {
  const model = WireReader.read(bytes, name, readModelFields);
  const { graph, ...rest } = model;
  if (!graph) throw new FormatError(`${name}: the file holds no graph: not an ONNX model, or truncated`, { offset: 0 });
  return { ...rest, graph };
}

function readModelFields(wire: WireReader): Omit<ModelProto, "graph"> & { graph?: GraphProto } {
  const model: ReturnType<typeof readModelFields> = {
    irVersion: 0,
    producer: "",
    opsets: new Map(),
    metadata: new Map(),
    functions: [],
  };
  let producerVersion = "";
  wire.fields((field) => {
    if (field === 1) model.irVersion = wire.int();
    else if (field === 2) model.producer = wire.string();
    else if (field === 3) producerVersion = wire.string();
    else if (field === 7) model.graph = wire.message(readGraph);
    else if (field === 8) wire.message((w) => readOpset(w, model.opsets));
    else if (field === 14) wire.message((w) => readEntry(w, model.metadata));
    else if (field === 25) model.functions.push(wire.message(readFunction));
  });
  model.producer = `${model.producer} ${producerVersion}`.trim();
  return model;
}

function readOpset(wire: WireReader, into: Map<string, number>): void {
  let domain = "";
  let version = 0;
  wire.fields((field) => {
    if (field === 1) domain = wire.string();
    else if (field === 2) version = wire.int();
  });
  into.set(plainDomain(domain), version);
}

/** `ai.onnx` is another name of the default domain. */
const plainDomain = (domain: string): string => (domain === "ai.onnx" ? "" : domain);

function readEntry(wire: WireReader, into: Map<string, string>): void {
  let key = "";
  let value = "";
  wire.fields((field) => {
    if (field === 1) key = wire.string();
    else if (field === 2) value = wire.string();
  });
  into.set(key, value);
}

function readGraph(wire: WireReader): GraphProto {
  const g: GraphProto = { name: "", nodes: [], initializers: [], sparseInitializers: [], inputs: [], outputs: [] };
  wire.fields((field) => {
    if (field === 1) g.nodes.push(wire.message(readNode));
    else if (field === 2) g.name = wire.string();
    else if (field === 5) g.initializers.push(wire.message(readTensor));
    else if (field === 11) g.inputs.push(wire.message(readValueInfo));
    else if (field === 12) g.outputs.push(wire.message(readValueInfo));
    else if (field === 15) g.sparseInitializers.push(wire.message(readSparse));
  });
  return g;
}

function readNode(wire: WireReader): NodeProto {
  const n: NodeProto = { name: "", type: "", domain: "", overload: "", inputs: [], outputs: [], attributes: [] };
  wire.fields((field) => {
    if (field === 1) n.inputs.push(wire.string());
    else if (field === 2) n.outputs.push(wire.string());
    else if (field === 3) n.name = wire.string();
    else if (field === 4) n.type = wire.string();
    else if (field === 5) n.attributes.push(wire.message(readAttribute));
    else if (field === 7) n.domain = plainDomain(wire.string());
    else if (field === 8) n.overload = wire.string();
  });
  return n;
}

function readFunction(wire: WireReader): FunctionProto {
  const f: FunctionProto = {
    name: "",
    domain: "",
    overload: "",
    inputs: [],
    outputs: [],
    attributes: [],
    defaults: [],
    nodes: [],
    opsets: new Map(),
  };
  wire.fields((field) => {
    if (field === 1) f.name = wire.string();
    else if (field === 4) f.inputs.push(wire.string());
    else if (field === 5) f.outputs.push(wire.string());
    else if (field === 6) f.attributes.push(wire.string());
    else if (field === 7) f.nodes.push(wire.message(readNode));
    else if (field === 9) wire.message((w) => readOpset(w, f.opsets));
    else if (field === 10) f.domain = plainDomain(wire.string());
    else if (field === 11) f.defaults.push(wire.message(readAttribute));
    else if (field === 13) f.overload = wire.string();
  });
  return f;
}

const kindOfField: Readonly<Record<number, AttributeKind>> = {
  2: "float",
  3: "int",
  4: "string",
  5: "tensor",
  6: "graph",
  7: "floats",
  8: "ints",
  9: "strings",
  10: "tensors",
  11: "graphs",
  14: "type",
  22: "sparse",
};

function readAttribute(wire: WireReader): AttributeProto {
  const a: AttributeProto = {
    name: "",
    kind: "undefined",
    reference: "",
    float: 0,
    int: 0,
    string: new Uint8Array(0),
    floats: none.floats,
    ints: none.ints,
    strings: [],
    tensors: [],
    graphs: [],
  };
  // Files of the first IR version don't name the type: the field that is there tells.
  let seen: AttributeKind = "undefined";
  const floats: number[] = [];
  const ints: (number | bigint)[] = [];
  const known: KnownString[] = [];
  wire.fields((field) => {
    seen = kindOfField[field] ?? seen;
    if (field === 1) a.name = wire.string();
    else if (field === 2) a.float = wire.float();
    else if (field === 3) a.int = wire.exact();
    else if (field === 4) a.string = wire.bytes();
    else if (field === 5) a.tensor = wire.message(readTensor);
    else if (field === 6) a.graph = wire.message(readGraph);
    else if (field === 7) wire.floats(floats);
    else if (field === 8) wire.exacts(ints);
    else if (field === 9) wire.strings(a.strings, known);
    else if (field === 10) a.tensors.push(wire.message(readTensor));
    else if (field === 11) a.graphs.push(wire.message(readGraph));
    else if (field === 14) a.type = wire.message(readType);
    else if (field === 20) a.kind = attributeTypes[wire.int()] ?? "undefined";
    else if (field === 21) a.reference = wire.string();
    else if (field === 22) a.sparse = wire.message(readSparse);
  });
  if (a.kind === "undefined") a.kind = seen;
  if (floats.length > 0) a.floats = new Float32Array(floats);
  if (ints.length > 0) a.ints = integersOf(ints);
  return a;
}

const none = { floats: new Float32Array(0), ints: new Float64Array(0) };

const integersOf = (ints: readonly (number | bigint)[]): Integers =>
  ints.every((i) => typeof i === "number") ? new Float64Array(ints) : BigInt64Array.from(ints, BigInt);

const emptyTensorProto = (): TensorProto => ({
  name: "",
  dims: [],
  dataType: 0,
  floats: [],
  doubles: [],
  int32s: [],
  int64s: [],
  uint64s: [],
  strings: [],
  offset: 0,
});

export function readTensor(wire: WireReader): TensorProto {
  const t = emptyTensorProto();
  let external: Map<string, string> | undefined;
  let isExternal = false;
  wire.fields((field) => {
    if (field === 1) wire.exacts(t.dims);
    else if (field === 2) t.dataType = wire.int();
    else if (field === 3) wire.fail("tensors in segments are not supported");
    else if (field === 4) wire.packed(t.floats);
    else if (field === 5) wire.packed(t.int32s);
    else if (field === 6) t.strings.push(wire.bytes());
    else if (field === 7) wire.packed(t.int64s);
    else if (field === 8) t.name = wire.string();
    else if (field === 9) t.raw = wire.bytes();
    else if (field === 10) wire.packed(t.doubles);
    else if (field === 11) wire.packed(t.uint64s);
    else if (field === 13) {
      external ??= new Map();
      const into = external;
      wire.message((w) => readEntry(w, into));
    } else if (field === 14) isExternal = wire.int() === 1;
  });
  if (isExternal) t.external = external ?? new Map();
  t.offset = wire.offset;
  return t;
}

export function readSparse(wire: WireReader): SparseTensorProto {
  const s: SparseTensorProto = { values: emptyTensorProto(), indices: emptyTensorProto(), dims: [] };
  wire.fields((field) => {
    if (field === 1) s.values = wire.message(readTensor);
    else if (field === 2) s.indices = wire.message(readTensor);
    else if (field === 3) wire.exacts(s.dims);
  });
  return s;
}

function readValueInfo(wire: WireReader): ValueInfoProto {
  const v: ValueInfoProto = { name: "" };
  wire.fields((field) => {
    if (field === 1) v.name = wire.string();
    else if (field === 2) v.type = wire.message(readType);
  });
  return v;
}

function readType(wire: WireReader): TypeProto {
  let type: TypeProto = { kind: "other" };
  wire.fields((field) => {
    if (field === 1) type = wire.message(readTensorType);
    else if (field === 4) type = { kind: "sequence", element: wire.message(readElementType) };
    else if (field === 9) type = { kind: "optional", element: wire.message(readElementType) };
  });
  return type;
}

function readElementType(wire: WireReader): TypeProto | undefined {
  let element: TypeProto | undefined;
  wire.fields((field) => {
    if (field === 1) element = wire.message(readType);
  });
  return element;
}

function readTensorType(wire: WireReader): TypeProto {
  let dataType = 0;
  let shape: (number | string)[] | undefined;
  wire.fields((field) => {
    if (field === 1) dataType = wire.int();
    else if (field === 2) shape = wire.message(readShape);
  });
  return { kind: "tensor", dataType, shape };
}

function readShape(wire: WireReader): (number | string)[] {
  const shape: (number | string)[] = [];
  wire.fields((field) => {
    if (field === 1) shape.push(wire.message(readDim));
  });
  return shape;
}

/** Exporters write -1 for a dimension that is not known. */
function readDim(wire: WireReader): number | string {
  let dim: number | string = "?";
  wire.fields((field) => {
    if (field === 1) {
      const n = wire.int();
      dim = n >= 0 && Number.isSafeInteger(n) ? n : "?";
    } else if (field === 2) dim = wire.string() || "?";
  });
  return dim;
}
