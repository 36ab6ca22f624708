/** Elementwise operators on i64, two lanes at a time: what models do with positions, tokens and masks of them. */
import * as ops from "../../ops/binary.ts";
import { clip } from "../../ops/clip.ts";
import * as compare from "../../ops/compare.ts";
import type { AnyOp } from "../../ops/op.ts";
import * as unary from "../../ops/unary.ts";
import { where } from "../../ops/where.ts";
import type { Kernel } from "../backend.ts";
import { type Expr, i64x2, v128 } from "./assembler.ts";
import { clipStep, type Elementwise, elementwiseStep, wasmName } from "./elementwise.ts";
import type { Element } from "./kernels/vector.ts";
import { byLanes, modulus, quotient, remainder, wideFunction } from "./kernels/vector-wide.ts";
import { type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

type V = Expr<"v128">;

const wide = (name: string, elements: readonly Element[], value: Elementwise["value"], result: Element = "i64") => ({
  name,
  elements,
  result,
  short: true,
  value,
  make: wideFunction,
});

const lower = (a: V, b: V, less: V): V => v128.bitselect(a, b, less);

const arithmetic: readonly (readonly [op: AnyOp, value: Elementwise["value"]])[] = [
  [ops.add, (_, [a, b]) => i64x2.add(a, b)],
  [ops.sub, (_, [a, b]) => i64x2.sub(a, b)],
  [ops.mul, (_, [a, b]) => i64x2.mul(a, b)],
  [ops.div, byLanes(quotient)],
  [ops.min, (_, [a, b]) => lower(a, b, i64x2.lt_s(a, b))],
  [ops.max, (_, [a, b]) => lower(a, b, i64x2.gt_s(a, b))],
];

const comparisons: readonly (readonly [op: AnyOp, test: (a: V, b: V) => V])[] = [
  [compare.equal, i64x2.eq],
  [compare.less, i64x2.lt_s],
  [compare.lessOrEqual, i64x2.le_s],
  [compare.greater, i64x2.gt_s],
  [compare.greaterOrEqual, i64x2.ge_s],
];

const functions: readonly (readonly [op: AnyOp, value: Elementwise["value"]])[] = [
  [unary.abs, (_, [x]) => i64x2.abs(x)],
  [unary.neg, (_, [x]) => i64x2.neg(x)],
];

const binary = (op: AnyOp, form: (attrs: { fmod?: boolean }) => Elementwise): Kernel<WasmStep> =>
  wasmKernel(op, wasmName(op, "i64"), ([a, b], [y], attrs) => {
    if (a.dtype !== "i64" || b.dtype !== "i64") return undefined;
    return elementwiseStep(form(attrs), [a, b], y, y.dtype === "i64");
  });

const pair = ["i64", "i64"] as const;

export const wideKernels: WasmKernels = () => [
  ...arithmetic.map(([op, value]) => binary(op, () => wide(op.op.name, pair, value))),
  ...comparisons.map(([op, test]) => binary(op, () => wide(op.op.name, pair, (_, [a, b]) => test(a, b), "bool"))),
  binary(ops.mod, ({ fmod = false }) => wide(`mod${fmod ? "/f" : ""}`, pair, byLanes(fmod ? remainder : modulus))),
  ...functions.map(([op, value]) =>
    wasmKernel(op, wasmName(op, "i64"), ([x], [y]) =>
      x.dtype === "i64" ? elementwiseStep(wide(op.op.name, ["i64"], value), [x], y, true) : undefined,
    ),
  ),
  wasmKernel(where, wasmName(where, "i64"), ([condition, x, y], [out]) => {
    if (x.dtype !== "i64") return undefined;
    const form = wide("where", ["bool", "i64", "i64"], (_, [c, p, q]) => v128.bitselect(p, q, c));
    return elementwiseStep(form, [condition, x, y], out, true);
  }),
  wasmKernel(clip, wasmName(clip, "i64"), ([x, min, max], [y]) => {
    if (x.dtype !== "i64") return undefined;
    const given = [0, 1, 2].filter((i) => [x, min, max][i]);
    const form = wide(
      `clip(${given})`,
      given.map(() => "i64" as const),
      (f, [v, ...bounds]) => {
        const raised = min ? f.let(lower(v, bounds[0], i64x2.gt_s(v, bounds[0]))) : v;
        const high = bounds[min ? 1 : 0];
        return max ? lower(raised, high, i64x2.lt_s(raised, high)) : raised;
      },
    );
    return clipStep(form, given, y);
  }),
];
