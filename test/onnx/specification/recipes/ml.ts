/** Recipes of ai.onnx.ml: small models of each kind. */
import type { AttributeValue } from "../recipe.ts";
import { filled, type Given, node, of, type Recipe, type Recipes, values } from "../recipe.ts";

type Attributes = Readonly<Record<string, AttributeValue>>;

const x = of(2, 3);
const transforms = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"];
/** Between 0 and 1 whatever the sum of a row: PROBIT knows no other scores. */
const small: Given = filled([2, 3], [1, 0, 1, 0, 1, 0]);

/** The class labels as strings or as integers, whichever the version's outputs are. */
const labels = (dtype: string | undefined, n: number, ints: string): Attributes =>
  dtype === "string" ? { classlabels_strings: ["a", "b", "c"].slice(0, n) } : { [ints]: [7, 8, 9].slice(0, n) };

/** Every transform on the node that `make` gives, and one without. */
const transformed = (make: (attributes: Attributes) => Recipe): Recipe[] => [
  make({}),
  ...transforms.map((post_transform) => make({ post_transform })),
];

/**
 * Two trees: x[1] > 0.5 ? (x[0] <= 1 ? leaf : leaf) : leaf, and a lone leaf. `kind` is class or target, and the leaves
 * vote for `ids`. The numbers as lists, or as tensors of `tensor`.
 */
