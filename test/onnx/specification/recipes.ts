/** Recipes of the operators of ai.onnx. Operators that aren't listed take two tensors of one shape, or as many as they have. */
import { dtypes as rows } from "../../../src/tensor/dtype.ts";
import type { GraphSpec, NodeSpec } from "../encode.ts";
import { always, filled, type Given, node, of, type Recipe, type Recipes, scalar, values } from "./recipe.ts";

const x = of(2, 3);
const image = of(1, 1, 4, 4);
const spread = (g: Given, n: number): Given[] => Array.from({ length: n }, () => g);
const broadcast = always(node([x, x]), node([of(2, 3), of(3)]), node([of(1), of(2, 1, 3)]), node([of(), of()]));
const variadic = always(node([x]), node([x, x, x]), node([x, of(3)]));

/** Axes as the attribute that they once were, or as an input. */
const axesSince =
  (since: number, shape: Given, axes: number[], attributes: Recipe["attributes"] = {}, without = true): Recipes =>
  (v) => [
    ...(without ? [node([shape], attributes)] : []),
    v.since < since ? node([shape], { ...attributes, axes }) : node([shape, values(...axes)], attributes),
  ];

const reduce =
  (since: number): Recipes =>
  (v) => [
    ...axesSince(since, x, [1])(v),
    ...axesSince(since, x, [0, -1], { keepdims: 0 })(v),
    node([x], { noop_with_empty_axes: 1 }),
  ];

const windowed: readonly NonNullable<Recipe["attributes"]>[] = [
  { kernel_shape: [2, 2] },
  { kernel_shape: [3, 2], strides: [2, 1], pads: [1, 0, 1, 1] },
  { kernel_shape: [2, 2], auto_pad: "SAME_UPPER", strides: [2, 2] },
  { kernel_shape: [3, 3], auto_pad: "SAME_LOWER" },
  { kernel_shape: [3, 3], auto_pad: "VALID" },
  { kernel_shape: [2, 2], dilations: [2, 2] },
  { kernel_shape: [2, 2], strides: [3, 3], ceil_mode: 1 },
];
const pooling = (...more: Recipe["attributes"][]): Recipes =>
  always(
    ...[...windowed, ...more].map((a) => node([image], a)),
    node([of(1, 2, 5)], { kernel_shape: [2] }),
    node([of(1, 1, 3, 3, 3)], { kernel_shape: [2, 2, 2] }),
  );

const convolutions = (inputs: (image: Given, kernel: Given, channels: number) => (Given | undefined)[]) => [
  ...windowed
    .filter((a) => !a["ceil_mode"])
    .map((a) => node(inputs(image, of(2, 1, ...(a["kernel_shape"] as number[])), 2), a)),
  node(inputs(of(1, 2, 4, 4), of(2, 1, 3, 3), 2), { group: 2 }),
  node(inputs(of(1, 2, 5), of(3, 2, 2), 3)),
  node(inputs(of(1, 1, 3, 3, 3), of(2, 1, 2, 2, 2), 2)),
];

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

const n = (type: string, inputs: string[], outputs: string[], attributes: NodeSpec["attributes"] = {}): NodeSpec => ({
  type,
  inputs,
  outputs,
  attributes,
});
const returning: GraphSpec = { nodes: [n("Identity", ["outer"], ["result"])], outputs: [{ name: "result" }] };
const body: GraphSpec = {
  nodes: [n("Identity", ["cond"], ["again"]), n("Identity", ["state"], ["next"]), n("Identity", ["state"], ["row"])],
  inputs: [{ name: "i", dtype: "i64", shape: [] }, { name: "cond", dtype: "bool", shape: [] }, { name: "state" }],
  outputs: [{ name: "again" }, { name: "next" }, { name: "row" }],
};
const scanning: GraphSpec = {
  nodes: [n("Identity", ["row"], ["next"]), n("Identity", ["state"], ["out"])],
  inputs: [{ name: "state" }, { name: "row" }],
  outputs: [{ name: "next" }, { name: "out" }],
};
const mapping: GraphSpec = {
  nodes: [n("Identity", ["element"], ["result"])],
  inputs: [{ name: "element" }, { name: "more" }],
  outputs: [{ name: "result" }],
};

const scatter = always(
  node([of(3, 3), filled([1, 3], [0, 2, -1]), of(1, 3)]),
  node([of(3, 3), filled([3, 1], [0, 2, 1]), of(3, 1)], { axis: 1 }),
);
const reductions = ["none", "add", "mul", "min", "max"] as const;

