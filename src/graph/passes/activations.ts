/**
 * Activations that exporters write out: x sigmoid(x) -> silu, x hardSigmoid(x) -> hardSwish, and the two forms of gelu.
 *
 * Legal always: the formula is the operator's definition. Intermediate values must have no other reader, or the fusion
 * would compute them twice.
 */
import { gelu, hardSwish, silu } from "../../ops/unary.ts";
import type { Node, ValueId } from "../ir.ts";
import { about, eitherOrder, only, scalarOf, scaled, withScalar } from "./match.ts";
import type { RewriteContext, Rule } from "./rewrite.ts";

const become = (node: Node, op: Node["op"], x: ValueId, attrs = {}): Node[] => [
  { ...node, op, inputs: [x], outputs: node.outputs, attrs },
];

export const fuseSwish: Rule = (node, context) => {
  if (node.op.name !== "mul") return undefined;
  for (const [x, gate] of eitherOrder(node)) {
    if (only(gate, "sigmoid", context)?.inputs[0] === x) return become(node, silu.op, x);
    const hard = only(gate, "hardSigmoid", context);
    if (
      hard?.inputs[0] === x &&
      about(hard.attrs["alpha"] as number, 1 / 6) &&
      about(hard.attrs["beta"] as number, 0.5)
    )
      return become(node, hardSwish.op, x);
  }
  return undefined;
};

/** 0.5 x (1 + erf(x / sqrt 2)), whichever product comes first. */
export const fuseGelu: Rule = (node, context) => {
  if (node.op.name !== "mul") return undefined;
  // (x (1 + erf)) 0.5
  const outer = withScalar(node, context);
  if (outer && about(outer.scalar, 0.5)) {
    const product = only(outer.x, "mul", context);
    for (const [x, gate] of product ? eitherOrder(product) : [])
      if (isErfGate(gate, x, context)) return become(node, gelu.op, x);
  }
  for (const [half, gate] of eitherOrder(node)) {
    // (0.5 x) (1 + erf)
    const x = scaled(half, context);
    if (x && about(x.scalar, 0.5) && isErfGate(gate, x.x, context)) return become(node, gelu.op, x.x);
    // x (0.5 (1 + erf))
    const inner = scaled(gate, context);
    if (inner && about(inner.scalar, 0.5) && isErfGate(inner.x, half, context)) return become(node, gelu.op, half);
  }
  return undefined;
};

/** 1 + erf(x / sqrt 2). */
function isErfGate(id: ValueId, x: ValueId, context: RewriteContext): boolean {
  const sum = withScalar(only(id, "add", context), context);
  const erf = sum && about(sum.scalar, 1) ? only(sum.x, "erf", context) : undefined;
  const argument = scaled(erf?.inputs[0], context);
  return argument !== undefined && argument.x === x && about(argument.scalar, Math.SQRT1_2);
}

/** 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as exporters of GPT-2 write it. */
export const fuseGeluTanh: Rule = (node, context) => {
  if (node.op.name !== "mul") return undefined;
  const candidates: [ValueId, ValueId][] = eitherOrder(node).flatMap(([a, b]) => {
    const half = scaled(a, context);
    return half && about(half.scalar, 0.5) ? [[half.x, b] as [ValueId, ValueId]] : [];
  });
  const outer = withScalar(node, context);
  const product = outer && about(outer.scalar, 0.5) ? only(outer.x, "mul", context) : undefined;
  if (product) candidates.push(...eitherOrder(product));
  for (const [x, gate] of candidates) {
    const sum = withScalar(only(gate, "add", context), context);
    const tanh = sum && about(sum.scalar, 1) ? only(sum.x, "tanh", context) : undefined;
    const argument = scaled(tanh?.inputs[0], context);
    const cubic =
      argument && about(argument.scalar, Math.sqrt(2 / Math.PI)) ? only(argument.x, "add", context) : undefined;
    for (const [first, rest] of cubic ? eitherOrder(cubic) : []) {
      const term = scaled(rest, context);
      const power = only(term?.x, "pow", context);
      if (
        first === x &&
        term &&
        about(term.scalar, 0.044715) &&
        power?.inputs[0] === x &&
        about(scalarOf(power.inputs[1], context), 3)
      )
        return become(node, gelu.op, x, { approximate: "tanh" });
    }
  }
  return undefined;
};
