/** ONNX linear quantization -> ours. */
import { dequantizeLinear, dynamicQuantizeLinear, quantizeLinear } from "../../../ops/quantize.ts";
import type { Lowering, LoweringTable, OnnxNode } from "../node.ts";

// Per-axis scales came with opset 13, blocks and output_dtype with 21; the defaults are those of a node without them.
const granularity = (n: OnnxNode) => ({ axis: n.int("axis", 1), blockSize: n.int("block_size", 0) });

const quantize: Lowering = (n) =>
  quantizeLinear(n.input(0), n.input(1), n.optional(2), {
    ...granularity(n),
    dtype: n.dtype("output_dtype", undefined),
    precision: n.dtype("precision", undefined),
    saturate: n.flag("saturate", true),
  });

const dequantize: Lowering = (n) =>
  dequantizeLinear(n.input(0), n.input(1), n.optional(2), {
    ...granularity(n),
    dtype: n.dtype("output_dtype", undefined),
  });

export const quantizeLowerings: LoweringTable = {
  QuantizeLinear: quantize,
  DequantizeLinear: dequantize,
  // The same operators with 16-bit and 4-bit integers before ai.onnx had them.
  "com.microsoft::QuantizeLinear": quantize,
  "com.microsoft::DequantizeLinear": dequantize,
  DynamicQuantizeLinear: (n) => dynamicQuantizeLinear(n.input(0)),
};
