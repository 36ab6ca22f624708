/** Recipes of ONNX products, normalisations, attention, recurrent cells, losses. */
import {
  always,
  filled,
  type Given,
  node,
  of,
  onnxCode,
  type Recipe,
  type Recipes,
  spread,
  values,
  x,
} from "../recipe.ts";

const recurrent =
  (gates: number, states: number, peepholes: boolean, extra: Recipe["attributes"]): Recipes =>
  (v) => {
    const [seq, batch, size, hidden] = [3, 2, 2, 2];
    const of1 = (directions: number): Given[] => [
      of(seq, batch, size),
      of(directions, gates * hidden, size),
      of(directions, gates * hidden, hidden),
    ];
    const initial = spread(of(1, batch, hidden), states);
    const bias = of(1, 2 * gates * hidden);
    const outputs = 1 + states;
    const names = gates === 1 ? ["Relu"] : gates === 3 ? ["HardSigmoid", "Elu"] : ["HardSigmoid", "Elu", "Affine"];
    const last = peepholes ? [of(1, 3 * hidden)] : [];
    return [
      node(of1(1), { hidden_size: hidden }, outputs),
      node(of1(1), {}, outputs),
      node(of1(1), { hidden_size: hidden, output_sequence: 1 }, outputs),
      node([...of1(1), bias, values(3, 2), ...initial, ...last], { hidden_size: hidden, ...extra }, outputs),
      node(of1(2), { hidden_size: hidden, direction: "bidirectional" }, outputs),
      node(of1(1), { hidden_size: hidden, direction: "reverse", clip: 0.5 }, outputs),
      node(
        of1(1),
        {
          hidden_size: hidden,
          activations: names,
          activation_alpha: names.map(() => 0.5),
          activation_beta: names.map(() => 0.25),
        },
        outputs,
      ),
      ...(v.since >= 14
        ? [node([of(batch, seq, size), ...of1(1).slice(1)], { hidden_size: hidden, layout: 1 }, 1)]
        : []),
    ];
  };

const attention: Recipes = ({ since, dtypes }) => {
  const q = of(1, 2, 3, 4);
  const flat = of(1, 3, 8);
  const mask = dtypes["U"] === "bool" ? filled([3, 3], [1, 0, 0, 1, 1, 0, 1, 1, 1]) : of(3, 3);
  const past = of(1, 2, 2, 4);
  return [
    node([q, q, q]),
    node([q, q, q], { is_causal: 1, scale: 0.25, softcap: 2 }),
    node([flat, flat, flat], { q_num_heads: 2, kv_num_heads: 2 }),
    node([of(1, 3, 16), flat, flat], { q_num_heads: 4, kv_num_heads: 2 }),
    node([q, q, q, mask]),
    node([q, q, q, undefined, past, past], { is_causal: 1 }, 3),
    ...[0, 1, 2, 3].map((mode) => node([q, q, q, mask], { qk_matmul_output_mode: mode }, 4)),
    node([q, q, q], { softmax_precision: 1 }),
    node([q, q, q, undefined, undefined, undefined, values(2)]),
    ...(since >= 25 ? [node([q, q, q], { left_window_size: 1, right_window_size: 0 })] : []),
  ];
};

