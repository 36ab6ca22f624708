/** Matrix products of 8-bit tensors. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { forEachOffset, sizeOf } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { expectDType, expectFloat, sameDType, shapeError } from "./check.ts";
import { matmulGeometry, multiply } from "./matmul.ts";
import { defineOp } from "./op.ts";
import { checkZeroDType, parameterStrides, requantize, withoutZero } from "./quantized-product.ts";

/** Output shape of a b, with everything checked that the operators here share. */
function inferProduct(
  op: string,
  a: TensorType,
  b: TensorType,
  aZeroPoint: TensorType | undefined,
  bZeroPoint: TensorType | undefined,
): readonly number[] {
  checkZeroDType(op, a, aZeroPoint);
  checkZeroDType(op, b, bZeroPoint);
  if (aZeroPoint) parameterStrides(op, aZeroPoint, a.shape, "rows");
  if (bZeroPoint) parameterStrides(op, bZeroPoint, b.shape, "columns");
  return matmulGeometry(op, a, b).shape;
}

/** (a - aZeroPoint)(b - bZeroPoint), exact. */
function product(op: string, a: HostTensor, b: HostTensor, za?: HostTensor, zb?: HostTensor): Float64Array {
  const g = matmulGeometry(op, a, b);
  const sums = new Float64Array(sizeOf(g.shape));
  multiply(g, withoutZero(op, a, za, "rows"), withoutZero(op, b, zb, "columns"), sums, 0);
  return sums;
}

/** For each element of the output, a's scale (by row) times b's (by column), in f32 as ONNX has it. */
function combinedScales(op: string, y: TensorType, aScale: HostTensor, bScale: HostTensor): Float64Array {
  const [sa, sb] = [toF64(aScale), toF64(bScale)];
  const out = new Float64Array(sizeOf(y.shape));
  const strides = [parameterStrides(op, aScale, y.shape, "rows"), parameterStrides(op, bScale, y.shape, "columns")];
  forEachOffset(y.shape, strides, (i, at) => {
    out[i] = Math.fround(sa[at[0]] * sb[at[1]]);
  });
  return out;
}

/**
 * (a - aZeroPoint)(b - bZeroPoint) as i32, i8 and u8 in any mix; broadcasts as `matmul`. Zero points: one for all, a's
 * by row, b's by column. ONNX MatMulInteger-10.
 * @throws ShapeError, DTypeError
 */
export const matmulInteger = /* @__PURE__ */ defineOp({
  name: "matmulInteger",
  inputs: ["a", "b", "aZeroPoint?", "bZeroPoint?"],
  infer([a, b, aZeroPoint, bZeroPoint]) {
    for (const t of [a, b]) expectDType("matmulInteger", t, "i8", "u8");
    return { dtype: "i32", shape: inferProduct("matmulInteger", a, b, aZeroPoint, bZeroPoint) };
  },
  reference([a, b, aZeroPoint, bZeroPoint], _, [y]) {
    fromF64(product("matmulInteger", a, b, aZeroPoint, bZeroPoint), y);
  },
});

/**
 * aScale bScale (a - aZeroPoint)(b - bZeroPoint) + bias, in the dtype of the scales. Scales and zero points: one for all,
 * a's by row, b's by column; bias: [n]. com.microsoft MatMulIntegerToFloat-1.
 * @throws ShapeError, DTypeError
 */
export const matmulIntegerToFloat = /* @__PURE__ */ defineOp({
  name: "matmulIntegerToFloat",
  inputs: ["a", "b", "aScale", "bScale", "aZeroPoint?", "bZeroPoint?", "bias?"],
  infer([a, b, aScale, bScale, aZeroPoint, bZeroPoint, bias]) {
    const op = "matmulIntegerToFloat";
    for (const t of [a, b]) expectDType(op, t, "i8", "u8");
    expectFloat(op, aScale);
    const dtype = sameDType(op, aScale, bScale, bias);
    const shape = inferProduct(op, a, b, aZeroPoint, bZeroPoint);
    parameterStrides(op, aScale, shape, "rows");
    parameterStrides(op, bScale, shape, "columns");
    const n = b.shape.length === 1 ? 1 : b.shape[b.shape.length - 1];
    if (bias && (bias.shape.length !== 1 || bias.shape[0] !== n)) shapeError(op, `bias must be [${n}]`, bias);
    return { dtype, shape };
  },
  reference([a, b, aScale, bScale, aZeroPoint, bZeroPoint, bias], _, [y]) {
    const sums = product("matmulIntegerToFloat", a, b, aZeroPoint, bZeroPoint);
    const scales = combinedScales("matmulIntegerToFloat", y, aScale, bScale);
    const shift = bias && toF64(bias);
    fromF64(
      sums.map((s, i) => s * scales[i] + (shift ? shift[i % shift.length] : 0)),
      y,
    );
  },
});

const quantized = ["i8", "u8", "f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz"] as const;

/**
 * The product of quantized matrices, quantized: saturate(round(aScale bScale / yScale (a - aZeroPoint)(b - bZeroPoint))
 * + yZeroPoint) in the dtype of `yZeroPoint`. i8, u8 and the fp8 dtypes. a's scale and zero point are one for all or by
 * row, b's by column. ONNX QLinearMatMul-21.
 * @throws ShapeError, DTypeError
 */
export const qlinearMatmul = /* @__PURE__ */ defineOp({
  name: "qlinearMatmul",
  inputs: ["a", "aScale", "aZeroPoint", "b", "bScale", "bZeroPoint", "yScale", "yZeroPoint"],
  infer([a, aScale, aZeroPoint, b, bScale, bZeroPoint, yScale, yZeroPoint]) {
    const op = "qlinearMatmul";
    for (const t of [a, b, yZeroPoint]) expectDType(op, t, ...quantized);
    for (const t of [aScale, bScale, yScale]) expectFloat(op, t);
    for (const t of [yScale, yZeroPoint]) if (sizeOf(t.shape) !== 1) shapeError(op, "the output has one scale", t);
    const shape = inferProduct(op, a, b, aZeroPoint, bZeroPoint);
    parameterStrides(op, aScale, shape, "rows");
    parameterStrides(op, bScale, shape, "columns");
    return { dtype: yZeroPoint.dtype, shape };
  },
  reference([a, aScale, aZeroPoint, b, bScale, bZeroPoint, yScale, yZeroPoint], _, [y]) {
    const sums = product("qlinearMatmul", a, b, aZeroPoint, bZeroPoint);
    const scales = combinedScales("qlinearMatmul", y, aScale, bScale);
    const [step] = toF64(yScale);
    requantize(sums, (i) => Math.fround(scales[i] / step), toF64(yZeroPoint)[0], y);
  },
});
