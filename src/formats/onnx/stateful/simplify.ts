/**
 * What exporters write in many operators and we have in one: fewer nodes to probe, to plan and to run.
 *
 *   cast to the dtype that is there           nothing
 *   float(a b) scales + bias, quantised       matmulIntegerToFloat
 *   x / sqrt(mean(x^2) + epsilon) * scale     rmsNorm
 *   x cos + [-x2, x1] sin                     rotaryEmbedding, before heads are split off
 *
 * Legal where nobody else reads what lies between, by the types of a probe; of rotations the angles of both halves of a head
 * have to be equal in it.
 */
import type { Graph, Node, ValueId } from "../../../graph/ir.ts";
import { integerRules } from "../../../graph/passes/integers.ts";
import { meanOf } from "../../../graph/passes/layernorm.ts";
import { eitherOrder, only, samePermutation, scalarOf, withScalar } from "../../../graph/passes/match.ts";
import { type RewriteContext, type Rule, rewrite } from "../../../graph/passes/rewrite.ts";
import { rmsNorm } from "../../../ops/layer-norm.ts";
import { reshape } from "../../../ops/reshape.ts";
import { rotaryEmbedding } from "../../../ops/rotary-embedding.ts";
import { slice } from "../../../ops/slice.ts";
import { transpose } from "../../../ops/transpose.ts";
import { toNumbers } from "../../../tensor/convert.ts";
import type { HostTensor, TensorType } from "../../../tensor/tensor.ts";
import type { Probe } from "./probe.ts";

/** @param wanted values that are to be there afterwards */
export function simplified(graph: Graph, probe: Probe, wanted: readonly ValueId[]): Graph {
  let { valueCount } = graph;
  const constants = new Map(graph.constants);
  const types = new Map<ValueId, TensorType>();
  const add = (type?: TensorType): ValueId => {
    if (type) types.set(valueCount, type);
    return valueCount++;
  };
  const nodes = rewrite(graph.nodes, [removeCast, ...integerRules, fuseRmsNorm, rotations(probe)], {
    type: (id) => types.get(id) ?? (id < graph.valueCount ? probe.typeOf(id) : undefined),
    constant: (id) => constants.get(id),
    owns: () => false,
    addConstant(t) {
      const id = add(t);
      constants.set(id, t);
      return id;
    },
    setConstant: (id, t) => constants.set(id, t),
    addValue: add,
    isOutput: (id) => wanted.includes(id),
  });
  return { ...graph, nodes, constants, valueCount };
}

const removeCast: Rule = ({ op, inputs, attrs }, context) =>
  op.name === "cast" && context.type(inputs[0]!)?.dtype === attrs["to"] ? { same: inputs[0]! } : undefined;

const fuseRmsNorm: Rule = (node, context) => {
  if (node.op.name !== "mul") return undefined;
  for (const [scale, normal] of eitherOrder(node)) {
    const found = normalised(normal, context);
    const shape = context.constant(scale)?.shape;
    if (!found || shape?.length !== 1 || shape[0] !== context.type(found.x)?.shape.at(-1)) continue;
    const attrs = { axis: -1, epsilon: found.epsilon };
    return [{ ...node, op: rmsNorm.op, inputs: [found.x, scale], attrs }];
  }
  return undefined;
};

/** x / root or x (1 / root). */
function normalised(id: ValueId, context: RewriteContext): { x: ValueId; epsilon: number } | undefined {
  const divided = only(id, "div", context);
  const product = only(id, "mul", context);
  const pairs = divided ? [divided.inputs as [ValueId, ValueId]] : product ? eitherOrder(product) : [];
  for (const [x, other] of pairs) {
    const root = divided ? other : inverseOf(other, context);
    const sum = withScalar(only(only(root, "sqrt", context)?.inputs[0], "add", context), context);
    const square = context.producer((sum && meanOf(sum.x, context)) ?? -1);
    const squared =
      (square?.op.name === "pow" && scalarOf(square.inputs[1], context) === 2) ||
      (square?.op.name === "mul" && square.inputs[0] === square.inputs[1]);
    if (sum && squared && square!.inputs[0] === x) return { x, epsilon: sum.scalar };
  }
  return undefined;
}

function inverseOf(id: ValueId, context: RewriteContext): ValueId | undefined {
  const quotient = only(id, "div", context);
  if (scalarOf(quotient?.inputs[0], context) === 1) return quotient!.inputs[1];
  return only(id, "reciprocal", context)?.inputs[0];
}

