/** ONNX convolutions -> ours. */
import { col2im } from "../../../ops/col2im.ts";
import { conv } from "../../../ops/conv.ts";
import { convInteger, qlinearConv } from "../../../ops/conv-integer.ts";
import { convTranspose } from "../../../ops/conv-transpose.ts";
import { deformConv } from "../../../ops/deform-conv.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";
import { windowAttrs } from "./window.ts";

const convAttrs = (n: OnnxNode) => ({
  ...windowAttrs(n),
  groups: n.int("group", 1),
  kernelShape: n.ints("kernel_shape"),
});

export const convLowerings: LoweringTable = {
  Conv: (n) => conv(n.input(0), n.input(1), n.optional(2), convAttrs(n)),
  ConvTranspose: (n) =>
    convTranspose(n.input(0), n.input(1), n.optional(2), {
      ...convAttrs(n),
      outputPadding: n.ints("output_padding"),
      outputShape: n.ints("output_shape"),
    }),
  ConvInteger: (n) => convInteger(n.input(0), n.input(1), n.optional(2), n.optional(3), convAttrs(n)),
  QLinearConv: (n) => {
    const [x, xScale, xZero, w, wScale, wZero, yScale, yZero] = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => n.input(i));
    return qlinearConv(x, xScale, xZero, w, wScale, wZero, yScale, yZero, n.optional(8), convAttrs(n));
  },
  DeformConv: (n) =>
    deformConv(n.input(0), n.input(1), n.input(2), n.optional(3), n.optional(4), {
      strides: n.ints("strides"),
      dilations: n.ints("dilations"),
      pads: n.ints("pads"),
      groups: n.int("group", 1),
      kernelShape: n.ints("kernel_shape"),
      offsetGroups: n.int("offset_group", 1),
    }),
  Col2Im: (n) =>
    col2im(n.input(0), n.input(1), n.input(2), {
      strides: n.ints("strides"),
      dilations: n.ints("dilations"),
      pads: n.ints("pads"),
    }),
};
