/** ONNX transposed and deformable convolutions, and the inverses of windows -> ours. */
import { col2im } from "../../../ops/col2im.ts";
import { convTranspose } from "../../../ops/conv-transpose.ts";
import { deformConv } from "../../../ops/deform-conv.ts";
import { maxUnpool } from "../../../ops/max-unpool.ts";
import type { LoweringTable } from "../node.ts";
import { convAttrs } from "./window.ts";

export const otherConvLowerings: LoweringTable = {
  ConvTranspose: (n) =>
    convTranspose(n.input(0), n.input(1), n.optional(2), {
      ...convAttrs(n),
      outputPadding: n.ints("output_padding"),
      outputShape: n.ints("output_shape"),
    }),
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
  MaxUnpool: (n) =>
    maxUnpool(n.input(0), n.input(1), n.optional(2), {
      kernelShape: n.ints("kernel_shape") ?? n.missing("kernel_shape"),
      strides: n.ints("strides"),
      pads: n.ints("pads"),
    }),
};
