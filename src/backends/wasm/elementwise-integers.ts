/** Elementwise operators on integers of 8 to 64 bits, those apart that elementwise.ts and elementwise-logic.ts have in lanes of 32. */
import * as ops from "../../ops/binary.ts";
import * as bitwise from "../../ops/bitwise.ts";
import { clip } from "../../ops/clip.ts";
import * as compare from "../../ops/compare.ts";
import type { AnyOp } from "../../ops/op.ts";
import * as unary from "../../ops/unary.ts";
import { where } from "../../ops/where.ts";
import type { Kernel } from "../backend.ts";
import { type Expr, v128 } from "./assembler.ts";
import { clipStep, type Elementwise, elementwiseStep, wasmName } from "./elementwise.ts";
import {
  type Combine,
  elementOf,
  type Integer,
  integerOf,
  lanesOf,
  less,
  maximum,
  minimum,
  modulus,
  multiply,
  power,
  quotient,
  remainder,
  type Scalar,
  shift,
  splat,
} from "./kernels/integers.ts";
import type { Element, RunForm } from "./kernels/vector.ts";
import { integerFunction, scalarFunction } from "./kernels/vector-integers.ts";
import { type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

type V = Expr<"v128">;

const form = (
  name: string,
  t: Integer,
  value: RunForm["value"],
  elements: readonly Element[] = [elementOf(t), elementOf(t)],
  result = elementOf(t),
): Elementwise => ({ name: `${name} ${t.dtype}`, elements, result, short: true, value, make: integerFunction });

/** y = combine(a, b) of operands of one dtype: what a reduction runs over rows, too. */
export const combined = (name: string, t: Integer, combine: Combine): Elementwise =>
  form(name, t, (_, [a, b]) => combine(a, b));

const arithmetic: readonly (readonly [op: AnyOp, combine: (t: Integer) => Combine])[] = [
  [ops.add, (t) => lanesOf(t).add],
  [ops.sub, (t) => lanesOf(t).sub],
  [ops.mul, multiply],
  [ops.min, minimum],
  [ops.max, maximum],
  [bitwise.bitwiseAnd, () => v128.and],
  [bitwise.bitwiseOr, () => v128.or],
  [bitwise.bitwiseXor, () => v128.xor],
];

const not =
  (test: Combine): Combine =>
  (a, b) =>
    v128.not(test(a, b));
const swapped =
  (test: Combine): Combine =>
  (a, b) =>
    test(b, a);

const comparisons: readonly (readonly [op: AnyOp, test: (t: Integer) => Combine])[] = [
  [compare.equal, (t) => lanesOf(t).eq],
  [compare.less, less],
  [compare.lessOrEqual, (t) => not(swapped(less(t)))],
  [compare.greater, (t) => swapped(less(t))],
  [compare.greaterOrEqual, (t) => not(less(t))],
];

/** The sign is the difference of two masks, of which a true one is -1. */
const functions: readonly (readonly [op: AnyOp, value: (t: Integer, x: V, zero: V) => V])[] = [
  [unary.abs, (t, x) => (t.signed ? lanesOf(t).abs(x) : x)],
  [unary.neg, (t, x) => lanesOf(t).neg(x)],
  [unary.sign, (t, x, zero) => lanesOf(t).sub(t.signed ? less(t)(x, zero) : zero, less(t)(zero, x))],
  [bitwise.bitwiseNot, (_, x) => v128.not(x)],
];

interface ScalarAttrs {
  fmod?: boolean;
  direction?: "left" | "right";
}
const scalars: readonly (readonly [op: AnyOp, scalar: (t: Integer, attrs: ScalarAttrs) => Scalar])[] = [
  [ops.div, quotient],
  [ops.mod, (t, { fmod }) => (fmod ? remainder(t) : modulus(t))],
  [ops.pow, power],
  [bitwise.bitShift, (t, { direction }) => shift(t, direction === "left")],
];

const binary = (op: AnyOp, how: (t: Integer, attrs: ScalarAttrs) => Elementwise): Kernel<WasmStep> =>
  wasmKernel(op, wasmName(op, "integers"), ([a, b], [y], attrs) => {
    const t = integerOf(a.dtype);
    return t && b.dtype === a.dtype ? elementwiseStep(how(t, attrs), [a, b], y, y.dtype === a.dtype) : undefined;
  });

const scalarForm = (name: string, t: Integer, scalar: Scalar): Elementwise => ({
  ...combined(name, t, v128.and),
  short: false,
  make: scalarFunction(t, scalar),
});

export const elementwiseIntegerKernels: WasmKernels = () => [
  ...arithmetic.map(([op, combine]) => binary(op, (t) => combined(op.op.name, t, combine(t)))),
  ...comparisons.map(([op, test]) => binary(op, (t) => ({ ...combined(op.op.name, t, test(t)), result: "bool" }))),
  ...scalars.map(([op, scalar]) =>
    binary(op, (t, attrs) =>
      scalarForm(`${op.op.name}${attrs.fmod ? "/f" : (attrs.direction ?? "")}`, t, scalar(t, attrs)),
    ),
  ),
  ...functions.map(([op, value]) =>
    wasmKernel(op, wasmName(op, "integers"), ([x], [y]) => {
      const t = integerOf(x.dtype);
      if (!t) return undefined;
      const how = form(op.op.name, t, (f, [v]) => value(t, v, splat(f, t, 0n)), [elementOf(t)]);
      return elementwiseStep(how, [x], y, true);
    }),
  ),
  wasmKernel(where, wasmName(where, "integers"), ([condition, x, y], [out]) => {
    const t = integerOf(x.dtype);
    if (!t) return undefined;
    const elements = ["bool", elementOf(t), elementOf(t)] as const;
    const how = form("where", t, (_, [c, p, q]) => v128.bitselect(p, q, c), elements);
    return elementwiseStep(how, [condition, x, y], out, true);
  }),
  wasmKernel(clip, wasmName(clip, "integers"), ([x, min, max], [y]) => {
    const t = integerOf(x.dtype);
    if (!t) return undefined;
    const given = [0, 1, 2].filter((i) => [x, min, max][i]);
    const how = form(
      `clip(${given})`,
      t,
      (f, [v, ...bounds]) => {
        const raised = min ? f.let(maximum(t)(v, bounds[0])) : v;
        return max ? minimum(t)(raised, bounds[min ? 1 : 0]) : raised;
      },
      given.map(() => elementOf(t)),
    );
    return clipStep(how, given, y);
  }),
];