function trees(kind: "class" | "target", ids: readonly number[], tensor?: "f64"): Attributes {
  const numbers = (name: string, list: readonly number[]): Attributes =>
    tensor ? { [`${name}_as_tensor`]: { tensor, shape: [list.length], values: list } } : { [name]: list };
  return {
    nodes_treeids: [0, 0, 0, 0, 0, 1],
    nodes_nodeids: [0, 1, 2, 3, 4, 0],
    nodes_featureids: [1, 0, 0, 0, 0, 0],
    nodes_modes: ["BRANCH_GT", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF", "LEAF"],
    nodes_truenodeids: [1, 3, 0, 0, 0, 0],
    nodes_falsenodeids: [2, 4, 0, 0, 0, 0],
    nodes_missing_value_tracks_true: [1, 0, 0, 0, 0, 0],
    ...numbers("nodes_values", [0.5, 1, 0, 0, 0, 0]),
    ...numbers("nodes_hitrates", [1, 1, 1, 1, 1, 1]),
    [`${kind}_treeids`]: [0, 0, 0, 1],
    [`${kind}_nodeids`]: [2, 3, 4, 0],
    [`${kind}_ids`]: ids,
    ...numbers(`${kind}_weights`, [0.25, 0.5, 0.125, 0.0625]),
  };
}

/** The same first tree by indices, a set of members as a node's condition included. */
const ensemble = (dtype: string | undefined, members: boolean): Attributes => {
  const tensor = dtype as "f32";
  const list = (values: readonly number[], of: "f32" | "u8" = tensor): AttributeValue => ({
    tensor: of,
    shape: [values.length],
    values,
  });
  return {
    n_targets: 2,
    tree_roots: [0],
    nodes_featureids: [1, 0],
    nodes_splits: list([0.5, 1]),
    // BRANCH_GT is 3, BRANCH_LEQ 0, BRANCH_MEMBER 6.
    nodes_modes: list([3, members ? 6 : 0], "u8"),
    nodes_truenodeids: [1, 0],
    nodes_trueleafs: [0, 1],
    nodes_falsenodeids: [2, 1],
    nodes_falseleafs: [1, 1],
    nodes_hitrates: list([1, 1]),
    nodes_missing_value_tracks_true: [1, 0],
    leaf_targetids: [0, 1, 1],
    leaf_weights: list([0.25, 0.5, 0.125]),
    ...(members && { membership_values: list([1, 3]) }),
  };
};

const encoder: Recipes = ({ since, dtypes }) => {
  if (since === 1)
    return dtypes["T1"] === dtypes["T2"]
      ? []
      : [
          node([dtypes["T1"] === "string" ? values("b", "c", "z") : values(0, 1, 7)], {
            classes_strings: ["a", "b", "c"],
            default_string: "none",
            default_int64: -2,
          }),
        ];
  const kinds: Readonly<Record<string, string>> = { string: "strings", i64: "int64s", f32: "floats" };
  const [from, to] = [dtypes["T1"], dtypes["T2"]];
  const keys = from === "string" ? ["a", "b"] : [1, 3];
  const results = to === "string" ? ["one", "three"] : [10, 30];
  const input = from === "string" ? values("b", "a", "z") : values(3, 1, 2);
  const defaults = { default_string: "none", default_int64: -2, default_float: 0.5 };
  const listed = kinds[from] && kinds[to];
  const tensor = (dtype: typeof from, list: readonly (number | string)[]) => ({
    tensor: dtype,
    shape: [list.length],
    values: list,
  });
  return [
    ...(since >= 4
      ? [
          node([input], { keys_tensor: tensor(from, keys), values_tensor: tensor(to, results) }),
          node([input], {
            keys_tensor: tensor(from, keys),
            values_tensor: tensor(to, results),
            default_tensor: tensor(to, to === "string" ? ["none"] : [5]),
          }),
        ]
      : []),
    ...(listed
      ? [node([input], { [`keys_${kinds[from]}`]: keys, [`values_${kinds[to]}`]: results, ...defaults })]
      : []),
  ];
};

const classes = (n: number, dtypes: Readonly<Record<string, string>>): Recipe[] => [
  ...transformed((a) =>
    node(
      [x],
      {
        coefficients: [0.5, -0.25, 0.125, 0.25, 0.5, -1, 1, 0.5, 0.25].slice(0, 3 * n),
        intercepts: [0.5, -0.5, 0.25].slice(0, n),
        multi_class: n > 2 ? 1 : 0,
        ...labels(dtypes["T2"], n, "classlabels_ints"),
        ...a,
      },
      2,
    ),
  ),
];

const svmOf = (kernel_type: string): Attributes => ({
  kernel_type,
  kernel_params: [0.5, 0.25, 2],
  support_vectors: [1, 0, 1, 0, 1, 1, 2, 1, 0],
});
const kernelTypes = ["LINEAR", "POLY", "RBF", "SIGMOID"];

const operators: Readonly<Record<string, Recipes>> = {
  ArrayFeatureExtractor: () => [node([x, values(2, 0)]), node([of(3), values(1)])],
  Binarizer: () => [node([x]), node([x], { threshold: 1 })],
  CategoryMapper: ({ dtypes }) => {
    if (dtypes["T1"] === dtypes["T2"]) return [];
    const input = dtypes["T1"] === "string" ? values("b", "z") : values(20, 99);
    const maps = { cats_strings: ["a", "b"], cats_int64s: [10, 20] };
    return [node([input], maps), node([input], { ...maps, default_string: "none", default_int64: -2 })];
  },
  FeatureVectorizer: () => [
    node([of(2, 1), of(2, 2)], { inputdimensions: [1, 2] }),
    node([of(2, 3)], { inputdimensions: [3] }),
  ],
  Imputer: ({ dtypes }) =>
    dtypes["T"][0] === "f"
      ? [
          node([x], { imputed_value_floats: [5], replaced_value_float: 1 }),
          node([x], { imputed_value_floats: [5, 6, 7] }),
        ]
      : [
          node([x], { imputed_value_int64s: [5], replaced_value_int64: 1 }),
          node([x], { imputed_value_int64s: [5, 6, 7] }),
        ],
  LabelEncoder: encoder,
  LinearClassifier: ({ dtypes }) => [
    ...classes(3, dtypes),
    // One row of coefficients for two labels: the sign of the score decides.
    node([x], { coefficients: [0.5, -1, 0.25], ...labels(dtypes["T2"], 2, "classlabels_ints") }, 2),
  ],
  LinearRegressor: () => [
    node([x], { coefficients: [1, 2, 3] }),
    ...transformed((a) =>
      node([small], {
        coefficients: [0.25, 0.125, 0.5, 0.5, 0.25, 0.125],
        intercepts: [0.125, 0.25],
        targets: 2,
        ...a,
      }),
    ),
  ],
  Normalizer: () => [node([x]), ...["MAX", "L1", "L2"].map((norm) => node([x], { norm }))],
  OneHotEncoder: ({ dtypes }) => {
    const attributes: Attributes = dtypes["T"] === "string" ? { cats_strings: ["a", "b"] } : { cats_int64s: [1, 2] };
    const known = dtypes["T"] === "string" ? values("b", "a") : values(1, 2);
    const unknown = dtypes["T"] === "string" ? values("b", "z") : values(1, 9);
    return [node([known], attributes), node([known], { ...attributes, zeros: 0 }), node([unknown], attributes)];
  },
  Scaler: () => [node([x], { offset: [1, 2, 3], scale: [2, 3, 4] }), node([x], { offset: [1], scale: [2] })],
  SVMClassifier: ({ dtypes }) => {
    const two = { ...labels(dtypes["T2"], 2, "classlabels_ints"), coefficients: [0.5, -0.25, -0.5], rho: [0.125] };
    const svm = { vectors_per_class: [1, 2], ...two };
    return [
      ...kernelTypes.map((kind) => node([x], { ...svmOf(kind), ...svm }, 2)),
      node([x], { ...svmOf("RBF"), ...svm, prob_a: [0.5], prob_b: [0.25] }, 2),
      ...transforms.slice(0, 4).map((post_transform) => node([x], { ...svmOf("LINEAR"), ...svm, post_transform }, 2)),
      node(
        [x],
        {
          ...svmOf("LINEAR"),
          vectors_per_class: [1, 1, 1],
          coefficients: [0.5, -0.25, -0.5, 1, 0.75, -1],
          rho: [0.125, 0.25, -0.5],
          ...labels(dtypes["T2"], 3, "classlabels_ints"),
        },
        2,
      ),
    ];
  },
  SVMRegressor: () => {
    const svm = { coefficients: [0.5, -0.25, 0.75], rho: [0.125], n_supports: 3 };
    return [
      ...kernelTypes.map((kind) => node([x], { ...svmOf(kind), ...svm })),
      node([x], { ...svmOf("LINEAR"), ...svm, one_class: 1 }),
      node([x], { ...svmOf("LINEAR"), ...svm, post_transform: "NONE" }),
    ];
  },
  TreeEnsemble: ({ dtypes }) => [
    ...[0, 1, 2, 3].map((aggregate_function) => node([x], { ...ensemble(dtypes["T"], false), aggregate_function })),
    ...[1, 2, 3].map((post_transform) => node([x], { ...ensemble(dtypes["T"], false), post_transform })),
    node([x], ensemble(dtypes["T"], true)),
  ],
  TreeEnsembleClassifier: ({ since, dtypes }) => [
    ...transformed((a) =>
      node([x], { ...trees("class", [0, 1, 2, 1]), ...labels(dtypes["T2"], 3, "classlabels_int64s"), ...a }, 2),
    ),
    node(
      [x],
      { ...trees("class", [0, 0, 0, 0]), base_values: [0.5], ...labels(dtypes["T2"], 2, "classlabels_int64s") },
      2,
    ),
    ...(since >= 3 && dtypes["T1"] === "f64"
      ? [
          node(
            [x],
            {
              ...trees("class", [0, 1, 2, 1], "f64"),
              ...labels(dtypes["T2"], 3, "classlabels_int64s"),
              base_values_as_tensor: { tensor: "f64", shape: [3], values: [0.5, 0.25, 0] },
            },
            2,
          ),
        ]
      : []),
  ],
  ZipMap: () => [node([x], { classlabels_strings: ["a", "b", "c"] }), node([x], { classlabels_int64s: [7, 8, 9] })],
  TreeEnsembleRegressor: ({ since, dtypes }) => [
    ...["SUM", "AVERAGE", "MIN", "MAX"].map((aggregate_function) =>
      node([x], { ...trees("target", [0, 1, 0, 1]), n_targets: 2, aggregate_function }),
    ),
    ...transformed((a) => node([x], { ...trees("target", [0, 0, 0, 0]), n_targets: 1, base_values: [0.125], ...a })),
    ...(since >= 3 && dtypes["T"] === "f64"
      ? [
          node([x], {
            ...trees("target", [0, 1, 0, 1], "f64"),
            n_targets: 2,
            base_values_as_tensor: { tensor: "f64", shape: [2], values: [0.5, 0.25] },
          }),
        ]
      : []),
  ],
};

export const mlRecipes: Readonly<Record<string, Recipes>> = Object.fromEntries(
  Object.entries(operators).map(([name, recipes]) => [`ai.onnx.ml::${name}`, recipes]),
);