const resize: Recipes = ({ since }) => {
  const scales = values(1, 1, 2, 1.5);
  const modes = ["nearest", "linear"];
  if (since === 10) return modes.map((mode) => node([image, scales], { mode }));
  const none = undefined;
  const sizes = values(1, 1, 3, 7);
  const coordinates = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"];
  if (since >= 19) coordinates.push("half_pixel_symmetric");
  return [
    ...[...modes, "cubic"].map((mode) => node([image, none, scales], { mode })),
    ...coordinates.map((c) => node([image, none, none, sizes], { mode: "linear", coordinate_transformation_mode: c })),
    ...["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"].map((nearest_mode) =>
      node([image, none, scales], { nearest_mode }),
    ),
    node([image, none, scales], { mode: "cubic", cubic_coeff_a: -0.5, exclude_outside: 1 }),
    node([image, values(0, 0, 0.25, -0.5, 1, 1, 0.75, 1.5), none, sizes], {
      mode: "linear",
      coordinate_transformation_mode: "tf_crop_and_resize",
      extrapolation_value: 1,
    }),
    ...(since >= 18
      ? [
          ...["not_larger", "not_smaller", "stretch"].map((policy) =>
            node([image, none, none, values(7, 3)], { axes: [2, 3], keep_aspect_ratio_policy: policy }),
          ),
          node([image, none, values(0.5, 0.5)], { mode: "linear", axes: [2, 3], antialias: 1 }),
        ]
      : []),
  ];
};

const pad: Recipes = ({ since }) => {
  const modes = ["constant", "reflect", "edge", ...(since >= 19 ? ["wrap"] : [])];
  if (since < 11)
    return [
      ...modes.map((mode) => node([x], { pads: [0, 1, 1, 2], mode })),
      node([x], { pads: [1, 0, 0, 1], value: 2 }),
    ];
  return [
    ...modes.map((mode) => node([x, values(0, 1, 1, 2)], { mode })),
    node([x, values(0, -1, 1, 2), scalar(1)]),
    node([x, values(1, 1), scalar(1), values(-1)]),
  ];
};

const quantize: Recipes = ({ since, dtypes }) => {
  const to = dtypes[since >= 23 ? "T3" : "T2"];
  const x2 = of(2, 4);
  const code = { output_dtype: onnxCode[to] };
  const signed = to !== "u8" && to !== "u16" && to !== "u4" && to !== "u2";
  const zero = rows[to as "i8"]?.kind === "float" || signed ? 0 : 1;
  const axis = { axis: 0 };
  return [
    node([x2, scalar(1), scalar(zero)]),
    ...(since >= 13 ? [node([x2, values(1, 2), values(zero, zero)], axis)] : []),
    ...(since >= 19 ? [node([x2, scalar(1), scalar(zero)], { saturate: 0 })] : []),
    ...(since >= 21 ? [node([x2, scalar(1)], code), node([x2, of(2, 2)], { ...code, axis: 1, block_size: 2 })] : []),
    ...(since >= 23 ? [node([x2, scalar(1), scalar(zero)], { precision: 1 })] : []),
    ...(to === "u8" ? [node([x2, scalar(1)])] : []),
  ];
};

const dequantize: Recipes = ({ since, dtypes }) => {
  const x2 = of(2, 4);
  const to = dtypes["T3"];
  if (to && dtypes["T2"] !== to) return [node([x2, scalar(1)], { output_dtype: onnxCode[to] })];
  return [
    node([x2, scalar(1)]),
    node([x2, scalar(2), scalar(0)]),
    ...(since >= 13 ? [node([x2, values(1, 2), values(0, 0)], { axis: 0 })] : []),
    ...(since >= 21 ? [node([x2, of(2, 2)], { axis: 1, block_size: 2 })] : []),
    ...(to ? [node([x2, scalar(1)], { output_dtype: onnxCode[to] })] : []),
  ];
};

/** TensorProto.DataType. */
export const onnxCode: Readonly<Record<string, number>> = Object.fromEntries(
  (
    "f32:1 u8:2 i8:3 u16:4 i16:5 i32:6 i64:7 string:8 bool:9 f16:10 f64:11 u32:12 u64:13 bf16:16 f8e4m3fn:17 f8e4m3fnuz:18 " +
    "f8e5m2:19 f8e5m2fnuz:20 u4:21 i4:22 f4e2m1:23 f8e8m0:24 u2:25 i2:26 f6e2m3:27 f6e3m2:28"
  )
    .split(" ")
    .map((pair) => [pair.split(":")[0], Number(pair.split(":")[1])]),
);
const to = (v: { dtypes: Readonly<Record<string, string>> }, parameter: string): number =>
  onnxCode[v.dtypes[parameter]];
const random = (r: Recipe): Recipe => ({ ...r, incomparable: true });

