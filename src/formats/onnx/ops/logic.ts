/** ONNX comparisons, logic, selection and casts -> ours. */
import { cast, castLike } from "../../../ops/cast.ts";
import { equal, greater, greaterOrEqual, isInf, isNan, less, lessOrEqual } from "../../../ops/compare.ts";
import { and, not, or, xor } from "../../../ops/logical.ts";
import { where } from "../../../ops/where.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";
import { binary } from "./aligned.ts";
import { choice } from "./choice.ts";

const castRules = (n: OnnxNode) => ({
  saturate: n.flag("saturate", true),
  roundMode: choice(n, "round_mode", ["up", "down", "nearest"]) ?? "up",
});

export const logicLowerings: LoweringTable = {
  Equal: binary((a, b) => equal(a, b)),
  Greater: binary((a, b) => greater(a, b)),
  GreaterOrEqual: (n) => greaterOrEqual(n.input(0), n.input(1)),
  Less: binary((a, b) => less(a, b)),
  LessOrEqual: (n) => lessOrEqual(n.input(0), n.input(1)),
  And: binary((a, b) => and(a, b)),
  Or: binary((a, b) => or(a, b)),
  Xor: binary((a, b) => xor(a, b)),
  Not: (n) => not(n.input(0)),
  IsNaN: (n) => isNan(n.input(0)),
  IsInf: (n) =>
    isInf(n.input(0), {
      detectNegative: n.flag("detect_negative", true),
      detectPositive: n.flag("detect_positive", true),
    }),
  Where: (n) => where(n.input(0), n.input(1), n.input(2)),
  Cast: (n) => cast(n.input(0), { to: n.dtype("to"), ...castRules(n) }),
  CastLike: (n) => castLike(n.input(0), n.input(1), castRules(n)),
};
