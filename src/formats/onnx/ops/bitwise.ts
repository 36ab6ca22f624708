/** ONNX operators on bits -> ours. */
import { bitShift, bitwiseAnd, bitwiseNot, bitwiseOr, bitwiseXor } from "../../../ops/bitwise.ts";
import { bitCast } from "../../../ops/cast.ts";
import type { LoweringTable } from "../node.ts";
import { choice } from "./choice.ts";

export const bitwiseLowerings: LoweringTable = {
  BitwiseAnd: (n) => bitwiseAnd(n.input(0), n.input(1)),
  BitwiseOr: (n) => bitwiseOr(n.input(0), n.input(1)),
  BitwiseXor: (n) => bitwiseXor(n.input(0), n.input(1)),
  BitwiseNot: (n) => bitwiseNot(n.input(0)),
  BitShift: (n) => {
    const direction = choice(n, "direction", ["LEFT", "RIGHT"]) ?? n.missing("direction");
    return bitShift(n.input(0), n.input(1), { direction: direction === "LEFT" ? "left" : "right" });
  },
  BitCast: (n) => bitCast(n.input(0), { to: n.dtype("to") }),
};
