/** Small questions that patterns ask about a graph. */
import { toNumbers } from "../../tensor/convert.ts";
import { isFloat } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { Node, ValueId } from "../ir.ts";
import type { RewriteContext } from "./rewrite.ts";

/** The node that produces `id` if it is an `op` that nobody else reads. */
export function only(id: ValueId | undefined, op: string, context: RewriteContext): Node | undefined {
  const node = id === undefined ? undefined : context.producer(id);
  return node?.op.name === op && context.uses(id!) === 1 ? node : undefined;
}

/** The value of a float constant of one element. */
export function scalarOf(id: ValueId | undefined, context: RewriteContext): number | undefined {
  const t = id === undefined ? undefined : context.constant(id);
  return t && isFloat(t.dtype) && sizeOf(t.shape) === 1 ? toNumbers(t)[0] : undefined;
}

/** The nearest number of so many significant bits. */
const toBits = (x: number, bits: number): number => {
  const split = x * (2 ** (53 - bits) + 1);
  return split - (split - x);
};

/**
 * Whether a model's constant is `b` as exporters write it: of six digits at least (1.41421 in exports of BERT), or rounded to
 * the 11 bits of f16 or the 8 of bf16, perhaps as a divisor. Any other number is the model's own.
 */
export const about = (a = Number.NaN, b: number): boolean =>
  [53, 11, 8].some((bits) =>
    [a / toBits(b, bits), a * toBits(1 / b, bits)].some((ratio) => Math.abs(ratio - 1) <= (bits > 11 ? 1e-5 : 1e-7)),
  );

/** For a commutative node: the input beside a scalar constant, and the constant. */
export function withScalar(
  node: Node | undefined,
  context: RewriteContext,
): { x: ValueId; scalar: number } | undefined {
  if (!node) return undefined;
  for (const [x, c] of [node.inputs, [...node.inputs].reverse()]) {
    const scalar = scalarOf(c, context);
    if (scalar !== undefined && x !== undefined && scalarOf(x, context) === undefined) return { x, scalar };
  }
  return undefined;
}

/** `x` scaled by a constant: mul(x, c), mul(c, x) or div(x, c). The scalar is the factor. */
export function scaled(id: ValueId | undefined, context: RewriteContext): { x: ValueId; scalar: number } | undefined {
  const product = withScalar(only(id, "mul", context), context);
  if (product) return product;
  const quotient = only(id, "div", context);
  const divisor = scalarOf(quotient?.inputs[1], context);
  return quotient && divisor !== undefined ? { x: quotient.inputs[0]!, scalar: 1 / divisor } : undefined;
}

/** Both orders of a commutative node's two inputs. */
export const eitherOrder = (node: Node): [ValueId, ValueId][] => {
  const [a, b] = node.inputs as [ValueId, ValueId];
  return [
    [a, b],
    [b, a],
  ];
};

export const samePermutation = (node: Node | undefined, perm: readonly number[]): boolean => {
  const own = node?.attrs["perm"] as readonly number[] | undefined;
  return own !== undefined && own.length === perm.length && own.every((p, i) => p === perm[i]);
};
