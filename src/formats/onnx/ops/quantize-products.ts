/** ONNX products and convolutions of quantised tensors -> ours. */
import { convInteger, qlinearConv } from "../../../ops/conv-integer.ts";
import { matmulInteger, matmulIntegerToFloat, qlinearMatmul } from "../../../ops/matmul-integer.ts";
import { dynamicQuantizeLinear } from "../../../ops/quantize.ts";
import type { LoweringTable } from "../node.ts";
import { convAttrs } from "./window.ts";

export const quantizedProductLowerings: LoweringTable = {
  MatMulInteger: (n) => matmulInteger(n.input(0), n.input(1), n.optional(2), n.optional(3)),
  QLinearMatMul: (n) => {
    const [a, aScale, aZero, b, bScale, bZero, yScale, yZero] = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => n.input(i));
    return qlinearMatmul(a, aScale, aZero, b, bScale, bZero, yScale, yZero);
  },
  "com.microsoft::MatMulIntegerToFloat": (n) =>
    matmulIntegerToFloat(n.input(0), n.input(1), n.input(2), n.input(3), n.optional(4), n.optional(5), n.optional(6)),
  "com.microsoft::DynamicQuantizeMatMul": (n) => {
    const [a, scale, zero] = dynamicQuantizeLinear(n.input(0));
    return matmulIntegerToFloat(a, n.input(1), scale, n.input(2), zero, n.optional(3), n.optional(4));
  },
  ConvInteger: (n) => convInteger(n.input(0), n.input(1), n.optional(2), n.optional(3), convAttrs(n)),
  QLinearConv: (n) => {
    const [x, xScale, xZero, w, wScale, wZero, yScale, yZero] = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => n.input(i));
    return qlinearConv(x, xScale, xZero, w, wScale, wZero, yScale, yZero, n.optional(8), convAttrs(n));
  },
};
