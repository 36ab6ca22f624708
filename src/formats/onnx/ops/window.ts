/** Attributes of ONNX convolutions and poolings -> ours. */
import type { WindowAttrs } from "../../../ops/window.ts";
import type { OnnxNode } from "../node.ts";
import { choice } from "./choice.ts";

const autoPads = { NOTSET: "notset", SAME_UPPER: "sameUpper", SAME_LOWER: "sameLower", VALID: "valid" } as const;

export function windowAttrs(n: OnnxNode): WindowAttrs {
  const autoPad = autoPads[choice(n, "auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]) ?? "NOTSET"];
  return { strides: n.ints("strides"), dilations: n.ints("dilations"), pads: n.ints("pads"), autoPad };
}

export const convAttrs = (n: OnnxNode) => ({
  ...windowAttrs(n),
  groups: n.int("group", 1),
  kernelShape: n.ints("kernel_shape"),
});
