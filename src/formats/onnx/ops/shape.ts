/** ONNX shapes and layouts -> ours. Attributes of older opsets become constant inputs. */
import { concat } from "../../../ops/concat.ts";
import { constantOfShape } from "../../../ops/constant-of-shape.ts";
import { expand } from "../../../ops/expand.ts";
import { flatten } from "../../../ops/flatten.ts";
import { gather } from "../../../ops/gather.ts";
import { range } from "../../../ops/range.ts";
import { reshape } from "../../../ops/reshape.ts";
import { shape, size } from "../../../ops/shape.ts";
import { slice } from "../../../ops/slice.ts";
import { split } from "../../../ops/split.ts";
import { squeeze } from "../../../ops/squeeze.ts";
import { transpose } from "../../../ops/transpose.ts";
import { unsqueeze } from "../../../ops/unsqueeze.ts";
import type { HostTensor } from "../../../tensor/tensor.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";
import { listInput, required } from "./list-input.ts";

/** The value of a Constant node, whichever attribute holds it. */
function constantOf(n: OnnxNode): HostTensor {
  const whole = n.tensor("value") ?? n.tensor("sparse_value");
  if (whole) return whole;
  const float = n.float("value_float");
  if (float !== undefined) return { dtype: "f32", shape: [], data: Float32Array.of(float) };
  const floats = n.floatArray("value_floats");
  if (floats) return { dtype: "f32", shape: [floats.length], data: floats };
  const string = n.string("value_string");
  if (string !== undefined) return { dtype: "string", shape: [], data: [string] };
  const strings = n.strings("value_strings");
  if (strings) return { dtype: "string", shape: [strings.length], data: [...strings] };
  // Read as they are: doubles would round them beyond 2^53.
  const int = n.attributes.get("value_int");
  if (int?.type === "int") return { dtype: "i64", shape: [], data: BigInt64Array.of(BigInt(int.value)) };
  const ints = n.bigints("value_ints");
  if (ints) return { dtype: "i64", shape: [ints.length], data: ints };
  return n.missing("value");
}

export const shapeLowerings: LoweringTable = {
  Reshape: (n) => reshape(n.input(0), n.input(1), { allowZero: n.flag("allowzero") }),
  Flatten: (n) => flatten(n.input(0), { axis: n.int("axis", 1) }),
  Squeeze: (n) => squeeze(n.input(0), listInput(n, 1, "axes", 13)),
  Unsqueeze: (n) => unsqueeze(n.input(0), required(n, listInput(n, 1, "axes", 13), "axes")),
  Transpose: (n) => transpose(n.input(0), { perm: n.ints("perm") }),
  Concat: (n) => concat(...n.rest(), { axis: n.int("axis") ?? n.missing("axis") }),
  Split: (n) =>
    split(n.input(0), listInput(n, 1, "split", 13), {
      axis: n.int("axis", 0),
      parts: n.int("num_outputs", n.outputs.length),
    }),
  Slice: (n) =>
    n.opset < 10
      ? slice(
          n.input(0),
          required(n, listInput(n, 1, "starts", 10), "starts"),
          required(n, listInput(n, 2, "ends", 10), "ends"),
          listInput(n, 3, "axes", 10),
        )
      : slice(n.input(0), n.input(1), n.input(2), n.optional(3), n.optional(4)),
  Expand: (n) => expand(n.input(0), n.input(1)),
  Shape: (n) => shape(n.input(0), { start: n.int("start", 0), end: n.int("end") }),
  Size: (n) => size(n.input(0)),
  ConstantOfShape: (n) => constantOfShape(n.input(0), { value: n.tensor("value") }),
  Gather: (n) => gather(n.input(0), n.input(1), { axis: n.int("axis", 0) }),
  Constant: (n) => n.builder.constant(constantOf(n)),
  Range: (n) => range(n.input(0), n.input(1), n.input(2)),
};
