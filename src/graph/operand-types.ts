/** What dtypes operators compute with, as far as that can be told before shapes are known: backends load kernels by it. */
import { type DType, isInteger } from "../tensor/dtype.ts";
import { type Graph, type Node, subgraphsOf, type ValueId } from "./ir.ts";

/**
 * Dtypes of the graph's inputs, and "add:i64" and "add:int" for an operator that has an input of that dtype, of any integer
 * dtype, which is neither constant nor known while planning; for casts also the dtype that they give. What loops and branches
 * compute with is not traced: it may be i64. "blocks:q4_0" for products with weights in such blocks, "blocks:false" for weights
 * that are no constants.
 */
export function dtypesOf(graph: Graph): string[] {
  const found = new Set<string>();
  const types = new Map<ValueId, DType>();
  const add = ({ op: { name }, attrs }: Pick<Node, "op" | "attrs">, dtype: DType): void => {
    found.add(`${name}:${dtype}`);
    if (name === "cast") found.add(`cast:${attrs["to"]}`);
    if (isInteger(dtype)) found.add(`${name}:int`);
  };
  for (const { id, dtype } of graph.inputs)
    if (dtype) {
      found.add(dtype);
      types.set(id, dtype);
    }
  for (const node of graph.nodes) {
    for (const id of node.inputs) if (types.has(id!)) add(node, types.get(id!)!);
    const result = resultType(node, types, graph);
    if (node.op.name === "quantizedMatmul")
      found.add(`blocks:${graph.constants.has(node.inputs[1]!) && node.attrs["type"]}`);
    if (result) for (const id of node.outputs) types.set(id, result);
    if (node.op.name === "topk") types.set(node.outputs[1], "i64");
    for (const nested of subgraphsOf(node)) for (const inner of nested.nodes) add(inner, "i64");
  }
  return [...found];
}

/** Of operators whose outputs have not the dtype of their first input: the input that has it. */
const alike: Readonly<Record<string, number>> = {
  where: 1,
  castLike: 1,
  dequantizeLinear: 1,
  quantizeLinear: 2,
  oneHot: 2,
  matmulIntegerToFloat: 2,
  convIntegerToFloat: 2,
};

/**
 * The dtype of a node's outputs, most often that of its first input. Undefined where they don't depend on data, or are
 * shapes: nothing computes with these but the planner.
 */
function resultType({ op, inputs, attrs }: Node, types: ReadonlyMap<ValueId, DType>, graph: Graph): DType | undefined {
  const { name } = op;
  if (/^(shape|size)$/.test(name) || !inputs.some((id) => types.has(id!))) return undefined;
  const given = attrs["to"] ?? attrs["dtype"];
  if (given) return given as DType;
  if (/^(nonZero|nonMax|arg|cacheStart)/.test(name)) return "i64";
  if (/^(equal|less|greater|is[NI]|keyPadding)/.test(name)) return "bool";
  if (/^(matmul|conv)Integer$/.test(name)) return "i32";
  if (name === "quantizedGather") return "f32";
  const like = inputs[alike[name] ?? 0];
  if (like === undefined) return "u8";
  return types.get(like) ?? graph.constants.get(like)?.dtype;
}
