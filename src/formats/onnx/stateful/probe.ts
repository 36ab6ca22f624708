/**
 * Shapes, and the values that follow from shapes and masks, of a whole graph for one setting of past and new tokens: by the
 * shape rules and references of operators, without a device. Values that weights or tokens decide are not computed.
 */
import { inferNode } from "../../../graph/infer.ts";
import type { Graph, Node, ValueId } from "../../../graph/ir.ts";
import { isHostInput } from "../../../ops/op.ts";
import { sizeOf } from "../../../tensor/shape.ts";
import { emptyTensor, type HostTensor, type TensorType } from "../../../tensor/tensor.ts";
import { Weight } from "../../../tensor/weight.ts";
import { Unrecognised } from "./unrecognised.ts";

/** Elements up to which a value is computed: masks are, weights are not. */
const valueLimit = 1 << 16;
/** The same of masks of a long context, by their positions. */
const perPosition = 4;

export interface Setting {
  readonly past: number;
  readonly tokens: number;
}

/** Inputs of which operators' references read the type alone, by number. */
const typeOnly: Readonly<Record<string, number>> = { castLike: 1, cacheStart: 0, keyPaddingMask: 1 };

const hasData = (t: TensorType | HostTensor): t is HostTensor => "data" in t;
const isReady = (t: HostTensor): boolean => !(t instanceof Weight) || (!t.elements.pending && t.elements.onHost);

export class Probe {
  private readonly types = new Map<ValueId, TensorType>();
  private readonly values = new Map<ValueId, HostTensor>();

  /** @throws ShapeError and the like where operators refuse the setting, Unrecognised for those without a shape rule */
  constructor(
    private readonly graph: Graph,
    readonly setting: Setting,
    inputs: ReadonlyMap<ValueId, TensorType | HostTensor>,
  ) {
    for (const [id, t] of inputs) {
      this.types.set(id, t);
      if (hasData(t)) this.values.set(id, t);
    }
    for (const node of graph.nodes) this.visit(node);
  }

  typeOf(id: ValueId): TensorType {
    const type = this.types.get(id) ?? this.graph.constants.get(id);
    if (!type) throw new Unrecognised(`it reads an input that decoders do not have`);
    return type;
  }

  /** Undefined where tokens or weights decide it. */
  valueOf(id: ValueId): HostTensor | undefined {
    const own = this.values.get(id);
    if (own) return own;
    const constant = this.graph.constants.get(id);
    return constant && isReady(constant) ? constant : undefined;
  }

  private visit(node: Node): void {
    const positions = this.setting.past + this.setting.tokens;
    const results = run(
      node,
      (id) => this.typeOf(id),
      (id) => this.valueOf(id),
      ({ shape }) => sizeOf(shape) <= (shape.some((d) => d >= positions) ? perPosition * positions : 0) + valueLimit,
    );
    node.outputs.forEach((id, k) => {
      this.types.set(id, results[k]);
      const r = results[k];
      if (hasData(r)) this.values.set(id, r);
    });
  }
}

/** Values of `nodes` that follow from those given, which is all that they read. */
export function evaluate(
  nodes: readonly Node[],
  given: (id: ValueId) => HostTensor | undefined,
): ReadonlyMap<ValueId, HostTensor> {
  const values = new Map<ValueId, HostTensor>();
  const valueFor = (id: ValueId): HostTensor => {
    const v = values.get(id) ?? given(id);
    if (!v) throw new Unrecognised("attention depends on something beside queries, caches and masks");
    return v;
  };
  for (const node of nodes) {
    const results = run(node, valueFor, valueFor, () => true);
    node.outputs.forEach((id, k) => {
      const r = results[k];
      if (hasData(r)) values.set(id, r);
    });
  }
  return values;
}

function run(
  node: Node,
  typeOf: (id: ValueId) => TensorType,
  valueFor: (id: ValueId) => HostTensor | undefined,
  isComputed: (type: TensorType) => boolean,
): (TensorType | HostTensor)[] {
  const { op, attrs } = node;
  if (!op.infer) throw new Unrecognised(`it has "${node.name}", whose result has a shape that data decides`);
  const types = node.inputs.map((id) => (id === undefined ? undefined : typeOf(id)));
  const values = node.inputs.map((id) => (id === undefined ? undefined : valueFor(id)));
  const operands = types.map((type, k) =>
    type && isHostInput(op, k) ? { ...type, value: values[k] } : type && { dtype: type.dtype, shape: type.shape },
  );
  const outputs = inferNode(node, operands);
  const knows = op.shapeOnly || types.every((type, k) => !type || values[k] || typeOnly[op.name] === k);
  if (!knows || !op.reference || op.random || !outputs.every(isComputed)) return outputs;
  const results = outputs.map(emptyTensor);
  const given = types.map((type, k) => type && (values[k] ?? { ...type, data: [] as never }));
  op.reference(given, attrs, results);
  return results;
}
