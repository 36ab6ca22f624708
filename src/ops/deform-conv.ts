/** Deformable convolution: every tap of every window is displaced by its own offset. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { type Shape, sameShape, sizeOf, stridesOf } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import { expectFloat, sameDType, shapeError } from "./check.ts";
import { type ConvGeometry, type ConvWindowAttrs, convGeometry } from "./conv.ts";
import { checkEpilogue } from "./epilogue.ts";
import { defineOp } from "./op.ts";

export interface DeformConvAttrs extends Omit<ConvWindowAttrs, "autoPad"> {
  /** Input channels are split into this many groups with offsets of their own. Default 1. */
  offsetGroups?: number;
}

/** Checks shapes. */
export function deformGeometry(
  x: TensorType,
  w: TensorType,
  offset: TensorType,
  mask: TensorType | undefined,
  attrs: DeformConvAttrs,
) {
  const { offsetGroups = 1 } = attrs;
  const g = convGeometry("deformConv", x, w, attrs);
  if (!Number.isInteger(offsetGroups) || offsetGroups < 1 || g.channelsIn % offsetGroups !== 0)
    shapeError("deformConv", `channels do not divide into ${offsetGroups} offset groups`, x);
  const taps = sizeOf(g.window.kernel) * offsetGroups;
  const rank = g.window.input.length;
  const expect = (t: TensorType | undefined, what: string, channels: number): void => {
    const shape = [g.batch, channels, ...g.window.output];
    if (t && !sameShape(t.shape, shape)) shapeError("deformConv", `${what} must be [${shape}]`, t);
  };
  expect(offset, "offset", taps * rank);
  expect(mask, "mask", taps);
  return g;
}

/** Multilinear interpolation at `position` in the plane of x that starts at `plane`; zero outside. */
function sample(x: Float64Array, plane: number, shape: Shape, strides: Shape, position: readonly number[]): number {
  let sum = 0;
  for (let corner = 0; corner < 1 << shape.length; corner++) {
    let weight = 1;
    let at = plane;
    for (let d = 0; d < shape.length && weight !== 0; d++) {
      const low = Math.floor(position[d]);
      const upper = (corner >> d) & 1;
      const i = low + upper;
      weight *= i < 0 || i >= shape[d] ? 0 : upper ? position[d] - low : 1 - (position[d] - low);
      at += i * strides[d];
    }
    if (weight !== 0) sum += weight * x[at];
  }
  return sum;
}

/**
 * Convolution whose taps are displaced by `offset` [batch, offsetGroups * taps * axes, ...output] (for each tap one
 * displacement per spatial axis) and scaled by `mask` [batch, offsetGroups * taps, ...output]; fractional positions are
 * interpolated. Dai et al. 2017, Zhu et al. 2019; ONNX DeformConv-22. Any float dtype.
 * @throws ShapeError, DTypeError
 */
export const deformConv = /* @__PURE__ */ defineOp({
  name: "deformConv",
  inputs: ["x", "w", "offset", "bias?", "mask?"],
  infer([x, w, offset, bias, mask], attrs: DeformConvAttrs) {
    expectFloat("deformConv", x);
    const dtype = sameDType("deformConv", x, w, offset, mask);
    const { shape, channelsOut } = deformGeometry(x, w, offset, mask, attrs);
    return checkEpilogue("deformConv", { dtype, shape }, channelsOut, bias, undefined, undefined);
  },
  reference([x, w, offset, bias, mask], attrs, [y]) {
    const g = deformGeometry(x, w, offset, mask, attrs);
    const weights = toF64(w);
    const shifts = toF64(bias ?? { dtype: "f64", data: new Float64Array(g.channelsOut) });
    const taps = sizeOf(g.window.kernel);
    const outputSize = sizeOf(g.window.output);
    const perGroup = g.channelsIn / g.groups;
    const outPerGroup = g.channelsOut / g.groups;
    const values = new Float64Array(y.data.length);
    const patch = new Float64Array(g.channelsIn * taps);
    const fill = patchReader(g, attrs.offsetGroups ?? 1, toF64(x), toF64(offset), mask && toF64(mask));
    for (let b = 0; b < g.batch; b++)
      for (let o = 0; o < outputSize; o++) {
        fill(b, o, patch);
        for (let m = 0; m < g.channelsOut; m++) {
          const first = Math.floor(m / outPerGroup) * perGroup * taps;
          let sum = shifts[m];
          for (let t = 0; t < perGroup * taps; t++) sum += patch[first + t] * weights[m * perGroup * taps + t];
          values[(b * g.channelsOut + m) * outputSize + o] = sum;
        }
      }
    fromF64(values, y);
  },
});

/** Returns the function that reads the displaced taps [channels, taps] of output position `o` of batch item `b`. */
function patchReader(
  g: ConvGeometry,
  offsetGroups: number,
  x: Float64Array,
  offset: Float64Array,
  mask: Float64Array | undefined,
): (b: number, o: number, patch: Float64Array) => void {
  const { input, kernel, output, strides, dilations, padBegin } = g.window;
  const rank = input.length;
  const taps = sizeOf(kernel);
  const [inputSize, outputSize] = [sizeOf(input), sizeOf(output)];
  const [inputStrides, outputStrides, tapStrides] = [stridesOf(input), stridesOf(output), stridesOf(kernel)];
  const channelsPerOffset = g.channelsIn / offsetGroups;
  return (b, o, patch) => {
    for (let c = 0; c < g.channelsIn; c++) {
      const group = Math.floor(c / channelsPerOffset);
      for (let t = 0; t < taps; t++) {
        const tap = (b * offsetGroups + group) * taps + t;
        const position = input.map((_, d) => {
          const window = Math.floor(o / outputStrides[d]) % output[d];
          const k = Math.floor(t / tapStrides[d]) % kernel[d];
          const regular = window * strides[d] + k * dilations[d] - padBegin[d];
          return regular + offset[(tap * rank + d) * outputSize + o];
        });
        const scale = mask ? mask[tap * outputSize + o] : 1;
        patch[c * taps + t] = scale * sample(x, (b * g.channelsIn + c) * inputSize, input, inputStrides, position);
      }
    }
  };
}
