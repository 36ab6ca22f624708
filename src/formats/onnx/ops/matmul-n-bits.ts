/** ONNX Runtime's product with weights in blocks of a few bits -> ours. */
import { matmulNBits } from "../../../ops/matmul-n-bits.ts";
import type { LoweringTable } from "../node.ts";
import { requiredInt } from "./window.ts";

export const nBitsLowerings: LoweringTable = {
  "com.microsoft::MatMulNBits": (n) =>
    matmulNBits(n.input(0), n.input(1), n.input(2), n.optional(3), n.optional(4), n.optional(5), {
      k: requiredInt(n, "K"),
      n: requiredInt(n, "N"),
      bits: n.int("bits", 4),
      blockSize: requiredInt(n, "block_size"),
    }),
};
