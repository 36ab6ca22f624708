/** Elementwise operators: tables of one-line expressions. */
import { activationOf } from "../../ops/activation.ts";
import * as binary from "../../ops/binary.ts";
import { clip } from "../../ops/clip.ts";
import type { AnyOp } from "../../ops/op.ts";
import * as unary from "../../ops/unary.ts";
import { activationCode, gpuKernel, offsetIn } from "./code.ts";

/** Of `v`. */
const functions: readonly (readonly [AnyOp, string])[] = [
  [unary.abs, "Math.abs(v)"],
  [unary.neg, "-v"],
  [unary.floor, "Math.floor(v)"],
  [unary.ceil, "Math.ceil(v)"],
  [unary.sqrt, "Math.sqrt(v)"],
  [unary.reciprocal, "1 / v"],
  [unary.exp, "expOf(v)"],
  [unary.log, "logOf(v)"],
  [unary.erf, "erfOf(v)"],
];

/** Of `v` and `w`. */
const pairs: readonly (readonly [AnyOp, string])[] = [
  [binary.add, "v + w"],
  [binary.sub, "v - w"],
  [binary.mul, "v * w"],
  [binary.div, "v / w"],
  [binary.min, "(v !== v || v < w ? v : w)"],
  [binary.max, "(v !== v || v > w ? v : w)"],
  [binary.prelu, "(v < 0 ? w * v : v)"],
];

export const elementwiseKernels = [
  ...functions.map(([op, expression]) =>
    gpuKernel(op, "element", () => `const v = x[this.thread.x]; return ${expression};`),
  ),
  ...unary.activationOps.map((op) =>
    gpuKernel(op, "element", (_, __, attrs) => {
      const activation = activationOf(op.op.name, attrs as Record<string, unknown>);
      return `const v = x[this.thread.x]; return ${activationCode(activation, "v")};`;
    }),
  ),
  ...pairs.map(([op, expression]) =>
    gpuKernel(op, "element", ([a, b], y) => {
      const [first, second] = op.op.inputs;
      return `
        const i = this.thread.x;
        const v = ${first}[${offsetIn(a.shape, y.shape, "i")}];
        const w = ${second}[${offsetIn(b.shape, y.shape, "i")}];
        return ${expression};`;
    }),
  ),
  gpuKernel(clip, "element", ([, min, max]) => {
    const raised = min ? "(v < min[0] ? min[0] : v)" : "v";
    return `const v = x[this.thread.x]; const r = ${raised}; return ${max ? "(r > max[0] ? max[0] : r)" : "r"};`;
  }),
];
