/** Types and values of a stage: what follows from input shapes and constants, node by node. */
import { isHostInput } from "../ops/op.ts";
import { sizeOf } from "../tensor/shape.ts";
import {
  type AnyValue,
  emptyTensor,
  type HostTensor,
  isHostTensor,
  isTensor,
  type TensorType,
} from "../tensor/tensor.ts";
import { inferNode } from "./infer.ts";
import { type Graph, type Node, stateValues, type ValueId } from "./ir.ts";

/** Elements up to which a value that follows from shapes and constants is computed while planning. */
const foldLimit = 4096;
/** Elements a node may read or write while a shape is computed from run-time values. */
const demandLimit = 65536;

export type Environment = ReadonlyMap<ValueId, AnyValue>;

/** Walks nodes forward, inferring types and folding what follows from them, until one can't be planned. */
export class ShapeWalk {
  readonly types = new Map<ValueId, TensorType>();
  /** Values that follow from constants and types alone. */
  readonly known = new Map<ValueId, HostTensor>();
  readonly readTypes = new Map<ValueId, TensorType | undefined>();
  readonly readValues = new Map<ValueId, HostTensor>();
  /** Values computed from run-time values because a shape depends on them. */
  private readonly demanded = new Map<ValueId, HostTensor>();
  private readonly producer = new Map<ValueId, Node>();
  /** Values that are state, by its number. */
  readonly states: ReadonlyMap<ValueId, number>;

  constructor(
    readonly graph: Graph,
    readonly start: number,
    readonly env: Environment,
    private readonly memoryLimit: number,
  ) {
    this.states = stateValues(graph);
  }

  walk(): number {
    const { nodes } = this.graph;
    for (let i = this.start; i < nodes.length; i++) if (!this.visit(nodes[i])) return i;
    return nodes.length;
  }

  private visit(node: Node): boolean {
    // What is drawn anew in each run is data, in shapes too.
    if (!node.op.infer || (node.op.random && node.attrs["seed"] === undefined)) return false;
    const inputs: (TensorType | undefined)[] = [];
    for (const id of node.inputs) {
      const type = id === undefined ? undefined : this.typeOf(id);
      if (id !== undefined && (!type || type.dtype === "string")) return false;
      inputs.push(type);
    }
    const operands = inputs.map((type, k) => {
      const id = node.inputs[k];
      return type && id !== undefined && isHostInput(node.op, k) ? { ...type, value: this.valueOf(id) } : type;
    });
    if (operands.some((o, k) => o && isHostInput(node.op, k) && !("value" in o && o.value))) return false;
    const outputs = inferNode(node, operands, this.memoryLimit);
    if (outputs.some((t) => t.dtype === "string")) return false;
    outputs.forEach((type, k) => {
      const id = node.outputs[k];
      if (id === undefined) return;
      this.types.set(id, type);
      this.producer.set(id, node);
    });
    this.fold(node, inputs, outputs);
    return true;
  }

  typeOf(id: ValueId): TensorType | undefined {
    const own = this.types.get(id) ?? this.graph.constants.get(id);
    if (own) return own;
    const state = this.states.get(id);
    if (state !== undefined) return this.graph.states![state];
    const v = this.env.get(id);
    const type = isTensor(v) ? { dtype: v.dtype, shape: v.shape } : undefined;
    this.readTypes.set(id, type);
    return type;
  }

  /** A value that never changes while this plan holds, without looking at run-time values. */
  constantOf(id: ValueId): HostTensor | undefined {
    return this.graph.constants.get(id) ?? this.known.get(id);
  }

  /** Also from run-time values, on which the plan then depends. */
  valueOf(id: ValueId): HostTensor | undefined {
    // A stack of our own: shape arithmetic can be deeper than the call stack.
    const open = [id];
    for (let top: ValueId | undefined = id; top !== undefined; top = open.at(-1)) {
      const node = this.producer.get(top);
      if (this.present(top)) open.pop();
      else if (!node) return undefined;
      else {
        const given = node.inputs.filter((i) => i !== undefined);
        if ([...given, ...node.outputs].some((i) => sizeOf(this.typeOf(i)!.shape) > demandLimit)) return undefined;
        const missing = given.filter((i) => !this.present(i));
        open.push(...missing);
        if (missing.length) continue;
        const inputs = node.inputs.map((i) => (i === undefined ? i : this.present(i)));
        if (!this.evaluate(node, inputs, this.demanded)) return undefined;
      }
    }
    return this.present(id);
  }

  /** A value that is there without computing. */
  private present(id: ValueId): HostTensor | undefined {
    const found = this.constantOf(id) ?? this.demanded.get(id) ?? this.readValues.get(id);
    const v = found ? undefined : this.env.get(id);
    if (!isHostTensor(v)) return found;
    // A copy: the caller may write over its array before the next run.
    const kept = { dtype: v.dtype, shape: v.shape, data: v.data.slice() };
    this.readValues.set(id, kept);
    return kept;
  }

  private fold(node: Node, inputTypes: readonly (TensorType | undefined)[], outputs: readonly TensorType[]): void {
    if (outputs.some((t) => sizeOf(t.shape) > foldLimit)) return;
    if (outputs.every((t) => sizeOf(t.shape) === 0)) {
      // Nothing to compute.
      node.outputs.forEach((id, k) => {
        if (id !== undefined) this.known.set(id, emptyTensor(outputs[k]));
      });
      return;
    }
    const inputs = node.inputs.map((id, k) => {
      if (id === undefined) return undefined;
      const type = inputTypes[k]!;
      if (node.op.shapeOnly) return this.constantOf(id) ?? { ...type, data: [] };
      return this.constantOf(id) ?? null;
    });
    if (inputs.some((v) => v === null)) return;
    this.evaluate(node, inputs as (HostTensor | undefined)[], this.known);
  }

  private evaluate(node: Node, inputs: readonly (HostTensor | undefined)[], into: Map<ValueId, HostTensor>): boolean {
    if (!node.op.reference) return false;
    const results = node.outputs.map((id) => emptyTensor(this.types.get(id)!));
    node.op.reference(inputs, node.attrs, results);
    results.forEach((r, k) => {
      if (node.outputs[k] !== undefined) into.set(node.outputs[k], r);
    });
    return true;
  }
}