export const networkRecipes: Readonly<Record<string, Recipes>> = {
  Attention: attention,
  BatchNormalization: ({ since }) => [
    node([of(2, 3, 2), ...spread(of(3), 4)], { epsilon: 0.01 }),
    since >= 14
      ? node([of(2, 3, 2), ...spread(of(3), 4)], { training_mode: 1, momentum: 0.5 }, 3)
      : node([of(2, 3, 2), ...spread(of(3), 4)], { momentum: 0.5 }, 3),
    node([of(2, 3, 2), ...spread(of(3), 4)], { is_test: 1 }),
    ...(since < 9 ? [node([of(2, 3, 2), ...spread(of(3, 2), 4)], { spatial: 0 })] : []),
  ],
  Einsum: always(
    node([x, of(3, 2)], { equation: "ij,jk->ik" }),
    node([of(2, 2)], { equation: "ii" }),
    node([of(2, 2, 3), of(2, 3, 2)], { equation: "...ij,...jk" }),
    node([x, x, x], { equation: "ij,ij,ij->" }),
  ),
  GRU: recurrent(3, 1, false, { linear_before_reset: 1 }),
  Gemm: ({ since }) => [
    node([x, of(3, 2), of(2)]),
    node([of(3, 2), of(4, 3), of(2, 4)], { transA: 1, transB: 1, alpha: 2, beta: 3 }),
    node([x, of(3, 2), of(2)], { broadcast: 1 }),
    ...(since >= 11 ? [node([x, of(3, 2)])] : []),
  ],
  GroupNormalization: ({ since }) => [
    node([of(2, 4, 2), ...spread(of(since < 21 ? 2 : 4), 2)], { num_groups: 2, epsilon: 0.01 }),
    ...(since >= 21 ? [node([of(2, 4, 2), of(4), of(4)], { num_groups: 2, stash_type: 1 })] : []),
  ],
  Hardmax: always(node([x]), node([x], { axis: 0 })),
  InstanceNormalization: always(node([of(2, 3, 4), of(3), of(3)], { epsilon: 0.01 })),
  LRN: always(node([of(1, 4, 2, 2)], { size: 3 }), node([of(1, 4, 2, 2)], { size: 2, alpha: 0.5, beta: 0.5, bias: 2 })),
  LSTM: recurrent(4, 2, true, { input_forget: 1 }),
  LayerNormalization: ({ dtypes }) => [
    node([x, of(3)]),
    node([x, of(3), of(3)], { epsilon: 0.01, axis: 1 }),
    node([x, x], { axis: 0, stash_type: onnxCode[dtypes["U"]] }, 3),
  ],
  LinearAttention: always(
    node([of(1, 3, 8), of(1, 3, 8), of(1, 3, 8)], { q_num_heads: 2, kv_num_heads: 2, update_rule: "linear" }, 2),
    node(
      [
        of(1, 3, 8),
        of(1, 3, 8),
        of(1, 3, 8),
        of(1, 2, 4, 4),
        filled([1, 3, 2], [-1, -0.5, 0, -1, -0.5, 0]),
        of(1, 3, 2),
      ],
      { q_num_heads: 2, kv_num_heads: 2, scale: 0.5, chunk_size: 2 },
      2,
    ),
    node([of(1, 3, 8), of(1, 3, 8), of(1, 3, 8), undefined, filled([1, 3, 2], [-1, -0.5, 0, -1, -0.5, 0])], {
      q_num_heads: 2,
      kv_num_heads: 2,
      update_rule: "gated",
    }),
    node([of(1, 3, 8), of(1, 3, 8), of(1, 3, 8), undefined, undefined, of(1, 3, 2)], {
      q_num_heads: 2,
      kv_num_heads: 2,
      update_rule: "delta",
    }),
  ),
  LogSoftmax: always(node([x]), node([x], { axis: 0 })),
  LpNormalization: always(node([x]), node([x], { axis: 0, p: 1 })),
  MatMul: always(
    node([x, of(3, 4)]),
    node([of(3), of(2, 3, 4)]),
    node([of(2, 1, 2, 3), of(3, 3, 2)]),
    node([of(3), of(3)]),
  ),
  MeanVarianceNormalization: always(node([of(2, 2, 2, 2)]), node([x], { axes: [1] })),
  NegativeLogLikelihoodLoss: always(
    node([x, values(0, 2)]),
    node([x, values(0, 2), of(3)], { reduction: "sum" }),
    node([of(2, 3, 2), filled([2, 2], [0, 1, 2, 1])], { reduction: "none", ignore_index: 1 }),
  ),
  RMSNormalization: always(node([x, of(3)]), node([x, x], { axis: 0, epsilon: 0.01, stash_type: 1 })),
  RNN: recurrent(1, 1, false, {}),
  RotaryEmbedding: always(
    node([of(1, 2, 3, 4), of(5, 2), of(5, 2), filled([1, 3], [0, 2, 4])]),
    node([of(1, 2, 3, 4), of(1, 3, 2), of(1, 3, 2)], { interleaved: 1 }),
    node([of(1, 3, 8), of(1, 3, 1), of(1, 3, 1)], { num_heads: 2, rotary_embedding_dim: 2 }),
  ),
  Softmax: always(node([x]), node([x], { axis: 0 })),
  SoftmaxCrossEntropyLoss: always(
    node([x, values(0, 2)], {}, 2),
    node([x, values(0, 2), of(3)], { reduction: "sum" }),
    node([of(2, 3, 2), filled([2, 2], [0, 1, 2, 1])], { reduction: "none", ignore_index: 1 }, 2),
  ),
};
