/** One ONNX node as the lowerings see it: symbolic inputs, attributes with checks, the opset version of its domain. */
import type { GraphBuilder, SymbolicValue } from "../../graph/builder.ts";
import type { Graph } from "../../graph/ir.ts";
import type { DType } from "../../tensor/dtype.ts";
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import type { Integers } from "./proto.ts";
import { dtypeOfOnnx } from "./tensor-proto.ts";

const exact = (value: bigint): number | bigint => (Number.isSafeInteger(Number(value)) ? Number(value) : value);
const listOf = <T>(values: ArrayLike<T> | undefined): T[] | undefined => values && Array.from(values);

/** A decoded AttributeProto. Sparse tensors are dense here. */
export type OnnxAttribute =
  | { type: "int"; value: number | bigint }
  | { type: "float"; value: number }
  | { type: "string"; value: string }
  | { type: "tensor"; value: HostTensor }
  | { type: "ints"; value: Integers }
  | { type: "floats"; value: Float32Array }
  | { type: "strings"; value: string[] }
  | { type: "graph"; value: NestedGraph }
  | { type: "other"; value: unknown };

/** A graph attribute, not imported yet. */
export interface NestedGraph {
  /** As a graph of its own, for a node that runs it. */
  import(): ImportedGraph;
  /** Records its nodes in the enclosing graph, with `inputs` for its formal inputs. Returns its outputs. */
  inline(inputs: readonly SymbolicValue[]): SymbolicValue[];
}

export interface ImportedGraph {
  readonly graph: Graph;
  /** Values of the enclosing graph that this one uses, in the order of its last inputs. */
  readonly captures: readonly SymbolicValue[];
  /** Number of inputs that the format declares, before the captures. */
  readonly formals: number;
}

export class OnnxNode {
  /** Inputs that the operator has: one past the last that its lowering asked for. */
  known = 0;

  constructor(
    readonly builder: GraphBuilder,
    readonly name: string,
    /** Without domain for ai.onnx, else `domain::Type`. */
    readonly type: string,
    /** Version of the node's domain that the model imports. */
    readonly opset: number,
    readonly inputs: readonly (SymbolicValue | undefined)[],
    /** Names of the outputs, "" where one is not wanted. */
    readonly outputs: readonly string[],
    readonly attributes: ReadonlyMap<string, OnnxAttribute>,
  ) {}

  /** A required input. FormatError if it is missing. */
  input(i: number): SymbolicValue {
    return this.optional(i) ?? this.wrong(`input ${i} is missing`);
  }

  optional(i: number): SymbolicValue | undefined {
    this.known = Math.max(this.known, i + 1);
    return this.inputs[i];
  }

  /** All inputs of a variadic operator from the `from`-th on. */
  rest(from = 0): SymbolicValue[] {
    return this.inputs.slice(from).map((_, i) => this.input(from + i));
  }

  /** Whether somebody may read output `i`. */
  wants(i: number): boolean {
    return (this.outputs[i] ?? "") !== "";
  }

  has(name: string): boolean {
    return this.attributes.has(name);
  }

  int(name: string): number | undefined;
  int(name: string, fallback: number): number;
  int(name: string, fallback?: number): number | undefined {
    const a = this.attribute(name, "int");
    return a === undefined ? fallback : Number(a.value);
  }

  /** An int attribute that is a flag. */
  flag(name: string, fallback = false): boolean {
    return this.int(name, fallback ? 1 : 0) !== 0;
  }

  /** An attribute that holds a TensorProto.DataType. 0 stands for one that isn't given. Without fallback: required. */
  dtype(name: string, ...fallback: [] | [DType]): DType;
  dtype(name: string, fallback: undefined): DType | undefined;
  dtype(name: string, ...fallback: [(DType | undefined)?]): DType | undefined {
    const code = this.int(name, 0);
    if (code === 0 && fallback.length > 0) return fallback[0];
    return dtypeOfOnnx(code) ?? this.unsupported(`${name} ${code}`);
  }

  float(name: string): number | undefined;
  float(name: string, fallback: number): number;
  float(name: string, fallback?: number): number | undefined {
    return this.attribute(name, "float")?.value ?? fallback;
  }

  string(name: string): string | undefined;
  string(name: string, fallback: string): string;
  string(name: string, fallback?: string): string | undefined {
    return this.attribute(name, "string")?.value ?? fallback;
  }

  ints(name: string): number[] | undefined {
    return listOf(this.intArray(name));
  }

  /** The same, not copied, for long lists. */
  intArray(name: string): Float64Array | undefined {
    const values = this.attribute(name, "ints")?.value;
    return values instanceof BigInt64Array ? Float64Array.from(values, Number) : values;
  }

  /** What no number is exactly stays a bigint: ids may be hashes. */
  int64s(name: string): (number | bigint)[] | undefined {
    const values = this.attribute(name, "ints")?.value;
    return values instanceof BigInt64Array ? Array.from(values, exact) : listOf(values);
  }

  bigints(name: string): BigInt64Array | undefined {
    const values = this.attribute(name, "ints")?.value;
    return values instanceof Float64Array ? BigInt64Array.from(values, BigInt) : values;
  }

  int64(name: string, fallback: number): number | bigint {
    return this.attribute(name, "int")?.value ?? fallback;
  }

  floats(name: string): number[] | undefined {
    return listOf(this.floatArray(name));
  }

  /** The same, not copied, for long lists. */
  floatArray(name: string): Float32Array | undefined {
    return this.attribute(name, "floats")?.value;
  }

  strings(name: string): string[] | undefined {
    return this.attribute(name, "strings")?.value;
  }

  tensor(name: string): HostTensor | undefined {
    return this.attribute(name, "tensor")?.value;
  }

  graph(name: string): NestedGraph {
    return (this.attribute(name, "graph") ?? this.missing(name)).value;
  }

  /** A small i64 constant: axes, a shape. A plain number gives a scalar. */
  i64(values: number | readonly number[]): SymbolicValue {
    const list = typeof values === "number" ? [values] : values;
    const shape = typeof values === "number" ? [] : [list.length];
    return this.builder.constant({ dtype: "i64", shape, data: BigInt64Array.from(list, BigInt) });
  }

  unsupported(what: string): never {
    const missing = [`${this.type}: ${what}`];
    throw new UnsupportedOpError(`${this.type}: ${what} is not supported`, { op: this.type, missing }).at(this.name);
  }

  /** Throws FormatError: a required attribute isn't there. */
  missing(attribute: string): never {
    return this.wrong(`attribute "${attribute}" is missing`);
  }

  /** Throws FormatError. Importing adds the node's name. */
  wrong(what: string): never {
    throw new FormatError(`${this.type}: ${what}`, { op: this.type });
  }

  private attribute<T extends OnnxAttribute["type"]>(
    name: string,
    type: T,
  ): Extract<OnnxAttribute, { type: T }> | undefined {
    const a = this.attributes.get(name);
    if (a === undefined) return undefined;
    if (a.type !== type) this.wrong(`attribute "${name}" must be ${type}, is ${a.type}`);
    return a as Extract<OnnxAttribute, { type: T }>;
  }
}

/** Turns a node into ours. Returns one value for each output (trailing unwanted ones may be left out). */
export type Lowering = (n: OnnxNode) => SymbolicValue | readonly (SymbolicValue | undefined)[];
/** By ONNX operator type; other domains as `domain::Type`. */
export type LoweringTable = Readonly<Record<string, Lowering>>;
