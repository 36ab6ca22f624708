/** ONNX padding, repetition and rearrangement -> ours. */
import { castLike } from "../../../ops/cast.ts";
import { centerCropPad } from "../../../ops/center-crop-pad.ts";
import { type BlockAttrs, depthToSpace, spaceToDepth } from "../../../ops/depth-to-space.ts";
import { eyeLike } from "../../../ops/eye-like.ts";
import { pad } from "../../../ops/pad.ts";
import { tile } from "../../../ops/tile.ts";
import { trilu } from "../../../ops/trilu.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";
import { choice } from "./choice.ts";
import { listInput, required } from "./list-input.ts";

function blocks(n: OnnxNode): BlockAttrs {
  return {
    blockSize: n.int("blocksize") ?? n.missing("blocksize"),
    mode: choice(n, "mode", ["DCR", "CRD"]),
  };
}

export const movementLowerings: LoweringTable = {
  Pad: (n) => {
    const attrs = { mode: choice(n, "mode", ["constant", "reflect", "edge", "wrap"]) };
    if (n.opset >= 11) return pad(n.input(0), n.input(1), n.optional(2), n.optional(3), attrs);
    const x = n.input(0);
    const pads = required(n, listInput(n, 1, "pads", 11), "pads");
    const value = n.builder.constant({ dtype: "f32", shape: [], data: Float32Array.of(n.float("value", 0)) });
    return pad(x, pads, castLike(value, x), attrs);
  },
  Tile: (n) => tile(n.input(0), n.input(1)),
  EyeLike: (n) => eyeLike(n.input(0), { dtype: n.dtype("dtype", undefined), k: n.int("k", 0) }),
  Trilu: (n) => trilu(n.input(0), n.optional(1), { upper: n.flag("upper", true) }),
  DepthToSpace: (n) => depthToSpace(n.input(0), blocks(n)),
  SpaceToDepth: (n) => spaceToDepth(n.input(0), blocks(n)),
  CenterCropPad: (n) => centerCropPad(n.input(0), n.input(1), { axes: n.ints("axes") }),
};
