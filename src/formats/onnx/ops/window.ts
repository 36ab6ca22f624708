/** Attributes of ONNX convolutions and poolings -> ours. */
import type { AutoPad, WindowAttrs } from "../../../ops/window.ts";
import { FormatError } from "../../../tensor/errors.ts";
import type { OnnxNode } from "../node.ts";

const autoPads: Readonly<Record<string, AutoPad>> = {
  NOTSET: "notset",
  SAME_UPPER: "sameUpper",
  SAME_LOWER: "sameLower",
  VALID: "valid",
};

export function windowAttrs(n: OnnxNode): WindowAttrs {
  const name = n.string("auto_pad", "NOTSET");
  const autoPad = autoPads[name];
  if (!autoPad) throw new FormatError(`${n.type}: auto_pad "${name}" is unknown`, { op: n.type }).at(n.name);
  return { strides: n.ints("strides"), dilations: n.ints("dilations"), pads: n.ints("pads"), autoPad };
}

export const convAttrs = (n: OnnxNode) => ({
  ...windowAttrs(n),
  groups: n.int("group", 1),
  kernelShape: n.ints("kernel_shape"),
});

/** An attribute without default. */
export function requiredInts(n: OnnxNode, name: string): number[] {
  return n.ints(name) ?? missing(n, name);
}

export function requiredInt(n: OnnxNode, name: string): number {
  return n.int(name) ?? missing(n, name);
}

function missing(n: OnnxNode, name: string): never {
  throw new FormatError(`${n.type}: attribute "${name}" is missing`, { op: n.type }).at(n.name);
}
