/** ONNX recurrent cells -> ours. */
import { gru } from "../../../ops/gru.ts";
import { lstm } from "../../../ops/lstm.ts";
import type { CellActivation, RecurrentAttrs } from "../../../ops/recurrent.ts";
import { rnn } from "../../../ops/rnn.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";
import { choice } from "./choice.ts";

type Parameter = (fallback: number) => number;

/** By lower-case name; `alpha` and `beta` take the next listed value, or the default. */
const activations: Record<string, (alpha: Parameter, beta: Parameter) => CellActivation> = {
  relu: () => ({ kind: "relu" }),
  tanh: () => ({ kind: "tanh" }),
  sigmoid: () => ({ kind: "sigmoid" }),
  softsign: () => ({ kind: "softsign" }),
  softplus: () => ({ kind: "softplus" }),
  affine: (alpha, beta) => ({ kind: "affine", alpha: alpha(1), beta: beta(0) }),
  leakyrelu: (alpha) => ({ kind: "leakyRelu", alpha: alpha(0.01) }),
  thresholdedrelu: (alpha) => ({ kind: "thresholdedRelu", alpha: alpha(1) }),
  scaledtanh: (alpha, beta) => ({ kind: "scaledTanh", alpha: alpha(1), beta: beta(1) }),
  hardsigmoid: (alpha, beta) => ({ kind: "hardSigmoid", alpha: alpha(0.2), beta: beta(0.5) }),
  elu: (alpha) => ({ kind: "elu", alpha: alpha(1) }),
};

/** The attributes that all cells have. */
export function recurrentAttributes(n: OnnxNode): RecurrentAttrs {
  const direction = choice(n, "direction", ["forward", "reverse", "bidirectional"]) ?? "forward";
  // Values are consumed in the order of the functions that take them.
  const alphas = [...(n.floats("activation_alpha") ?? [])];
  const betas = [...(n.floats("activation_beta") ?? [])];
  const list = n.strings("activations")?.map((name) => {
    const lower = name.toLowerCase();
    const make = Object.hasOwn(activations, lower) ? activations[lower] : n.unsupported(`activation "${name}"`);
    return make(
      (fallback) => alphas.shift() ?? fallback,
      (fallback) => betas.shift() ?? fallback,
    );
  });
  return { direction, clip: n.float("clip"), activations: list, batchFirst: n.int("layout", 0) === 1 };
}

export const recurrentLowerings: LoweringTable = {
  LSTM: (n) =>
    lstm(
      n.input(0),
      n.input(1),
      n.input(2),
      n.optional(3),
      n.optional(4),
      n.optional(5),
      n.optional(6),
      n.optional(7),
      { ...recurrentAttributes(n), inputForget: n.flag("input_forget") },
    ),
  GRU: (n) =>
    gru(n.input(0), n.input(1), n.input(2), n.optional(3), n.optional(4), n.optional(5), {
      ...recurrentAttributes(n),
      linearBeforeReset: n.flag("linear_before_reset"),
    }),
  RNN: (n) =>
    rnn(n.input(0), n.input(1), n.input(2), n.optional(3), n.optional(4), n.optional(5), recurrentAttributes(n)),
};
