/**
 * Records a graph by running operators on symbolic values. Types are inferred while everything they depend on is
 * known, so that a wrong shape fails where it is written; what depends on free dimensions waits for the session.
 */
import { type Attrs, checkInputs, type Executor, isHostInput, type OpDef, outputCount, type Value } from "../ops/op.ts";
import type { DType } from "../tensor/dtype.ts";
import { ForwardpassError, InputError } from "../tensor/errors.ts";
import { checkHostTensor, type HostTensor, type TensorType } from "../tensor/tensor.ts";
import { Weight } from "../tensor/weight.ts";
import type { Dim, Graph, GraphPort, GraphState, Node, ValueId } from "./ir.ts";

/** A value of a graph under construction. */
export class SymbolicValue implements Value {
  declare private readonly brand: "symbolic";
  constructor(
    readonly executor: GraphBuilder,
    readonly id: ValueId,
    /** Known where nothing free influences it. */
    readonly type?: TensorType,
    readonly constant?: HostTensor,
  ) {}

  /** @throws InputError where the shape depends on a free dimension */
  get shape(): readonly number[] {
    if (!this.type) throw new InputError("this value's shape depends on a free dimension of the graph's inputs");
    return this.type.shape;
  }
}

export class GraphBuilder implements Executor<SymbolicValue> {
  private readonly inputs: GraphPort[] = [];
  private readonly outputs: GraphPort[] = [];
  private readonly constants = new Map<ValueId, HostTensor>();
  private readonly nodes: Node[] = [];
  private readonly states: GraphState[] = [];
  private next = 0;
  /** Given to the nodes recorded from here on. Importers set it to the source node's name. */
  scope = "";

  constructor(readonly name = "graph") {}

  input(name: string, dtype?: DType, shape?: readonly Dim[], fallback?: HostTensor): SymbolicValue {
    if (this.inputs.some((p) => p.name === name)) throw new InputError(`graph: two inputs are named "${name}"`);
    const id = this.next++;
    this.inputs.push({ name, dtype, shape, id, default: fallback });
    const fixed = dtype && shape?.every((d) => typeof d === "number") && !fallback;
    return new SymbolicValue(this, id, fixed ? { dtype, shape: shape as readonly number[] } : undefined);
  }

  /** Memory that lasts from run to run. Rows of the first axis are reserved as they are needed. */
  state(name: string, type: TensorType): SymbolicValue {
    if (this.states.some((s) => s.name === name)) throw new InputError(`graph: two states are named "${name}"`);
    const id = this.next++;
    this.states.push({ ...type, name, id });
    return new SymbolicValue(this, id, type);
  }

  constant(tensor: HostTensor): SymbolicValue {
    const id = this.next++;
    this.constants.set(id, tensor);
    return new SymbolicValue(this, id, { dtype: tensor.dtype, shape: tensor.shape }, tensor);
  }

  run(op: OpDef, inputs: readonly (SymbolicValue | undefined)[], attrs: Attrs): SymbolicValue[] {
    checkInputs(op, inputs);
    const name = this.scope || `${op.name}_${this.nodes.length}`;
    let types: TensorType[] | undefined;
    try {
      types = inferIfKnown(op, inputs, attrs);
    } catch (e) {
      throw e instanceof ForwardpassError ? e.at(name) : e;
    }
    const outputs = Array.from({ length: types?.length ?? outputCount(op, attrs) }, (_, i) => {
      return new SymbolicValue(this, this.next++, types?.[i]);
    });
    this.nodes.push({ op, name, inputs: inputs.map((v) => v?.id), outputs: outputs.map((v) => v.id), attrs });
    return outputs;
  }

  output(name: string, value: SymbolicValue, info: { dtype?: DType; shape?: readonly Dim[] } = {}): void {
    if (this.outputs.some((p) => p.name === name)) throw new InputError(`graph: two outputs are named "${name}"`);
    const { dtype = value.type?.dtype, shape = value.type?.shape } = info;
    this.outputs.push({ name, dtype, shape, id: value.id });
  }

  build(): Graph {
    const { name, inputs, outputs, constants, nodes, states, next } = this;
    return { name, inputs, outputs, constants, nodes, valueCount: next, ...(states.length ? { states } : {}) };
  }
}

function inferIfKnown(
  op: OpDef,
  inputs: readonly (SymbolicValue | undefined)[],
  attrs: Attrs,
): TensorType[] | undefined {
  if (!op.infer) return undefined;
  for (let i = 0; i < inputs.length; i++) {
    const v = inputs[i];
    if (v && (!v.type || (isHostInput(op, i) && !v.constant))) return undefined;
  }
  const operands = inputs.map((v) => v?.type && { ...v.type, value: v.constant });
  const types = op.infer(operands, attrs);
  return Array.isArray(types) ? types : [types];
}

export interface GraphDefinition {
  /** Declares an input. Named dimensions (`"batch"`) stay free until a run. */
  input(name: string, dtype: DType, shape: readonly Dim[]): SymbolicValue;
  /** Declares state, which lasts from run to run: see `Session.openState`. */
  state(name: string, dtype: DType, shape: readonly number[]): SymbolicValue;
  /**
   * Embeds a constant: weights, tables.
   * @throws InputError, DTypeError, ShapeError for what is no tensor, or one of `tensor()` that isn't computed yet
   */
  weight(tensor: HostTensor | { readonly host: HostTensor | undefined }): SymbolicValue;
}

function checkWeight(t: HostTensor | { readonly host: HostTensor | undefined }): HostTensor {
  // A Weight has read its type itself, and its elements are to stay where they are.
  if (t instanceof Weight) return t;
  if (typeof t !== "object" || !("host" in t)) return checkHostTensor(t, "weight");
  if (!t.host) throw new InputError("weight: this tensor isn't computed yet: give what its toHost() resolves to");
  return t.host;
}

/**
 * Builds a graph with the public operators: the function returns the named outputs.
 * Types of outputs may be declared where they depend on free dimensions.
 * `graph(({ input, weight }) => ({ y: relu(matmul(input("x", "f32", ["batch", 4]), weight(w))) }))`
 */
export function graph(
  define: (g: GraphDefinition) => Record<string, SymbolicValue>,
  options: { name?: string; outputs?: Readonly<Record<string, { dtype: DType; shape: readonly Dim[] }>> } = {},
): Graph {
  const builder = new GraphBuilder(options.name);
  const outputs = define({
    input: (name, dtype, shape) => builder.input(name, dtype, shape),
    state: (name, dtype, shape) => builder.state(name, { dtype, shape }),
    weight: (tensor) => builder.constant(checkWeight(tensor)),
  });
  for (const [name, value] of Object.entries(outputs)) builder.output(name, value, options.outputs?.[name]);
  return builder.build();
}
