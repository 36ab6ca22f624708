/** ONNX gathers, scatters, selections and sorts -> ours. */
import { compress } from "../../../ops/compress.ts";
import { gatherElements } from "../../../ops/gather-elements.ts";
import { gatherNd } from "../../../ops/gather-nd.ts";
import { nonZero } from "../../../ops/non-zero.ts";
import { oneHot } from "../../../ops/one-hot.ts";
import { reverseSequence } from "../../../ops/reverse-sequence.ts";
import type { ScatterAttrs } from "../../../ops/scatter.ts";
import { scatterElements } from "../../../ops/scatter-elements.ts";
import { scatterNd } from "../../../ops/scatter-nd.ts";
import { tensorScatter } from "../../../ops/tensor-scatter.ts";
import { topk } from "../../../ops/topk.ts";
import { unique } from "../../../ops/unique.ts";
import type { Lowering, LoweringTable, OnnxNode } from "../node.ts";
import { choice } from "./choice.ts";

const reduction = (n: OnnxNode): ScatterAttrs["reduction"] =>
  choice(n, "reduction", ["none", "add", "mul", "max", "min"]);

const scatter: Lowering = (n) =>
  scatterElements(n.input(0), n.input(1), n.input(2), { axis: n.int("axis", 0), reduction: reduction(n) });

export const indexingLowerings: LoweringTable = {
  GatherElements: (n) => gatherElements(n.input(0), n.input(1), { axis: n.int("axis", 0) }),
  GatherND: (n) => gatherNd(n.input(0), n.input(1), { batchDims: n.int("batch_dims", 0) }),
  Scatter: scatter,
  ScatterElements: scatter,
  ScatterND: (n) => scatterNd(n.input(0), n.input(1), n.input(2), { reduction: reduction(n) }),
  TensorScatter: (n) =>
    tensorScatter(n.input(0), n.input(1), n.optional(2), {
      axis: n.int("axis", -2),
      mode: choice(n, "mode", ["linear", "circular"]),
    }),
  NonZero: (n) => nonZero(n.input(0)),
  Compress: (n) => compress(n.input(0), n.input(1), { axis: n.int("axis") }),
  Unique: (n) => unique(n.input(0), { axis: n.int("axis"), sorted: n.flag("sorted", true) }),
  ReverseSequence: (n) =>
    reverseSequence(n.input(0), n.input(1), { batchAxis: n.int("batch_axis", 1), timeAxis: n.int("time_axis", 0) }),
  OneHot: (n) => oneHot(n.input(0), n.input(1), n.input(2), { axis: n.int("axis", -1) }),
  TopK: (n) => {
    const k = n.opset < 10 ? n.i64([n.int("k") ?? n.missing("k")]) : n.input(1);
    return topk(n.input(0), k, {
      axis: n.int("axis", -1),
      largest: n.flag("largest", true),
      sorted: n.flag("sorted", true),
    });
  },
};
