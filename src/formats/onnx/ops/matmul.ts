/** ONNX matrix products -> ours. */
import { gemm } from "../../../ops/gemm.ts";
import { matmul } from "../../../ops/matmul.ts";
import type { LoweringTable } from "../node.ts";

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
  "com.microsoft::FusedMatMul": (n) => {
    if (n.flag("transBatchA") || n.flag("transBatchB")) n.unsupported("transposed batch axes");
    return matmul(n.input(0), n.input(1), {
      alpha: n.float("alpha", 1),
      transposeA: n.flag("transA"),
      transposeB: n.flag("transB"),
    });
  },
};
