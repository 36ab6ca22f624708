/** Convolution (cross-correlation, as everywhere in deep learning) over any number of spatial axes. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { sameShape, sizeOf } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import { expectFloat, sameDType, shapeError } from "./check.ts";
import { applyEpilogue, checkEpilogue, type EpilogueAttrs } from "./epilogue.ts";
import { defineOp } from "./op.ts";
import { resolveWindow, tapOffsets, type Window, type WindowAttrs } from "./window.ts";

export interface ConvWindowAttrs extends WindowAttrs {
  /** Input and output channels are split into this many independent groups. Default 1. */
  groups?: number;
  /** Only checked: the weights have it too. */
  kernelShape?: readonly number[];
}

export interface ConvAttrs extends ConvWindowAttrs, EpilogueAttrs {}

export interface ConvGeometry {
  readonly window: Window;
  readonly batch: number;
  readonly groups: number;
  /** All channels, over all groups. */
  readonly channelsIn: number;
  readonly channelsOut: number;
  /** [batch, channelsOut, ...spatial]. */
  readonly shape: readonly number[];
}

/** Checks the number of groups against channel counts. */
export function checkGroups(op: string, groups: number, ...types: TensorType[]): void {
  if (!Number.isInteger(groups) || groups < 1) shapeError(op, `groups must be a positive whole number, is ${groups}`);
  for (const t of types)
    if (t.shape[1] % groups !== 0) shapeError(op, `channels do not divide into ${groups} groups`, t);
}

/**
 * x[batch, channelsIn, ...spatial] by w[channelsOut, channelsIn / groups, ...kernel].
 * @throws ShapeError
 */
export function convGeometry(op: string, x: TensorType, w: TensorType, attrs: ConvWindowAttrs): ConvGeometry {
  const { groups = 1, kernelShape } = attrs;
  if (x.shape.length < 3 || w.shape.length !== x.shape.length)
    shapeError(op, "needs [batch, channels, ...spatial] and weights of the same rank", x, w);
  const [batch, channelsIn, ...input] = x.shape;
  const [channelsOut, perGroup, ...kernel] = w.shape;
  checkGroups(op, groups, x);
  if (channelsIn !== perGroup * groups) shapeError(op, `channels differ with ${groups} groups`, x, w);
  if (channelsOut % groups !== 0) shapeError(op, `output channels do not divide into ${groups} groups`, w);
  if (kernelShape && !sameShape(kernelShape, kernel)) shapeError(op, `kernel shape is not [${kernelShape}]`, w);
  const window = resolveWindow(op, input, kernel, attrs);
  return { window, batch, groups, channelsIn, channelsOut, shape: [batch, channelsOut, ...window.output] };
}

/** The naive convolution on doubles. */
export function convolve(g: ConvGeometry, x: Float64Array, w: Float64Array): Float64Array {
  const taps = tapOffsets(g.window);
  const size = sizeOf(g.window.kernel);
  const inputSize = sizeOf(g.window.input);
  const outputSize = sizeOf(g.window.output);
  const perGroup = g.channelsIn / g.groups;
  const outPerGroup = g.channelsOut / g.groups;
  const y = new Float64Array(sizeOf(g.shape));
  for (let b = 0; b < g.batch; b++)
    for (let m = 0; m < g.channelsOut; m++) {
      const firstChannel = Math.floor(m / outPerGroup) * perGroup;
      for (let o = 0; o < outputSize; o++) {
        let sum = 0;
        for (let c = 0; c < perGroup; c++) {
          const plane = (b * g.channelsIn + firstChannel + c) * inputSize;
          for (let t = 0; t < size; t++) {
            const at = taps[o * size + t];
            if (at >= 0) sum += x[plane + at] * w[(m * perGroup + c) * size + t];
          }
        }
        y[(b * g.channelsOut + m) * outputSize + o] = sum;
      }
    }
  return y;
}

/**
 * act(x * w + bias + residual) for x[batch, channelsIn, ...spatial], w[channelsOut, channelsIn / groups, ...kernel],
 * bias[channelsOut] and a residual of the result's shape. Any float dtype, any number of spatial axes. ONNX Conv-22.
 * @throws ShapeError, DTypeError
 */
export const conv = /* @__PURE__ */ defineOp({
  name: "conv",
  inputs: ["x", "w", "bias?", "residual?"],
  infer([x, w, bias, residual], attrs: ConvAttrs) {
    expectFloat("conv", x);
    const dtype = sameDType("conv", x, w);
    const { shape, channelsOut } = convGeometry("conv", x, w, attrs);
    return checkEpilogue("conv", { dtype, shape }, channelsOut, bias, residual, attrs.activation);
  },
  reference([x, w, bias, residual], attrs, [y]) {
    const g = convGeometry("conv", x, w, attrs);
    const sums = convolve(g, toF64(x), toF64(w));
    const plane = sizeOf(g.window.output);
    applyEpilogue(sums, bias, (i) => Math.floor(i / plane) % g.channelsOut, residual, attrs.activation);
    fromF64(sums, y);
  },
});
