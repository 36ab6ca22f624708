/** ONNX losses and optimizer steps -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { add, div, mul, pow, sub } from "../../../ops/binary.ts";
import { castLike } from "../../../ops/cast.ts";
import { greater } from "../../../ops/compare.ts";
import { type NllLossAttrs, nllLoss } from "../../../ops/nll-loss.ts";
import { logSoftmax } from "../../../ops/softmax.ts";
import { sqrt } from "../../../ops/unary.ts";
import { where } from "../../../ops/where.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";
import { choice } from "./choice.ts";

function lossAttributes(n: OnnxNode): NllLossAttrs {
  const reduction = choice(n, "reduction", ["none", "sum", "mean"]) ?? "mean";
  return { reduction, ignoreIndex: n.int("ignore_index") };
}

/** What an optimizer does to one parameter: (value, gradient, ...state) -> (new value, ...new state). */
type Step = (x: SymbolicValue, gradient: SymbolicValue, ...state: SymbolicValue[]) => SymbolicValue[];

/** Inputs are rate, count, all values, all gradients, all of each state; outputs all values, all of each state. */
function optimizer(n: OnnxNode, states: number, step: Step): SymbolicValue[] {
  const all = n.rest(2);
  const count = all.length / (2 + states);
  if (!Number.isInteger(count)) n.unsupported(`${all.length} tensors in groups of ${2 + states}`);
  const results = Array.from({ length: count }, (_, i) => {
    const group = Array.from({ length: 2 + states }, (_, k) => all[k * count + i]);
    return step(group[0], group[1], ...group.slice(2));
  });
  return Array.from({ length: 1 + states }, (_, k) => results.map((r) => r[k])).flat();
}

const number = (n: OnnxNode, value: number): SymbolicValue =>
  n.builder.constant({ dtype: "f32", shape: [], data: Float32Array.of(value) });

/** Arithmetic with f32 scalars cast to the parameter's dtype. */
const times = (a: SymbolicValue, factor: SymbolicValue): SymbolicValue => mul(a, castLike(factor, a));

/** The count of updates as f32, for rates that depend on it. */
const countOf = (n: OnnxNode): SymbolicValue => castLike(n.input(1), number(n, 0));

/** gradient + norm_coefficient * x: the gradient with L2 regularisation. */
const regularized = (n: OnnxNode, x: SymbolicValue, gradient: SymbolicValue): SymbolicValue =>
  add(gradient, times(x, number(n, n.float("norm_coefficient", 0))));

function momentum(n: OnnxNode): SymbolicValue[] {
  const rate = n.input(0);
  const alpha = number(n, n.float("alpha", 0));
  // In the first update beta counts as 1.
  const beta = where(greater(countOf(n), number(n, 0)), number(n, n.float("beta", 0)), number(n, 1));
  const nesterov = (choice(n, "mode", ["standard", "nesterov"]) ?? n.missing("mode")) === "nesterov";
  return optimizer(n, 1, (x, gradient, v) => {
    const g = regularized(n, x, gradient);
    const next = add(times(v, alpha), times(g, beta));
    const move = nesterov ? add(g, times(next, alpha)) : next;
    return [sub(x, times(move, rate)), next];
  });
}

function adagrad(n: OnnxNode): SymbolicValue[] {
  const decay = add(number(n, 1), mul(countOf(n), number(n, n.float("decay_factor", 0))));
  const rate = div(n.input(0), castLike(decay, n.input(0)));
  return optimizer(n, 1, (x, gradient, h) => {
    const g = regularized(n, x, gradient);
    const next = add(h, mul(g, g));
    const root = sqrt(next);
    return [sub(x, times(div(g, add(root, castLike(number(n, n.float("epsilon", 0)), root))), rate)), next];
  });
}

function adam(n: OnnxNode): SymbolicValue[] {
  const [a, b] = [n.float("alpha", 0.9), n.float("beta", 0.999)];
  const count = countOf(n);
  const one = number(n, 1);
  const unbias = (base: number): SymbolicValue => sub(one, pow(number(n, base), count));
  const corrected = times(n.input(0), div(sqrt(unbias(b)), unbias(a)));
  const rate = where(greater(count, number(n, 0)), corrected, n.input(0));
  const shrink = number(n, 1 - n.float("norm_coefficient_post", 0));
  return optimizer(n, 2, (x, gradient, v, h) => {
    const g = regularized(n, x, gradient);
    const mean = add(times(v, number(n, a)), times(g, number(n, 1 - a)));
    const square = add(times(h, number(n, b)), times(mul(g, g), number(n, 1 - b)));
    const root = sqrt(square);
    const move = div(mean, add(root, castLike(number(n, n.float("epsilon", 0)), root)));
    return [times(sub(x, times(move, rate)), shrink), mean, square];
  });
}

export const lossLowerings: LoweringTable = {
  NegativeLogLikelihoodLoss: (n) => nllLoss(n.input(0), n.input(1), n.optional(2), lossAttributes(n)),
  SoftmaxCrossEntropyLoss: (n) => {
    const logits = logSoftmax(n.input(0), { axis: 1 });
    return [nllLoss(logits, n.input(1), n.optional(2), lossAttributes(n)), logits];
  },
  "ai.onnx.preview.training::Momentum": momentum,
  "ai.onnx.preview.training::Adagrad": adagrad,
  "ai.onnx.preview.training::Adam": adam,
};
