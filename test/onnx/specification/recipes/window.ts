/** Recipes of ONNX operators that slide a window. */
import { always, filled, type Given, image, node, of, type Recipe, type Recipes, scalar, values } from "../recipe.ts";

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

export const windowRecipes: Readonly<Record<string, Recipes>> = {
  AveragePool: pooling({ kernel_shape: [2, 2], pads: [1, 1, 1, 1], count_include_pad: 1 }),
  CausalConvWithState: always(
    node([of(1, 2, 4), of(2, 1, 3)], {}, 2),
    node([of(1, 2, 4), of(2, 1, 3), of(2), of(1, 2, 2)], { activation: "silu" }, 2),
    node([of(1, 2, 4), of(2, 1, 3)], { activation: "swish" }, 1),
  ),
  Col2Im: always(
    node([of(1, 4, 4), values(3, 3), values(2, 2)]),
    node([of(1, 4, 9), values(5, 5), values(2, 2)], { strides: [2, 2], pads: [0, 0, 1, 1] }),
    node([of(1, 4, 1), values(3, 3), values(2, 2)], { dilations: [2, 2] }),
  ),
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
  DeformConv: always(
    node([of(1, 1, 3, 3), of(1, 1, 2, 2), of(1, 8, 2, 2)], { kernel_shape: [2, 2], pads: [0, 0, 0, 0] }),
    node([of(1, 2, 4, 4), of(2, 1, 2, 2), of(1, 16, 2, 2), of(2), of(1, 8, 2, 2)], {
      group: 2,
      offset_group: 2,
      strides: [2, 2],
    }),
    node([of(1, 1, 4, 4), of(1, 1, 2, 2), of(1, 8, 2, 2)], { dilations: [2, 2] }),
  ),
  GlobalAveragePool: always(node([image])),
  GlobalLpPool: always(node([image]), node([image], { p: 3 })),
  GlobalMaxPool: always(node([image])),
  LpPool: pooling({ kernel_shape: [2, 2], p: 1 }, { kernel_shape: [2, 2], p: 3 }),
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
  QLinearConv: always(
    ...convolutions((i, k) => [i, scalar(1), scalar(1), k, scalar(1), scalar(0), scalar(2), scalar(1)]),
    node([image, scalar(1), scalar(1), of(2, 1, 2, 2), values(1, 2), values(0, 0), scalar(2), scalar(1), of(2)]),
  ),
};