export const recipes: Readonly<Record<string, Recipes>> = {
  AffineGrid: always(
    node([of(1, 2, 3), values(1, 1, 2, 3)]),
    node([of(1, 2, 3), values(1, 1, 2, 3)], { align_corners: 1 }),
    node([of(1, 3, 4), values(1, 1, 2, 2, 2)]),
  ),
  ArgMax: always(node([x]), node([x], { axis: -1, keepdims: 0 }), node([x], { select_last_index: 1 })),
  ArgMin: always(node([x]), node([x], { axis: -1, keepdims: 0 }), node([x], { select_last_index: 1 })),
  Attention: attention,
  AveragePool: pooling({ kernel_shape: [2, 2], pads: [1, 1, 1, 1], count_include_pad: 1 }),
  BatchNormalization: ({ since }) => [
    node([of(2, 3, 2), ...spread(of(3), 4)], { epsilon: 0.01 }),
    since >= 14
      ? node([of(2, 3, 2), ...spread(of(3), 4)], { training_mode: 1, momentum: 0.5 }, 3)
      : node([of(2, 3, 2), ...spread(of(3), 4)], { momentum: 0.5 }, 3),
    ...(since < 9 ? [node([of(2, 3, 2), ...spread(of(3, 2), 4)], { spatial: 0 })] : []),
  ],
  Bernoulli: (v) => [
    random(node([filled([3], [0, 1, 0.5])], { dtype: to(v, "T2"), seed: 1 })),
    ...(v.dtypes["T1"] === v.dtypes["T2"] ? [random(node([filled([3], [0, 1, 1])]))] : []),
  ],
  BitCast: (v) =>
    rows[v.dtypes["T1"]].bits === rows[v.dtypes["T2"]].bits ? [random(node([x], { to: to(v, "T2") }))] : [],
  BitShift: always(node([x, x], { direction: "LEFT" }), node([x, of(3)], { direction: "RIGHT" })),
  BlackmanWindow: (v) => [
    node([scalar(5)], { output_datatype: to(v, "T2") }),
    node([scalar(5)], { output_datatype: to(v, "T2"), periodic: 0 }),
  ],
  HammingWindow: (v) => [
    node([scalar(5)], { output_datatype: to(v, "T2") }),
    node([scalar(5)], { output_datatype: to(v, "T2"), periodic: 0 }),
  ],
  HannWindow: (v) => [
    node([scalar(5)], { output_datatype: to(v, "T2") }),
    node([scalar(5)], { output_datatype: to(v, "T2"), periodic: 0 }),
  ],
  Cast: (v) => [
    node([v.dtypes["T1"] === "string" ? values("1", "2", "0") : x], { to: to(v, "T2") }),
    ...(v.dtypes["T1"] === "string"
      ? []
      : [node([x], { to: to(v, "T2"), saturate: 0 }), node([x], { to: to(v, "T2"), round_mode: "nearest" })]),
  ],
  CastLike: (v) => [
    node([v.dtypes["T1"] === "string" ? values("1", "2", "0") : x, of(1)]),
    ...(v.dtypes["T1"] === "string"
      ? []
      : [node([x, of(1)], { saturate: 0 }), node([x, of(1)], { round_mode: "down" })]),
  ],
  CausalConvWithState: always(
    node([of(1, 2, 4), of(2, 1, 3)], {}, 2),
    node([of(1, 2, 4), of(2, 1, 3), of(2), of(1, 2, 2)], { activation: "silu" }, 2),
    node([of(1, 2, 4), of(2, 1, 3)], { activation: "swish" }, 1),
  ),
  Celu: always(node([x]), node([x], { alpha: 2 })),
  CenterCropPad: always(node([x, values(3, 2)]), node([x, values(5)], { axes: [1] })),
  Clip: ({ since }) =>
    since < 11
      ? [node([x]), node([x], { min: 1, max: 2 })]
      : [node([x]), node([x, scalar(1)]), node([x, scalar(1), scalar(2)]), node([x, undefined, scalar(2)])],
  Col2Im: always(
    node([of(1, 4, 4), values(3, 3), values(2, 2)]),
    node([of(1, 4, 9), values(5, 5), values(2, 2)], { strides: [2, 2], pads: [0, 0, 1, 1] }),
    node([of(1, 4, 1), values(3, 3), values(2, 2)], { dilations: [2, 2] }),
  ),
  Compress: always(node([x, values(1, 0)], { axis: 0 }), node([x, values(0, 1, 0, 1)])),
  Concat: always(node([x, x], { axis: 0 }), node([x, of(2, 1)], { axis: -1 })),
  ConcatFromSequence: always(
    node([{ ...x, sequence: 2 }], { axis: 0 }),
    node([{ ...x, sequence: 2 }], { axis: 0, new_axis: 1 }),
  ),
  Constant: ({ dtypes }) => {
    const dtype = dtypes["T"];
    const words = dtype === "string" ? ["a", "b"] : [1, 2];
    return [
      node([], { value: { tensor: dtype, shape: [2], values: words } }),
      ...(dtype === "f32" ? [node([], { value_float: 1 }), node([], { value_floats: [1, 2] })] : []),
      ...(dtype === "i64" ? [node([], { value_int: 1 }), node([], { value_ints: [1, 2] })] : []),
      ...(dtype === "string" ? [node([], { value_string: "a" }), node([], { value_strings: ["a", "b"] })] : []),
      ...(dtype === "f32" ? [node([], { sparse_value: { tensor: dtype, shape: [3], values: [0, 2, 0] } })] : []),
    ];
  },
  ConstantOfShape: ({ dtypes }) => [
    node([values(2, 3)], { value: { tensor: dtypes["T2"], shape: [1], values: [1] } }),
    ...(dtypes["T2"] === "f32" ? [node([values(2)])] : []),
  ],
  Conv: always(...convolutions((i, k) => [i, k]), ...convolutions((i, k, c) => [i, k, of(c)])),
  ConvInteger: always(
    ...convolutions((i, k) => [i, k]),
    ...convolutions((i, k) => [i, k, scalar(1), scalar(1)]),
    ...convolutions((i, k, c) => [i, k, undefined, of(c)]),
  ),
  ConvTranspose: always(
    node([image, of(1, 2, 2, 2)]),
    node([image, of(1, 2, 3, 3), of(2)], {
      kernel_shape: [3, 3],
      strides: [2, 2],
      pads: [1, 1, 0, 0],
      output_padding: [1, 1],
    }),
    node([image, of(1, 2, 2, 2)], { dilations: [2, 2] }),
    node([of(1, 2, 3, 3), of(2, 1, 2, 2)], { group: 2 }),
    node([image, of(1, 2, 3, 3)], { strides: [2, 2], output_shape: [9, 8] }),
    node([image, of(1, 2, 3, 3)], { strides: [2, 2], auto_pad: "SAME_UPPER" }),
    node([image, of(1, 2, 3, 3)], { strides: [2, 2], auto_pad: "SAME_LOWER" }),
    node([image, of(1, 2, 3, 3)], { auto_pad: "VALID" }),
    node([of(1, 2, 5), of(2, 3, 2)]),
    node([of(1, 1, 2, 2, 2), of(1, 2, 2, 2, 2)]),
  ),
  CumProd: always(node([x, scalar(0)]), node([x, scalar(-1)], { reverse: 1, exclusive: 1 })),
  CumSum: always(node([x, scalar(0)]), node([x, scalar(-1)], { reverse: 1, exclusive: 1 })),
  DFT: ({ since }) => [
    node([of(1, 4, 1)]),
    node([of(1, 4, 1)], { onesided: 1 }),
    node([of(1, 4, 2)], { inverse: 1 }),
    node([of(1, 4, 2), scalar(3)]),
    since < 20 ? node([of(1, 4, 3, 1)], { axis: 2 }) : node([of(1, 4, 3, 1), undefined, scalar(2)]),
  ],
  DeformConv: always(
    node([of(1, 1, 3, 3), of(1, 1, 2, 2), of(1, 8, 2, 2)], { kernel_shape: [2, 2], pads: [0, 0, 0, 0] }),
    node([of(1, 2, 4, 4), of(2, 1, 2, 2), of(1, 16, 2, 2), of(2), of(1, 8, 2, 2)], {
      group: 2,
      offset_group: 2,
      strides: [2, 2],
    }),
    node([of(1, 1, 4, 4), of(1, 1, 2, 2), of(1, 8, 2, 2)], { dilations: [2, 2] }),
  ),
  DepthToSpace: always(node([of(1, 4, 1, 2)], { blocksize: 2 }), node([of(1, 4, 1, 2)], { blocksize: 2, mode: "CRD" })),
  DequantizeLinear: dequantize,
  Det: always(node([of(2, 2)]), node([of(2, 3, 3)])),
  Dropout: ({ since }) =>
    since < 12
      ? [node([x], {}, 2), node([x], { ratio: 0.5 })]
      : [
          node([x], {}, 2),
          node([x, scalar(0.5)], { seed: 1 }),
          random(node([x, scalar(0.5), scalar(1)], { seed: 1 }, 2)),
        ],
  DynamicQuantizeLinear: always(node([x], {}, 3)),
  Einsum: always(
    node([x, of(3, 2)], { equation: "ij,jk->ik" }),
    node([of(2, 2)], { equation: "ii" }),
    node([of(2, 2, 3), of(2, 3, 2)], { equation: "...ij,...jk" }),
    node([x, x, x], { equation: "ij,ij,ij->" }),
  ),
  Elu: always(node([x]), node([x], { alpha: 2 })),
  Expand: always(node([of(2, 1), values(2, 3)]), node([of(3), values(2, 1, 1)])),
  EyeLike: (v) => [node([x], { dtype: to(v, "T2"), k: 1 }), ...(v.dtypes["T1"] === v.dtypes["T2"] ? [node([x])] : [])],
  Flatten: always(node([of(2, 1, 3)]), node([of(2, 1, 3)], { axis: 0 })),
  GRU: recurrent(3, 1, false, { linear_before_reset: 1 }),
  Gather: always(node([x, values(1, 0)]), node([x, filled([1, 2], [-1, 1])], { axis: 1 }), node([x, scalar(1)])),
  GatherElements: always(node([x, filled([1, 3], [1, 0, -1])]), node([x, filled([2, 1], [2, 0])], { axis: 1 })),
  GatherND: always(node([x, filled([1, 2], [1, -1])]), node([of(2, 2, 2), filled([2, 1], [0, 1])], { batch_dims: 1 })),
  Gelu: always(node([x]), node([x], { approximate: "tanh" })),
  Gemm: ({ since }) => [
    node([x, of(3, 2), of(2)]),
    node([of(3, 2), of(4, 3), of(2, 4)], { transA: 1, transB: 1, alpha: 2, beta: 3 }),
    ...(since >= 11 ? [node([x, of(3, 2)])] : []),
  ],
  GlobalAveragePool: always(node([image])),
  GlobalLpPool: always(node([image]), node([image], { p: 3 })),
  GlobalMaxPool: always(node([image])),
  GridSample: ({ since }) => {
    const modes = since < 20 ? ["bilinear", "nearest", "bicubic"] : ["linear", "nearest", "cubic"];
    const grid = filled([1, 2, 2, 2], [-1, 0.5, 0, 0.25, 1, 2, 0.75, -0.5]);
    return modes.flatMap((mode) =>
      ["zeros", "border", "reflection"].map((padding_mode) =>
        node([image, grid], { mode, padding_mode, align_corners: mode === "nearest" ? 1 : 0 }),
      ),
    );
  },
  GroupNormalization: ({ since }) => [
    node([of(2, 4, 2), ...spread(of(since < 21 ? 2 : 4), 2)], { num_groups: 2, epsilon: 0.01 }),
    ...(since >= 21 ? [node([of(2, 4, 2), of(4), of(4)], { num_groups: 2, stash_type: 1 })] : []),
  ],
  HardSigmoid: always(node([x]), node([x], { alpha: 0.5, beta: 0.25 })),
  Hardmax: always(node([x]), node([x], { axis: 0 })),
  Identity: always(node([x])),
  If: always(node([scalar(1)], { then_branch: returning, else_branch: returning })),
  InstanceNormalization: always(node([of(2, 3, 4), of(3), of(3)], { epsilon: 0.01 })),
  IsInf: always(node([x]), node([x], { detect_negative: 0 }), node([x], { detect_positive: 0 })),
  LRN: always(node([of(1, 4, 2, 2)], { size: 3 }), node([of(1, 4, 2, 2)], { size: 2, alpha: 0.5, beta: 0.5, bias: 2 })),
  LSTM: recurrent(4, 2, true, { input_forget: 1 }),
  LayerNormalization: ({ dtypes }) => [
    node([x, of(3)]),
    node([x, of(3), of(3)], { epsilon: 0.01, axis: 1 }),
    node([x, x], { axis: 0, stash_type: onnxCode[dtypes["U"]] }, 3),
  ],
  LeakyRelu: always(node([x]), node([x], { alpha: 0.5 })),
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
  Loop: always(node([scalar(2), scalar(1), x], { body }, 2), node([scalar(2), undefined, x], { body }, 2)),
  LpNormalization: always(node([x]), node([x], { axis: 0, p: 1 })),
  LpPool: pooling({ kernel_shape: [2, 2], p: 1 }, { kernel_shape: [2, 2], p: 3 }),
  MatMul: always(
    node([x, of(3, 4)]),
    node([of(3), of(2, 3, 4)]),
    node([of(2, 1, 2, 3), of(3, 3, 2)]),
    node([of(3), of(3)]),
  ),
  MatMulInteger: always(
    node([x, of(3, 4)]),
    node([x, of(3, 4), scalar(1), scalar(1)]),
    node([x, of(3, 4), values(1, 2), of(4)]),
  ),
  Max: variadic,
  Mean: variadic,
  Min: variadic,
  Sum: variadic,
  MaxPool: ({ since }) => [
    ...pooling()({ since, dtypes: {} }),
    ...(since >= 8
      ? [node([image], { kernel_shape: [2, 2] }, 2), node([image], { kernel_shape: [2, 2], storage_order: 1 }, 2)]
      : []),
  ],
  MaxRoiPool: always(
    node([image, filled([1, 5], [0, 0, 0, 3, 2])], { pooled_shape: [2, 2] }),
    node([image, filled([1, 5], [0, 0, 0, 3, 3])], { pooled_shape: [1, 2], spatial_scale: 0.5 }),
  ),
  MaxUnpool: always(
    node([of(1, 1, 2, 2), filled([1, 1, 2, 2], [0, 3, 8, 15])], { kernel_shape: [2, 2], strides: [2, 2] }),
    node([of(1, 1, 2, 2), filled([1, 1, 2, 2], [0, 3, 8, 15]), values(1, 1, 5, 5)], {
      kernel_shape: [2, 2],
      strides: [2, 2],
    }),
    node([of(1, 1, 2, 2), filled([1, 1, 2, 2], [0, 1, 2, 3])], {
      kernel_shape: [2, 2],
      strides: [2, 2],
      pads: [1, 1, 1, 1],
    }),
  ),
  MeanVarianceNormalization: always(node([of(2, 2, 2, 2)]), node([x], { axes: [1] })),
  MelWeightMatrix: (v) => [
    node([scalar(4), scalar(16), scalar(64), scalar(0), scalar(32)], { output_datatype: to(v, "T3") }),
  ],
  Mod: ({ dtypes }) => {
    const divisor = filled([3], [1, 2, 3]);
    const float = rows[dtypes["T"]].kind === "float";
    return [...(float ? [] : [node([x, divisor])]), node([x, divisor], { fmod: 1 })];
  },
  Div: always(node([x, filled([3], [1, 2, 3])]), node([of(), scalar(2)])),
  Multinomial: (v) => [
    random(node([x], { dtype: to(v, "T2"), sample_size: 3, seed: 1 })),
    ...(v.dtypes["T2"] === "i32" ? [random(node([x]))] : []),
  ],
  NegativeLogLikelihoodLoss: always(
    node([x, values(0, 2)]),
    node([x, values(0, 2), of(3)], { reduction: "sum" }),
    node([of(2, 3, 2), filled([2, 2], [0, 1, 2, 1])], { reduction: "none", ignore_index: 1 }),
  ),
  NonMaxSuppression: always(
    node([of(1, 3, 4), of(1, 1, 3), scalar(2)]),
    node([of(1, 3, 4), of(1, 1, 3), scalar(2), scalar(0.5), scalar(0.5)], { center_point_box: 1 }),
  ),
  OneHot: ({ dtypes }) => {
    const onOff = dtypes["T3"] === "string" ? values("off", "on") : values(0, 1);
    return [node([values(0, 2), scalar(3), onOff]), node([values(1, 2), values(3), onOff], { axis: 0 })];
  },
  Optional: always(node([x])),
  OptionalGetElement: always(node([x])),
  OptionalHasElement: ({ since }) => [node([x]), ...(since >= 18 ? [node([])] : [])],
  PRelu: always(node([x, of(3)]), node([x, of(1)])),
  Pad: pad,
  Pow: always(node([x, x]), node([x, scalar(2)])),
  QLinearConv: always(
    ...convolutions((i, k) => [i, scalar(1), scalar(1), k, scalar(1), scalar(0), scalar(2), scalar(1)]),
    node([image, scalar(1), scalar(1), of(2, 1, 2, 2), values(1, 2), values(0, 0), scalar(2), scalar(1), of(2)]),
  ),
  QLinearMatMul: always(node([x, scalar(1), scalar(1), of(3, 2), scalar(1), scalar(0), scalar(2), scalar(1)])),
  QuantizeLinear: quantize,
  RMSNormalization: always(node([x, of(3)]), node([x, x], { axis: 0, epsilon: 0.01, stash_type: 1 })),
  RNN: recurrent(1, 1, false, {}),
  RandomNormal: (v) => [random(node([], { shape: [2], dtype: to(v, "T"), mean: 1, scale: 2, seed: 3 }))],
  RandomUniform: (v) => [random(node([], { shape: [2], dtype: to(v, "T"), low: 1, high: 2, seed: 3 }))],
  RandomNormalLike: (v) => [
    random(node([x], { dtype: to(v, "T2"), mean: 1, scale: 2, seed: 3 })),
    ...(v.dtypes["T1"] === v.dtypes["T2"] ? [random(node([x]))] : []),
  ],
  RandomUniformLike: (v) => [
    random(node([x], { dtype: to(v, "T2"), low: 1, high: 2, seed: 3 })),
    ...(v.dtypes["T1"] === v.dtypes["T2"] ? [random(node([x]))] : []),
  ],
  Range: ({ since }) => [
    node([scalar(0), scalar(3), scalar(1)]),
    ...(since >= 27 ? [node([scalar(0), scalar(3), scalar(1)], { stash_type: 1 })] : []),
  ],
  ReduceL1: reduce(18),
  ReduceL2: reduce(18),
  ReduceLogSum: reduce(18),
  ReduceLogSumExp: reduce(18),
  ReduceMax: reduce(18),
  ReduceMean: reduce(18),
  ReduceMin: reduce(18),
  ReduceProd: reduce(18),
  ReduceSum: reduce(13),
  ReduceSumSquare: reduce(18),
  RegexFullMatch: always(node([values("a", "ab")], { pattern: "a." })),
  Reshape: always(node([x, values(3, -1)]), node([of(2, 0), values(0, 3)], { allowzero: 1 })),
  Resize: resize,
  ReverseSequence: always(
    node([of(3, 2), values(2, 3)]),
    node([of(2, 3), values(2, 3)], { batch_axis: 0, time_axis: 1 }),
  ),
  RoiAlign: ({ since }) => {
    const rois = filled([1, 4], [0, 0, 3, 3]);
    const ratio = { output_height: 2, output_width: 2, sampling_ratio: 2, spatial_scale: 0.5 };
    return [
      node([image, rois, values(0)]),
      ...["avg", "max"].map((mode) => node([image, rois, values(0)], { ...ratio, mode })),
      ...(since >= 16 ? [node([image, rois, values(0)], { coordinate_transformation_mode: "output_half_pixel" })] : []),
    ];
  },
  RotaryEmbedding: always(
    node([of(1, 2, 3, 4), of(5, 2), of(5, 2), filled([1, 3], [0, 2, 4])]),
    node([of(1, 2, 3, 4), of(1, 3, 2), of(1, 3, 2)], { interleaved: 1 }),
    node([of(1, 3, 8), of(1, 3, 1), of(1, 3, 1)], { num_heads: 2, rotary_embedding_dim: 2 }),
  ),
  STFT: always(
    node([of(1, 8, 1), scalar(2), undefined, scalar(4)]),
    node([of(1, 8, 1), scalar(2), of(4)]),
    node([of(1, 8, 2), scalar(2), of(4), scalar(4)], { onesided: 0 }),
  ),
  Scan: ({ since }) =>
    since < 9
      ? [
          node([undefined, of(1, 2), of(1, 3, 2)], { body: scanning, num_scan_inputs: 1 }, 2),
          node([values(2), of(1, 2), of(1, 3, 2)], { body: scanning, num_scan_inputs: 1, directions: [1] }, 2),
        ]
      : [
          node([of(2), of(3, 2)], { body: scanning, num_scan_inputs: 1 }, 2),
          node(
            [of(2), of(2, 3)],
            {
              body: scanning,
              num_scan_inputs: 1,
              scan_input_axes: [1],
              scan_output_axes: [1],
              scan_input_directions: [1],
              scan_output_directions: [1],
            },
            2,
          ),
        ],
  Scatter: scatter,
  ScatterElements: ({ since, dtypes }) => [
    ...scatter({ since, dtypes }),
    ...(since < 16 || !reducible(dtypes["T"])
      ? []
      : reductions
          .slice(0, since < 18 ? 3 : 5)
          .map((reduction) => node([of(3), values(1, 1), values(2, 3)], { reduction }))),
  ],
  ScatterND: ({ since, dtypes }) => [
    node([x, filled([1, 2], [1, 2]), of(1)]),
    node([x, filled([1, 1], [-1]), of(1, 3)]),
    ...(since < 16 || !reducible(dtypes["T"])
      ? []
      : reductions
          .slice(0, since < 18 ? 3 : 5)
          .map((reduction) => node([of(3), filled([2, 1], [1, 1]), values(2, 3)], { reduction }))),
  ],
  Selu: always(node([x]), node([x], { alpha: 2, gamma: 3 })),
  SequenceAt: always(node([{ ...x, sequence: 2 }, scalar(-1)])),
  SequenceConstruct: always(node([x, of(2)])),
  SequenceEmpty: ({ dtypes }) => [
    node([], { dtype: onnxCode[dtypes["S"]] }),
    ...(dtypes["S"] === "f32" ? [node([])] : []),
  ],
  SequenceErase: always(node([{ ...x, sequence: 2 }]), node([{ ...x, sequence: 2 }, scalar(0)])),
  SequenceInsert: always(node([{ ...x, sequence: 2 }, x]), node([{ ...x, sequence: 2 }, x, scalar(-1)])),
  SequenceLength: always(node([{ ...x, sequence: 2 }])),
  SequenceMap: always(node([{ ...x, sequence: 2 }, of(1)], { body: mapping })),
  Shape: always(node([x]), node([x], { start: 1 }), node([x], { start: -2, end: -1 })),
  Shrink: always(node([x]), node([x], { bias: 1, lambd: 1 })),
  Slice: ({ since }) =>
    since < 10
      ? [node([x], { starts: [1, 0], ends: [2, -1] }), node([x], { starts: [-2], ends: [3], axes: [1] })]
      : [
          node([x, values(1, 0), values(2, -1)]),
          node([x, values(2), values(-9), values(1), values(-1)]),
          node([x, values(0), values(3), values(-1), values(2)]),
        ],
  Softmax: always(node([x]), node([x], { axis: 0 })),
  SoftmaxCrossEntropyLoss: always(
    node([x, values(0, 2)], {}, 2),
    node([x, values(0, 2), of(3)], { reduction: "sum" }),
    node([of(2, 3, 2), filled([2, 2], [0, 1, 2, 1])], { reduction: "none", ignore_index: 1 }, 2),
  ),
  SpaceToDepth: ({ since }) => [
    node([of(1, 1, 2, 4)], { blocksize: 2 }),
    ...(since >= 28 ? [node([of(1, 2, 2, 4)], { blocksize: 2, mode: "CRD" })] : []),
  ],
  Split: ({ since }) => [
    ...(since < 18 ? [node([of(4, 2)], {}, 2)] : [node([of(5, 2)], { num_outputs: 2 }, 2)]),
    since < 13 ? node([of(4, 2)], { split: [1, 3] }, 2) : node([of(4, 2), values(1, 3)], {}, 2),
    since < 13 ? node([of(2, 4)], { split: [1, 3], axis: 1 }, 2) : node([of(2, 4), values(1, 3)], { axis: 1 }, 2),
  ],
  SplitToSequence: always(
    node([x]),
    node([x], { keepdims: 0 }),
    node([x, values(1, 2)], { axis: 1 }),
    node([x, scalar(2)], { axis: 1 }),
  ),
  Squeeze: axesSince(13, of(1, 2, 1), [0]),
  StringConcat: always(node([values("a", "b"), values("c")])),
  StringNormalizer: always(
    node([values("Monday", "tuesday")], { case_change_action: "UPPER", is_case_sensitive: 1, stopwords: ["tuesday"] }),
    node([values("Monday", "tuesday")], { case_change_action: "LOWER", locale: "en_US" }),
  ),
  StringSplit: always(node([values("a b", "c")], {}, 2), node([values("a,b,c")], { delimiter: ",", maxsplit: 1 }, 2)),
  SwiGLU: always(node([x, x]), node([x, x], { alpha: 2 })),
  Swish: always(node([x]), node([x], { alpha: 2 })),
  TensorScatter: always(
    node([of(1, 1, 4, 2), of(1, 1, 2, 2), values(1)]),
    node([of(1, 1, 4, 2), of(1, 1, 4, 2)], { mode: "circular" }),
    node([of(1, 4, 2), of(1, 2, 2), values(3)], { mode: "circular", axis: 1 }),
  ),
  TfIdfVectorizer: ({ dtypes }) => {
    const shared = {
      mode: "TF",
      min_gram_length: 1,
      max_gram_length: 1,
      max_skip_count: 0,
      ngram_counts: [0],
      ngram_indexes: [0, 1],
    };
    return dtypes["T"] === "string"
      ? [node([values("a", "b", "a")], { ...shared, pool_strings: ["a", "b"] })]
      : [
          node([values(1, 2, 1)], { ...shared, pool_int64s: [1, 2] }),
          node([values(1, 2, 1)], { ...shared, mode: "TFIDF", pool_int64s: [1, 2], weights: [2, 3] }),
          node([values(1, 2, 1)], { ...shared, mode: "IDF", pool_int64s: [1, 2], weights: [2, 3] }),
        ];
  },
  ThresholdedRelu: always(node([x]), node([x], { alpha: 0.5 })),
  Tile: always(node([x, values(2, 1)])),
  TopK: ({ since }) =>
    since < 10
      ? [node([x], { k: 2 }, 2), node([x], { k: 1, axis: 0 }, 2)]
      : [
          node([x, values(2)], {}, 2),
          node([x, values(1)], { axis: 0 }, 2),
          ...(since >= 11
            ? [node([x, values(2)], { largest: 0, sorted: 1 }, 2), node([x, values(3)], { sorted: 0 })]
            : []),
        ],
  Transpose: always(node([x]), node([of(1, 2, 3)], { perm: [2, 0, 1] })),
  Trilu: always(node([of(3, 3)]), node([of(3, 3), scalar(-1)], { upper: 0 }), node([of(2, 3, 3), scalar(1)])),
  Unique: always(node([x], {}, 4), node([of(3, 2)], { axis: 0 }, 4), node([x], { sorted: 0 }, 4)),
  Unsqueeze: axesSince(13, x, [0, -1], {}, false),
  Upsample: ({ since }) =>
    ["nearest", "linear"].map((mode) =>
      since < 9 ? node([image], { scales: [1, 1, 2, 2], mode }) : node([image, values(1, 1, 2, 2)], { mode }),
    ),
  Where: always(node([x, x, x]), node([of(3), of(), x])),
  ...Object.fromEntries(
    "Add And Equal Greater GreaterOrEqual Less LessOrEqual Mul Or Sub Xor BitwiseAnd BitwiseOr BitwiseXor"
      .split(" ")
      .map((t) => [t, broadcast]),
  ),
};

/** Strings and truth values are only replaced. */
function reducible(dtype: keyof typeof rows): boolean {
  return dtype !== "string" && dtype !== "bool";
}
