/** Transposed convolution: the gradient of a convolution with respect to its input. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { sameShape, sizeOf } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import { expectFloat, sameDType, shapeError } from "./check.ts";
import { type ConvGeometry, type ConvWindowAttrs, checkGroups } from "./conv.ts";
import { applyEpilogue, checkEpilogue, type EpilogueAttrs } from "./epilogue.ts";
import { defineOp } from "./op.ts";
import { kernelExtent, perAxis, tapOffsets } from "./window.ts";

export interface ConvTransposeAttrs extends ConvWindowAttrs, EpilogueAttrs {
  /** Elements added at the end of each spatial axis of the output. Default 0. */
  outputPadding?: readonly number[];
  /** Spatial dimensions of the output; then padding follows from it. */
  outputShape?: readonly number[];
}

/**
 * The convolution that this one transposes: it reads the output (its window's `input`) and gives x (its window's
 * `output`), so `channelsIn` counts the channels of y and `channelsOut` those of x. `shape` is y's.
 * x[batch, channels, ...spatial] by w[channels, channelsOfY / groups, ...kernel]. Padding may be negative where an
 * output shape asks for more than the input reaches.
 * @throws ShapeError
 */
export function convTransposeGeometry(x: TensorType, w: TensorType, attrs: ConvTransposeAttrs) {
  const op = "convTranspose";
  const { groups = 1, kernelShape, outputShape, autoPad = "notset" } = attrs;
  if (x.shape.length < 3 || w.shape.length !== x.shape.length)
    shapeError(op, "needs [batch, channels, ...spatial] and weights of the same rank", x, w);
  const [batch, channels, ...spatial] = x.shape;
  const [channelsW, perGroup, ...kernel] = w.shape;
  const rank = spatial.length;
  checkGroups(op, groups, x);
  if (channels !== channelsW) shapeError(op, "channels differ", x, w);
  if (kernelShape && !sameShape(kernelShape, kernel)) shapeError(op, `kernel shape is not [${kernelShape}]`, w);
  perAxis(op, "kernel", kernel, rank, 1);
  const strides = perAxis(op, "strides", attrs.strides, rank, 1);
  const dilations = perAxis(op, "dilations", attrs.dilations, rank, 1);
  const extra = perAxis(op, "output padding", attrs.outputPadding, rank, 0);
  const extent = kernelExtent(kernel, dilations);
  const full = spatial.map((n, i) => strides[i] * (n - 1) + extra[i] + extent[i]);
  const same = autoPad === "sameUpper" || autoPad === "sameLower";
  const fixed = outputShape
    ? // Some exporters write the batch and channel dimensions too.
      perAxis(op, "output shape", outputShape.slice(-rank), rank, 1)
    : same
      ? spatial.map((n, i) => n * strides[i])
      : undefined;
  let padBegin: number[];
  let output: number[];
  if (fixed) {
    output = [...fixed];
    padBegin = full.map((n, i) => {
      const total = Math.max(0, n - fixed[i]);
      return autoPad === "sameUpper" ? Math.floor(total / 2) : Math.ceil(total / 2);
    });
  } else {
    const pads = autoPad === "valid" ? new Array<number>(2 * rank).fill(0) : attrs.pads;
    const checked = perAxis(op, "pads", pads, 2 * rank, 0);
    padBegin = checked.slice(0, rank);
    output = full.map((n, i) => n - checked[i] - checked[rank + i]);
  }
  if (output.some((n) => n < 1)) shapeError(op, `padding leaves no output: [${output}]`, x, w);
  const padEnd = spatial.map((n, i) => strides[i] * (n - 1) + extent[i] - output[i] - padBegin[i]);
  const g: ConvGeometry = {
    window: { input: output, kernel, strides, dilations, padBegin, padEnd, output: spatial },
    batch,
    groups,
    channelsIn: perGroup * groups,
    channelsOut: channels,
    shape: [batch, perGroup * groups, ...output],
  };
  return g;
}

/** Every element of x adds its multiple of the kernel to y. */
function scatter(g: ConvGeometry, x: Float64Array, w: Float64Array): Float64Array {
  const taps = tapOffsets(g.window);
  const size = sizeOf(g.window.kernel);
  const xSize = sizeOf(g.window.output);
  const ySize = sizeOf(g.window.input);
  const yPerGroup = g.channelsIn / g.groups;
  const xPerGroup = g.channelsOut / g.groups;
  const y = new Float64Array(sizeOf(g.shape));
  for (let b = 0; b < g.batch; b++)
    for (let c = 0; c < g.channelsOut; c++) {
      const firstChannel = Math.floor(c / xPerGroup) * yPerGroup;
      for (let m = 0; m < yPerGroup; m++) {
        const plane = (b * g.channelsIn + firstChannel + m) * ySize;
        for (let i = 0; i < xSize; i++)
          for (let t = 0; t < size; t++) {
            const at = taps[i * size + t];
            if (at >= 0) y[plane + at] += x[(b * g.channelsOut + c) * xSize + i] * w[(c * yPerGroup + m) * size + t];
          }
      }
    }
  return y;
}

/**
 * act(x *T w + bias) for x[batch, channels, ...spatial], w[channels, channelsOut / groups, ...kernel], bias[channelsOut].
 * Output: strides (n - 1) + outputPadding + (kernel - 1) dilations + 1 - pads along each spatial axis. Any float dtype.
 * ONNX ConvTranspose-22.
 * @throws ShapeError, DTypeError
 */
export const convTranspose = /* @__PURE__ */ defineOp({
  name: "convTranspose",
  inputs: ["x", "w", "bias?"],
  infer([x, w, bias], attrs: ConvTransposeAttrs) {
    expectFloat("convTranspose", x);
    const dtype = sameDType("convTranspose", x, w);
    const { shape, channelsIn } = convTransposeGeometry(x, w, attrs);
    return checkEpilogue("convTranspose", { dtype, shape }, channelsIn, bias, undefined, attrs.activation);
  },
  reference([x, w, bias], attrs, [y]) {
    const g = convTransposeGeometry(x, w, attrs);
    const sums = scatter(g, toF64(x), toF64(w));
    const plane = sizeOf(g.window.input);
    applyEpilogue(sums, bias, (i) => Math.floor(i / plane) % g.channelsIn, undefined, attrs.activation);
    fromF64(sums, y);
  },
});
