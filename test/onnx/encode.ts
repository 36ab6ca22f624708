/** Writes small ONNX models for tests: the counterpart of the reader, field numbers from onnx.proto. */
import { PbfWriter } from "pbf";
import { onnxOfDType } from "../../src/formats/onnx/tensor-proto.ts";
import { type DType, dtypes, type TypedArray } from "../../src/tensor/dtype.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";

export interface NodeSpec {
  type: string;
  inputs?: string[];
  outputs?: string[];
  name?: string;
  domain?: string;
  attributes?: Record<string, AttributeSpec>;
}

/** A node as most tests write it. */
export const node = (
  type: string,
  inputs: string[],
  outputs: string[],
  attributes: NodeSpec["attributes"] = {},
): NodeSpec => ({ type, inputs, outputs, attributes });

export type AttributeSpec =
  | { int: number }
  | { ints: (number | bigint)[] }
  | { float: number }
  | { floats: number[] }
  | { string: string }
  | { strings: string[] }
  /** What is not zero of it, at linear positions. */
  | { sparse: TensorSpec }
  | { tensor: TensorSpec }
  | { graph: GraphSpec }
  /** Inside a function: the value that its caller gives. */
  | { reference: string; kind: number };

export interface PortSpec {
  name: string;
  dtype?: DType;
  shape?: (number | string)[];
  /** A sequence of tensors of `dtype`. */
  sequence?: boolean;
}

export type TensorSpec = HostTensor & { external?: Record<string, string> };

export interface GraphSpec {
  nodes?: NodeSpec[];
  inputs?: PortSpec[];
  outputs?: PortSpec[];
  initializers?: Record<string, TensorSpec>;
}

export interface FunctionSpec {
  name: string;
  domain: string;
  inputs: string[];
  outputs: string[];
  attributes?: string[];
  defaults?: Record<string, AttributeSpec>;
  nodes: NodeSpec[];
  opsets?: Record<string, number>;
}

export interface ModelSpec extends GraphSpec {
  opset?: number;
  domains?: Record<string, number>;
  irVersion?: number;
  metadata?: Record<string, string>;
  functions?: FunctionSpec[];
}

export function encodeModel(m: ModelSpec): Uint8Array {
  const w = new PbfWriter();
  w.writeVarintField(1, m.irVersion ?? 10);
  w.writeStringField(2, "tests");
  for (const [domain, version] of Object.entries({ "": m.opset ?? 21, ...m.domains }))
    w.writeMessage(8, writeOpset, [domain, version] as const);
  w.writeMessage(7, writeGraph, m);
  for (const entry of Object.entries(m.metadata ?? {})) w.writeMessage(14, writeEntry, entry);
  for (const f of m.functions ?? []) w.writeMessage(25, writeFunction, f);
  return w.finish().slice();
}

function writeOpset([domain, version]: readonly [string, number], w: PbfWriter): void {
  w.writeStringField(1, domain);
  w.writeVarintField(2, version);
}

function writeEntry([key, value]: readonly [string, string], w: PbfWriter): void {
  w.writeStringField(1, key);
  w.writeStringField(2, value);
}

function writeGraph(g: GraphSpec, w: PbfWriter): void {
  for (const n of g.nodes ?? []) w.writeMessage(1, writeNode, n);
  w.writeStringField(2, "graph");
  for (const [name, t] of Object.entries(g.initializers ?? {})) w.writeMessage(5, writeTensor, { ...t, name });
  for (const p of g.inputs ?? []) w.writeMessage(11, writePort, p);
  for (const p of g.outputs ?? []) w.writeMessage(12, writePort, p);
}

function writeNode(n: NodeSpec, w: PbfWriter): void {
  for (const name of n.inputs ?? []) w.writeStringField(1, name);
  for (const name of n.outputs ?? []) w.writeStringField(2, name);
  w.writeStringField(3, n.name ?? "");
  w.writeStringField(4, n.type);
  for (const a of Object.entries(n.attributes ?? {})) w.writeMessage(5, writeAttribute, a);
  if (n.domain) w.writeStringField(7, n.domain);
}

/** What writers of numbers can't: more than 53 bits. */
function writeInt64(field: number, value: bigint, w: PbfWriter): void {
  w.writeTag(field, 0);
  w.realloc(10);
  let rest = BigInt.asUintN(64, value);
  for (; rest > 127n; rest >>= 7n) w.buf[w.pos++] = Number(rest & 127n) | 128;
  w.buf[w.pos++] = Number(rest);
}

