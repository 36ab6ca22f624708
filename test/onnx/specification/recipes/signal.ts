/** Recipes of ONNX images, boxes and signals. */
import { always, codeOf, filled, image, node, of, type Recipes, scalar, values } from "../recipe.ts";

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

export const signalRecipes: Readonly<Record<string, Recipes>> = {
  AffineGrid: always(
    node([of(1, 2, 3), values(1, 1, 2, 3)]),
    node([of(1, 2, 3), values(1, 1, 2, 3)], { align_corners: 1 }),
    node([of(1, 3, 4), values(1, 1, 2, 2, 2)]),
  ),
  BlackmanWindow: (v) => [
    node([scalar(5)], { output_datatype: codeOf(v, "T2") }),
    node([scalar(5)], { output_datatype: codeOf(v, "T2"), periodic: 0 }),
  ],
  DFT: ({ since }) => [
    node([of(1, 4, 1)]),
    node([of(1, 4, 1)], { onesided: 1 }),
    node([of(1, 4, 2)], { inverse: 1 }),
    node([of(1, 4, 2), scalar(3)]),
    since < 20 ? node([of(1, 4, 3, 1)], { axis: 2 }) : node([of(1, 4, 3, 1), undefined, scalar(2)]),
  ],
  Det: always(node([of(2, 2)]), node([of(2, 3, 3)])),
  GridSample: ({ since }) => {
    const modes = since < 20 ? ["bilinear", "nearest", "bicubic"] : ["linear", "nearest", "cubic"];
    const grid = filled([1, 2, 2, 2], [-1, 0.5, 0, 0.25, 1, 2, 0.75, -0.5]);
    return modes.flatMap((mode) =>
      ["zeros", "border", "reflection"].map((padding_mode) =>
        node([image, grid], { mode, padding_mode, align_corners: mode === "nearest" ? 1 : 0 }),
      ),
    );
  },
  HammingWindow: (v) => [
    node([scalar(5)], { output_datatype: codeOf(v, "T2") }),
    node([scalar(5)], { output_datatype: codeOf(v, "T2"), periodic: 0 }),
  ],
  HannWindow: (v) => [
    node([scalar(5)], { output_datatype: codeOf(v, "T2") }),
    node([scalar(5)], { output_datatype: codeOf(v, "T2"), periodic: 0 }),
  ],
  MelWeightMatrix: (v) => [
    node([scalar(4), scalar(16), scalar(64), scalar(0), scalar(32)], { output_datatype: codeOf(v, "T3") }),
  ],
  NonMaxSuppression: always(
    node([of(1, 3, 4), of(1, 1, 3), scalar(2)]),
    node([of(1, 3, 4), of(1, 1, 3), scalar(2), scalar(0.5), scalar(0.5)], { center_point_box: 1 }),
  ),
  Resize: resize,
  RoiAlign: ({ since }) => {
    const rois = filled([1, 4], [0, 0, 3, 3]);
    const ratio = { output_height: 2, output_width: 2, sampling_ratio: 2, spatial_scale: 0.5 };
    return [
      node([image, rois, values(0)]),
      ...["avg", "max"].map((mode) => node([image, rois, values(0)], { ...ratio, mode })),
      ...(since >= 16 ? [node([image, rois, values(0)], { coordinate_transformation_mode: "output_half_pixel" })] : []),
    ];
  },
  STFT: always(
    node([of(1, 8, 1), scalar(2), undefined, scalar(4)]),
    node([of(1, 8, 1), scalar(2), of(4)]),
    node([of(1, 8, 2), scalar(2), of(4), scalar(4)], { onesided: 0 }),
  ),
  Upsample: ({ since }) =>
    ["nearest", since < 7 ? "bilinear" : "linear"].map((mode) =>
      since < 7
        ? node([image], { height_scale: 2, width_scale: 2, mode })
        : since < 9
          ? node([image], { scales: [1, 1, 2, 2], mode })
          : node([image, values(1, 1, 2, 2)], { mode }),
    ),
};
