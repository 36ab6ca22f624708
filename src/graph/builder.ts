/**
 * Records a graph by running operators on symbolic values. Types are inferred while everything they depend on is
 * known, so that a wrong shape fails where it is written; what depends on free dimensions waits for the session.
 */
import { type Attrs, checkInputs, type Executor, isHostInput, type OpDef, outputCount, type Value } from "../ops/op.ts";
import type { DType } from "../tensor/dtype.ts";
import { ForwardpassError, InputError } from "../tensor/errors.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
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

  input(name: string, dtype?: DType, shape?: readonly Dim[], fallback?: HostTensor, elements?: DType): SymbolicValue {
    if (this.inputs.some((p) => p.name === name)) throw new InputError(`graph: two inputs are named "${name}"`);
    const id = this.next++;
    this.inputs.push({ name, dtype, shape, id, default: fallback, elements });
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

  /** Set where people write the graph. */
  checkAttributes?: (op: OpDef, attrs: Attrs) => void;

  run(op: OpDef, inputs: readonly (SymbolicValue | undefined)[], attrs: Attrs): SymbolicValue[] {
    checkInputs(op, inputs);
    this.checkAttributes?.(op, attrs);
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