function writeAttribute([name, a]: [string, AttributeSpec], w: PbfWriter): void {
  w.writeStringField(1, name);
  const type = (n: number): void => w.writeVarintField(20, n);
  if ("int" in a) {
    type(2);
    w.writeVarintField(3, a.int);
  } else if ("ints" in a) {
    type(7);
    for (const i of a.ints) writeInt64(8, BigInt(i), w);
  } else if ("float" in a) {
    type(1);
    w.writeFloatField(2, a.float);
  } else if ("floats" in a) {
    type(6);
    for (const f of a.floats) w.writeFloatField(7, f);
  } else if ("string" in a) {
    type(3);
    w.writeStringField(4, a.string);
  } else if ("strings" in a) {
    type(8);
    for (const s of a.strings) w.writeStringField(9, s);
  } else if ("sparse" in a) {
    type(11);
    w.writeMessage(22, writeSparse, a.sparse);
  } else if ("tensor" in a) {
    type(4);
    w.writeMessage(5, writeTensor, { ...a.tensor, name: "" });
  } else if ("graph" in a) {
    type(5);
    w.writeMessage(6, writeGraph, a.graph);
  } else {
    type(a.kind);
    w.writeStringField(21, a.reference);
  }
}

function writeFunction(f: FunctionSpec, w: PbfWriter): void {
  w.writeStringField(1, f.name);
  for (const name of f.inputs) w.writeStringField(4, name);
  for (const name of f.outputs) w.writeStringField(5, name);
  for (const name of f.attributes ?? []) w.writeStringField(6, name);
  for (const n of f.nodes) w.writeMessage(7, writeNode, n);
  for (const o of Object.entries(f.opsets ?? { "": 21 })) w.writeMessage(9, writeOpset, o);
  w.writeStringField(10, f.domain);
  for (const a of Object.entries(f.defaults ?? {})) w.writeMessage(11, writeAttribute, a);
}

export function encodeTensor(t: HostTensor): Uint8Array {
  const w = new PbfWriter();
  writeTensor({ ...t, name: "" }, w);
  return w.finish().slice();
}

function writeTensor(t: TensorSpec & { name: string }, w: PbfWriter): void {
  w.writePackedVarint(1, [...t.shape]);
  w.writeVarintField(2, onnxOfDType(t.dtype));
  w.writeStringField(8, t.name);
  if (t.external) {
    for (const entry of Object.entries(t.external)) w.writeMessage(13, writeEntry, entry);
    w.writeVarintField(14, 1);
  } else if (Array.isArray(t.data)) for (const s of t.data) w.writeBytesField(6, new TextEncoder().encode(s));
  else w.writeBytesField(9, packed(t.dtype, t.data));
}

/** The elements as raw data: narrow ones share bytes, lowest bits first. */
function packed(dtype: DType, data: TypedArray): Uint8Array {
  const { bits } = dtypes[dtype];
  if (bits >= 8) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const out = new Uint8Array(Math.ceil((data.length * bits) / 8));
  data.forEach((v, i) => {
    out[(i * bits) >> 3] |= (Number(v) & (2 ** bits - 1)) << ((i * bits) & 7);
  });
  return out;
}

/** SparseTensorProto of a dense tensor of numbers that are not BigInt. */
function writeSparse(t: TensorSpec, w: PbfWriter): void {
  const data = t.data as Float32Array;
  const at = [...data.keys()].filter((i) => data[i] !== 0);
  w.writeMessage(1, writeTensor, { dtype: t.dtype, shape: [at.length], data: data.filter((v) => v !== 0), name: "" });
  const positions = { dtype: "i64", shape: [at.length], data: BigInt64Array.from(at, BigInt), name: "" } as const;
  w.writeMessage(2, writeTensor, positions);
  w.writePackedVarint(3, [...t.shape]);
}

function writePort(p: PortSpec, w: PbfWriter): void {
  w.writeStringField(1, p.name);
  if (!p.dtype) return;
  const tensorType = (_: unknown, type: PbfWriter): void =>
    type.writeMessage(
      1,
      (_p, t) => {
        t.writeVarintField(1, onnxOfDType(p.dtype as DType));
        if (p.shape) t.writeMessage(2, writeShape, p.shape);
      },
      p,
    );
  w.writeMessage(
    2,
    (_, type) => {
      if (p.sequence) type.writeMessage(4, (_s, s) => s.writeMessage(1, tensorType, p), p);
      else tensorType(p, type);
    },
    p,
  );
}

function writeShape(shape: (number | string)[], w: PbfWriter): void {
  for (const d of shape)
    w.writeMessage(
      1,
      (dim, m) => {
        if (typeof dim === "number") m.writeVarintField(1, dim);
        else m.writeStringField(2, dim);
      },
      d,
    );
}
