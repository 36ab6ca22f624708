/** ONNX softmax family -> ours. */
import { reshape } from "../../../ops/reshape.ts";
import { softmax } from "../../../ops/softmax.ts";
import type { LoweringTable } from "../node.ts";

export const softmaxLowerings: LoweringTable = {
  Softmax: (n) => softmax(n.input(0), { axis: n.int("axis", n.opset < 13 ? 1 : -1) }),
  Reshape: (n) => reshape(n.input(0), n.input(1), { allowZero: n.flag("allowzero") }),
};
