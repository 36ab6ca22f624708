/** Recipes of ONNX operators that move elements. */
import type { dtypes as rows } from "../../../../src/tensor/dtype.ts";
import { always, axesSince, codeOf, filled, node, of, type Recipes, scalar, values, x } from "../recipe.ts";

const scatter = always(
  node([of(3, 3), filled([1, 3], [0, 2, -1]), of(1, 3)]),
  node([of(3, 3), filled([3, 1], [0, 2, 1]), of(3, 1)], { axis: 1 }),
);

const reductions = ["none", "add", "mul", "min", "max"] as const;

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

export const movementRecipes: Readonly<Record<string, Recipes>> = {
  CenterCropPad: always(node([x, values(3, 2)]), node([x, values(5)], { axes: [1] })),
  Compress: always(node([x, values(1, 0)], { axis: 0 }), node([x, values(0, 1, 0, 1)])),
  Concat: always(node([x, x], { axis: 0 }), node([x, of(2, 1)], { axis: -1 })),
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
  DepthToSpace: always(node([of(1, 4, 1, 2)], { blocksize: 2 }), node([of(1, 4, 1, 2)], { blocksize: 2, mode: "CRD" })),
  Expand: always(node([of(2, 1), values(2, 3)]), node([of(3), values(2, 1, 1)])),
  EyeLike: (v) => [
    node([x], { dtype: codeOf(v, "T2"), k: 1 }),
    ...(v.dtypes["T1"] === v.dtypes["T2"] ? [node([x])] : []),
  ],
  Flatten: always(node([of(2, 1, 3)]), node([of(2, 1, 3)], { axis: 0 })),
  Gather: always(node([x, values(1, 0)]), node([x, filled([1, 2], [-1, 1])], { axis: 1 }), node([x, scalar(1)])),
  GatherElements: always(node([x, filled([1, 3], [1, 0, -1])]), node([x, filled([2, 1], [2, 0])], { axis: 1 })),
  GatherND: always(node([x, filled([1, 2], [1, -1])]), node([of(2, 2, 2), filled([2, 1], [0, 1])], { batch_dims: 1 })),
  OneHot: ({ dtypes }) => {
    const onOff = dtypes["T3"] === "string" ? values("off", "on") : values(0, 1);
    return [node([values(0, 2), scalar(3), onOff]), node([values(1, 2), values(3), onOff], { axis: 0 })];
  },
  Pad: pad,
  Range: ({ since }) => [
    node([scalar(0), scalar(3), scalar(1)]),
    ...(since >= 27 ? [node([scalar(0), scalar(3), scalar(1)], { stash_type: 1 })] : []),
  ],
  Reshape: always(node([x, values(3, -1)]), node([of(2, 0), values(0, 3)], { allowzero: 1 })),
  ReverseSequence: always(
    node([of(3, 2), values(2, 3)]),
    node([of(2, 3), values(2, 3)], { batch_axis: 0, time_axis: 1 }),
  ),
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
  Shape: always(node([x]), node([x], { start: 1 }), node([x], { start: -2, end: -1 })),
  Slice: ({ since }) =>
    since < 10
      ? [node([x], { starts: [1, 0], ends: [2, -1] }), node([x], { starts: [-2], ends: [3], axes: [1] })]
      : [
          node([x, values(1, 0), values(2, -1)]),
          node([x, values(2), values(-9), values(1), values(-1)]),
          node([x, values(0), values(3), values(-1), values(2)]),
        ],
  SpaceToDepth: ({ since }) => [
    node([of(1, 1, 2, 4)], { blocksize: 2 }),
    ...(since >= 28 ? [node([of(1, 2, 2, 4)], { blocksize: 2, mode: "CRD" })] : []),
  ],
  Split: ({ since }) => [
    ...(since < 18 ? [node([of(4, 2)], {}, 2)] : [node([of(5, 2)], { num_outputs: 2 }, 2)]),
    since < 13 ? node([of(4, 2)], { split: [1, 3] }, 2) : node([of(4, 2), values(1, 3)], {}, 2),
    since < 13 ? node([of(2, 4)], { split: [1, 3], axis: 1 }, 2) : node([of(2, 4), values(1, 3)], { axis: 1 }, 2),
  ],
  Squeeze: axesSince(13, of(1, 2, 1), [0]),
  TensorScatter: always(
    node([of(1, 1, 4, 2), of(1, 1, 2, 2), values(1)]),
    node([of(1, 1, 4, 2), of(1, 1, 4, 2)], { mode: "circular" }),
    node([of(1, 4, 2), of(1, 2, 2), values(3)], { mode: "circular", axis: 1 }),
  ),
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
};

/** Strings and truth values are only replaced. */
function reducible(dtype: keyof typeof rows): boolean {
  return dtype !== "string" && dtype !== "bool";
}
