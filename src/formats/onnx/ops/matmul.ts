/** ONNX matrix products -> ours. */
import { gemm } from "../../../ops/gemm.ts";
import { matmul } from "../../../ops/matmul.ts";
import { matmulInteger, matmulIntegerToFloat, qlinearMatmul } from "../../../ops/matmul-integer.ts";
import { matmulNBits } from "../../../ops/matmul-n-bits.ts";
import { dynamicQuantizeLinear } from "../../../ops/quantize.ts";
import type { LoweringTable } from "../node.ts";
import { requiredInt } from "./window.ts";

export const matmulLowerings: LoweringTable = {
  MatMul: (n) => matmul(n.input(0), n.input(1)),
  // Before opset 7 a flag asked for the broadcasting of C; without it the shapes are equal.
  Gemm: (n) =>
    gemm(n.input(0), n.input(1), n.optional(2), {
      alpha: n.float("alpha", 1),
      beta: n.float("beta", 1),
      transposeA: n.flag("transA"),
      transposeB: n.flag("transB"),
    }),
  MatMulInteger: (n) => matmulInteger(n.input(0), n.input(1), n.optional(2), n.optional(3)),
  QLinearMatMul: (n) => {
    const [a, aScale, aZero, b, bScale, bZero, yScale, yZero] = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => n.input(i));
    return qlinearMatmul(a, aScale, aZero, b, bScale, bZero, yScale, yZero);
  },
  "com.microsoft::FusedMatMul": (n) => {
    if (n.flag("transBatchA") || n.flag("transBatchB")) n.unsupported("transposed batch axes");
    return matmul(n.input(0), n.input(1), {
      alpha: n.float("alpha", 1),
      transposeA: n.flag("transA"),
      transposeB: n.flag("transB"),
    });
  },
  "com.microsoft::MatMulNBits": (n) =>
    matmulNBits(n.input(0), n.input(1), n.input(2), n.optional(3), n.optional(4), n.optional(5), {
      k: requiredInt(n, "K"),
      n: requiredInt(n, "N"),
      bits: n.int("bits", 4),
      blockSize: requiredInt(n, "block_size"),
    }),
  "com.microsoft::MatMulIntegerToFloat": (n) =>
    matmulIntegerToFloat(n.input(0), n.input(1), n.input(2), n.input(3), n.optional(4), n.optional(5), n.optional(6)),
  "com.microsoft::DynamicQuantizeMatMul": (n) => {
    const [a, scale, zero] = dynamicQuantizeLinear(n.input(0));
    return matmulIntegerToFloat(a, n.input(1), scale, n.input(2), zero, n.optional(3), n.optional(4));
  },
};