/** Heads apart, [1, heads, tokens, dim], turned by angles that are [1, 1, tokens, dim] or a reshaped one of it. */
function rotations(probe: Probe): Rule {
  /** The angles of half a head, by those of a whole one. */
  const halves = new Map<ValueId, ValueId>();
  return (node, context) => {
    if (node.op.name !== "add") return undefined;
    for (const [straight, turned] of eitherOrder(node)) {
      const [first, second] = [only(straight, "mul", context), only(turned, "mul", context)];
      for (const [x, cos] of first ? eitherOrder(first) : [])
        for (const [other, sin] of second ? eitherOrder(second) : []) {
          if (!isTurned(other, x, probe, context)) continue;
          const dims = context.type(x)!.shape;
          if (dims.length !== 4 || dims[0] !== 1 || ![cos, sin].every((id) => hasEqualHalves(id, dims, probe)))
            continue;
          const before: Node[] = [];
          const [c, s] = [cos, sin].map((id) => {
            const half = halves.get(id) ?? context.addValue();
            if (!halves.has(id)) before.push(...firstHalf(id, half, dims[3], node, context));
            halves.set(id, half);
            return half;
          });
          return [...before, ...rotation(node, x, [c, s], context)];
        }
    }
    return undefined;
  };
}

/** Whether `id` is [-x2, x1], where x is [x1, x2]. */
function isTurned(id: ValueId, x: ValueId, probe: Probe, context: RewriteContext): boolean {
  const joined = only(id, "concat", context);
  const dims = context.type(x)?.shape;
  if (!dims || joined?.inputs.length !== 2 || ![-1, dims.length - 1].includes(joined.attrs["axis"] as number))
    return false;
  const second = only(joined.inputs[0], "neg", context)?.inputs[0];
  const half = dims.at(-1)! / 2;
  const isPart = (part: ValueId | undefined, from: number, to: number): boolean => {
    const node = only(part, "slice", context);
    if (node?.inputs[0] !== x) return false;
    const [start, end, axis = dims.length - 1, step = 1] = node.inputs.slice(1).map((v) => numberIn(v, probe));
    return (
      start === from &&
      Math.min(end ?? 0, dims.at(-1)!) === to &&
      [-1, dims.length - 1].includes(axis) &&
      step === 1 &&
      context.type(part!)?.shape.at(-1) === half
    );
  };
  return isPart(second, half, 2 * half) && isPart(joined.inputs[1], 0, half);
}

function numberIn(id: ValueId | undefined, probe: Probe): number | undefined {
  const t = id === undefined ? undefined : probe.valueOf(id);
  return t?.data.length === 1 ? toNumbers(t)[0] : undefined;
}

/** Whether it has a row of angles for each token, whose second half is the first one again. */
function hasEqualHalves(id: ValueId, [, , tokens, dim]: readonly number[], probe: Probe): boolean {
  const t = probe.valueOf(id);
  if (t?.dtype !== "f32" || t.data.length !== tokens * dim || t.shape.at(-1) !== dim || dim % 2) return false;
  const half = dim / 2;
  return (t.data as Float32Array).every((v, i, all) => v === all[i - (i % dim) + (i % half)]);
}

const integers = (...values: number[]): HostTensor => ({
  dtype: "i64",
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

function firstHalf(id: ValueId, half: ValueId, dim: number, { name }: Node, context: RewriteContext): Node[] {
  const part = context.addValue();
  const [start, end, axis, shape] = [[0], [dim / 2], [-1], [1, -1, dim / 2]].map((v) =>
    context.addConstant(integers(...v)),
  );
  return [
    { op: slice.op, name, inputs: [id, start, end, axis], outputs: [part], attrs: {} },
    { op: reshape.op, name, inputs: [part, shape], outputs: [half], attrs: {} },
  ];
}

function rotation(node: Node, x: ValueId, [cos, sin]: ValueId[], context: RewriteContext): Node[] {
  const [, heads, tokens, dim] = context.type(x)!.shape;
  const { name } = node;
  const perm = [0, 2, 1, 3];
  const split = context.producer(x);
  const packed = split?.op.name === "transpose" && samePermutation(split, perm) ? split.inputs[0]! : undefined;
  if (packed === undefined)
    return [{ op: rotaryEmbedding.op, name, inputs: [x, cos, sin], outputs: node.outputs, attrs: {} }];
  const dtype = context.type(x)!.dtype;
  const [rows, turned] = [0, 1].map(() => context.addValue({ dtype, shape: [1, tokens, heads * dim] }));
  const apart = context.addValue({ dtype, shape: [1, tokens, heads, dim] });
  const [rowsShape, apartShape] = [
    [1, -1, heads * dim],
    [1, -1, heads, dim],
  ].map((v) => context.addConstant(integers(...v)));
  return [
    { op: reshape.op, name, inputs: [packed, rowsShape], outputs: [rows], attrs: {} },
    { op: rotaryEmbedding.op, name, inputs: [rows, cos, sin], outputs: [turned], attrs: { heads } },
    { op: reshape.op, name, inputs: [turned, apartShape], outputs: [apart], attrs: {} },
    { op: transpose.op, name, inputs: [apart], outputs: node.outputs, attrs: { perm } },
  ];
}
