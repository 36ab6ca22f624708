/** ONNX layout operators -> ours. Attributes of older opsets become constant inputs. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { castLike } from "../../../ops/cast.ts";
import { centerCropPad } from "../../../ops/center-crop-pad.ts";
import { concat } from "../../../ops/concat.ts";
import { constantOfShape } from "../../../ops/constant-of-shape.ts";
import { type BlockAttrs, depthToSpace, spaceToDepth } from "../../../ops/depth-to-space.ts";
import { expand } from "../../../ops/expand.ts";
import { eyeLike } from "../../../ops/eye-like.ts";
import { flatten } from "../../../ops/flatten.ts";
import { type PadAttrs, pad } from "../../../ops/pad.ts";
import { range } from "../../../ops/range.ts";
import { reshape } from "../../../ops/reshape.ts";
import { shape, size } from "../../../ops/shape.ts";
import { slice } from "../../../ops/slice.ts";
import { split } from "../../../ops/split.ts";
import { squeeze } from "../../../ops/squeeze.ts";
import { tile } from "../../../ops/tile.ts";
import { transpose } from "../../../ops/transpose.ts";
import { trilu } from "../../../ops/trilu.ts";
import { unsqueeze } from "../../../ops/unsqueeze.ts";
import type { HostTensor } from "../../../tensor/tensor.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";

/** An input since opset `since`, an attribute of the same name before. */
function listInput(n: OnnxNode, i: number, name: string, since: number): SymbolicValue | undefined {
  if (n.opset >= since) return n.optional(i);
  const list = n.ints(name);
  return list && n.i64(list);
}

function required(n: OnnxNode, value: SymbolicValue | undefined, name: string): SymbolicValue {
  return value ?? n.missing(name);
}

function blocks(n: OnnxNode): BlockAttrs {
  return {
    blockSize: n.int("blocksize") ?? n.missing("blocksize"),
    mode: n.string("mode", "DCR") as BlockAttrs["mode"],
  };
}

/** The value of a Constant node, whichever attribute holds it. */
function constantOf(n: OnnxNode): HostTensor {
  const whole = n.tensor("value") ?? n.tensor("sparse_value");
  if (whole) return whole;
  const float = n.float("value_float");
  if (float !== undefined) return { dtype: "f32", shape: [], data: Float32Array.of(float) };
  const floats = n.floats("value_floats");
  if (floats) return { dtype: "f32", shape: [floats.length], data: Float32Array.from(floats) };
  const string = n.string("value_string");
  if (string !== undefined) return { dtype: "string", shape: [], data: [string] };
  const strings = n.strings("value_strings");
  if (strings) return { dtype: "string", shape: [strings.length], data: [...strings] };
  // Read as they are: doubles would round them beyond 2^53.
  const int = n.attributes.get("value_int");
  if (int?.type === "int") return { dtype: "i64", shape: [], data: BigInt64Array.of(int.value) };
  const ints = n.attributes.get("value_ints");
  if (ints?.type === "ints") return { dtype: "i64", shape: [ints.value.length], data: BigInt64Array.from(ints.value) };
  return n.missing("value");
}

export const movementLowerings: LoweringTable = {
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
  Pad: (n) => {
    const attrs = { mode: n.string("mode", "constant") as PadAttrs["mode"] };
    if (n.opset >= 11) return pad(n.input(0), n.input(1), n.optional(2), n.optional(3), attrs);
    const x = n.input(0);
    const pads = required(n, listInput(n, 1, "pads", 11), "pads");
    const value = n.builder.constant({ dtype: "f32", shape: [], data: Float32Array.of(n.float("value", 0)) });
    return pad(x, pads, castLike(value, x), attrs);
  },
  Expand: (n) => expand(n.input(0), n.input(1)),
  Tile: (n) => tile(n.input(0), n.input(1)),
  Shape: (n) => shape(n.input(0), { start: n.int("start", 0), end: n.int("end") }),
  Size: (n) => size(n.input(0)),
  ConstantOfShape: (n) => constantOfShape(n.input(0), { value: n.tensor("value") }),
  Constant: (n) => n.builder.constant(constantOf(n)),
  Range: (n) => range(n.input(0), n.input(1), n.input(2)),
  EyeLike: (n) => eyeLike(n.input(0), { dtype: n.dtype("dtype", undefined), k: n.int("k", 0) }),
  Trilu: (n) => trilu(n.input(0), n.optional(1), { upper: n.flag("upper", true) }),
  DepthToSpace: (n) => depthToSpace(n.input(0), blocks(n)),
  SpaceToDepth: (n) => spaceToDepth(n.input(0), blocks(n)),
  CenterCropPad: (n) => centerCropPad(n.input(0), n.input(1), { axes: n.ints("axes") }),
};
