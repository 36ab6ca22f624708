/** Convolutions of 8-bit tensors. Padding counts as zero, that is as the zero point. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { expectDType, expectFloat, sameDType, shapeError } from "./check.ts";
import { type ConvGeometry, type ConvWindowAttrs, convGeometry, convolve } from "./conv.ts";
import { defineOp } from "./op.ts";
import { checkZeroDType, requantize } from "./quantized-product.ts";

function expectOne(op: string, what: string, t: TensorType | undefined): void {
  if (t && sizeOf(t.shape) !== 1) shapeError(op, `${what} must be one number`, t);
}

function expectPerChannel(op: string, what: string, t: TensorType | undefined, channels: number): void {
  if (t && !(sizeOf(t.shape) === 1 || (t.shape.length === 1 && t.shape[0] === channels)))
    shapeError(op, `${what} must be one number or [${channels}]`, t);
}

/** Element `channel` of one number for all or one per channel. */
const at = (values: Float64Array, channel: number): number => values[values.length === 1 ? 0 : channel];

function sums(g: ConvGeometry, x: HostTensor, w: HostTensor, zx?: HostTensor, zw?: HostTensor): Float64Array {
  const [xZero] = zx ? toF64(zx) : [0];
  const wZero = zw ? toF64(zw) : new Float64Array(1);
  const perChannel = w.data.length / g.channelsOut;
  return convolve(
    g,
    toF64(x).map((v) => v - xZero),
    toF64(w).map((v, i) => v - at(wZero, Math.floor(i / perChannel))),
  );
}

/**
 * (x - xZeroPoint) * (w - wZeroPoint) as i32 for i8 and u8 tensors in any mix; `wZeroPoint` is one number or one per
 * output channel. Shapes as `conv`. ONNX ConvInteger-10.
 * @throws ShapeError, DTypeError
 */
export const convInteger = /* @__PURE__ */ defineOp({
  name: "convInteger",
  inputs: ["x", "w", "xZeroPoint?", "wZeroPoint?"],
  infer([x, w, xZeroPoint, wZeroPoint], attrs: ConvWindowAttrs) {
    for (const t of [x, w]) expectDType("convInteger", t, "i8", "u8");
    const { shape, channelsOut } = convGeometry("convInteger", x, w, attrs);
    checkZeroDType("convInteger", x, xZeroPoint);
    checkZeroDType("convInteger", w, wZeroPoint);
    expectOne("convInteger", "xZeroPoint", xZeroPoint);
    expectPerChannel("convInteger", "wZeroPoint", wZeroPoint, channelsOut);
    return { dtype: "i32", shape };
  },
  reference([x, w, xZeroPoint, wZeroPoint], attrs, [y]) {
    fromF64(sums(convGeometry("convInteger", x, w, attrs), x, w, xZeroPoint, wZeroPoint), y);
  },
});

/**
 * xScale wScale (x - xZeroPoint) * (w - wZeroPoint) + bias, in the dtype of the scales. `wScale` and `wZeroPoint` are one
 * number or one per output channel, bias is [channelsOut]. i8 and u8 in any mix. What a dynamically quantised ONNX
 * convolution, ConvInteger and what follows it, computes.
 * @throws ShapeError, DTypeError
 */
export const convIntegerToFloat = /* @__PURE__ */ defineOp({
  name: "convIntegerToFloat",
  inputs: ["x", "w", "xScale", "wScale", "xZeroPoint?", "wZeroPoint?", "bias?"],
  infer([x, w, xScale, wScale, xZeroPoint, wZeroPoint, bias], attrs: ConvWindowAttrs) {
    const op = "convIntegerToFloat";
    for (const t of [x, w]) expectDType(op, t, "i8", "u8");
    expectFloat(op, xScale);
    const dtype = sameDType(op, xScale, wScale, bias);
    const { shape, channelsOut } = convGeometry(op, x, w, attrs);
    checkZeroDType(op, x, xZeroPoint);
    checkZeroDType(op, w, wZeroPoint);
    for (const t of [xScale, xZeroPoint]) expectOne(op, "scale or zero point of x", t);
    for (const t of [wScale, wZeroPoint]) expectPerChannel(op, "scale or zero point of w", t, channelsOut);
    if (bias && (bias.shape.length !== 1 || bias.shape[0] !== channelsOut))
      shapeError(op, `bias must be [${channelsOut}]`, bias);
    return { dtype, shape };
  },
  reference([x, w, xScale, wScale, xZeroPoint, wZeroPoint, bias], attrs, [y]) {
    const g = convGeometry("convIntegerToFloat", x, w, attrs);
    const plane = sizeOf(g.window.output);
    const [sx] = toF64(xScale);
    const sw = toF64(wScale);
    const shift = bias ? toF64(bias) : new Float64Array(1);
    fromF64(
      sums(g, x, w, xZeroPoint, wZeroPoint).map((s, i) => {
        const channel = Math.floor(i / plane) % g.channelsOut;
        return s * Math.fround(sx * at(sw, channel)) + at(shift, channel);
      }),
      y,
    );
  },
});

/**
 * The convolution of quantized tensors, quantized: saturate(round(xScale wScale / yScale ((x - xZeroPoint) *
 * (w - wZeroPoint) + bias)) + yZeroPoint). `wScale` and `wZeroPoint` are one number or one per output channel, bias is
 * i32[channelsOut]. i8 and u8. ONNX QLinearConv-10.
 * @throws ShapeError, DTypeError
 */
export const qlinearConv = /* @__PURE__ */ defineOp({
  name: "qlinearConv",
  inputs: ["x", "xScale", "xZeroPoint", "w", "wScale", "wZeroPoint", "yScale", "yZeroPoint", "bias?"],
  infer([x, xScale, xZeroPoint, w, wScale, wZeroPoint, yScale, yZeroPoint, bias], attrs: ConvWindowAttrs) {
    const op = "qlinearConv";
    for (const t of [x, w, yZeroPoint]) expectDType(op, t, "i8", "u8");
    for (const t of [xScale, wScale, yScale]) expectFloat(op, t);
    const { shape, channelsOut } = convGeometry(op, x, w, attrs);
    checkZeroDType(op, x, xZeroPoint);
    checkZeroDType(op, w, wZeroPoint);
    for (const t of [xScale, xZeroPoint, yScale, yZeroPoint]) expectOne(op, "scale or zero point of x or y", t);
    for (const t of [wScale, wZeroPoint]) expectPerChannel(op, "scale or zero point of w", t, channelsOut);
    if (bias) {
      expectDType(op, bias, "i32");
      if (bias.shape.length !== 1 || bias.shape[0] !== channelsOut)
        shapeError(op, `bias must be [${channelsOut}]`, bias);
    }
    return { dtype: yZeroPoint.dtype, shape };
  },
  reference([x, xScale, xZeroPoint, w, wScale, wZeroPoint, yScale, yZeroPoint, bias], attrs, [y]) {
    const g = convGeometry("qlinearConv", x, w, attrs);
    const plane = sizeOf(g.window.output);
    const channelOf = (i: number): number => Math.floor(i / plane) % g.channelsOut;
    const shift = bias && toF64(bias);
    const exact = sums(g, x, w, xZeroPoint, wZeroPoint).map((s, i) => s + (shift ? shift[channelOf(i)] : 0));
    const [sx] = toF64(xScale);
    const sw = toF64(wScale);
    const [sy] = toF64(yScale);
    requantize(exact, (i) => Math.fround(Math.fround(sx * at(sw, channelOf(i))) / sy), toF64(yZeroPoint)[0], y);
  },
});
