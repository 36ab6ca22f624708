/** ONNX Runtime's LSTM with 8-bit weights (domain com.microsoft) -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { mul, sub } from "../../../ops/binary.ts";
import { cast } from "../../../ops/cast.ts";
import { lstm } from "../../../ops/lstm.ts";
import { dequantizeLinear, dynamicQuantizeLinear } from "../../../ops/quantize.ts";
import { reshape } from "../../../ops/reshape.ts";
import { transpose } from "../../../ops/transpose.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";
import { recurrentAttributes } from "./recurrent.ts";

/** Weights [directions, from, to] with scales and zero points [directions] or [directions, to], as LSTM has them: [directions, to, from]. */
function weights(n: OnnxNode, at: number, scaleAt: number): SymbolicValue {
  const along = (v: SymbolicValue): SymbolicValue => reshape(cast(v, { to: "f32" }), [0, 1, -1]);
  const [q, scale, zero] = [n.input(at), n.input(scaleAt), n.input(scaleAt + 1)];
  return transpose(mul(sub(cast(q, { to: "f32" }), along(zero)), along(scale)), { perm: [0, 2, 1] });
}

/** What is left of values that are rounded to u8 on the way into a product. */
function rounded(x: SymbolicValue): SymbolicValue {
  const [q, scale, zero] = dynamicQuantizeLinear(x);
  return dequantizeLinear(q, scale, zero);
}

export const microsoftRecurrentLowerings: LoweringTable = {
  // Sums of products of integers, scaled, are sums of products of the floats that they stand for.
  "com.microsoft::DynamicQuantizeLSTM": (n) =>
    lstm(
      rounded(n.input(0)),
      weights(n, 1, 8),
      weights(n, 2, 10),
      n.optional(3),
      n.optional(4),
      n.optional(5),
      n.optional(6),
      n.optional(7),
      { ...recurrentAttributes(n), inputForget: n.flag("input_forget"), quantizeState: true },
    ),
};
