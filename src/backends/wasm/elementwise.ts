/**
 * Elementwise operators: tables of one-line expressions on the template of kernels/vector.ts, over the runs that
 * broadcasting leaves. Work is divided by elements where there is one run, by runs otherwise. Comparisons, selections and
 * casts are in elementwise-logic.ts, the rest in elementwise-math.ts.
 */
import { type Activation, activationOf } from "../../ops/activation.ts";
import * as ops from "../../ops/binary.ts";
import { clip } from "../../ops/clip.ts";
import type { AnyOp, Attrs } from "../../ops/op.ts";
import * as unary from "../../ops/unary.ts";
import type { DType } from "../../tensor/dtype.ts";
import { broadcastStrides, type Shape, sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type Kernel, kernel } from "../backend.ts";
import { type Expr, f32x4, i32, i32x4, type Local, type Operand, v128 } from "./assembler.ts";
import { activationKey, activationVector } from "./kernels/activations.ts";
import { constant, erf, exp, log, type VectorFunction } from "./kernels/math.ts";
import { bytesOfElement, type Element, type RunForm, runArgs, runFunction } from "./kernels/vector.ts";
import { emitWalk, mergeAxes, type WalkAxis, walkSize } from "./kernels/vector-walk.ts";
import { addressOf, type StepEmitter, type WasmKernels, type WasmStep, wasmKernel } from "./step.ts";

type V = Expr<"v128">;

/** A cache line of floats: threads don't write to the same one. */
const granule = 16;

/** What a step computes, before it is known how its operands advance. */
export interface Elementwise {
  readonly name: string;
  /** By operand. */
  readonly elements: readonly Element[];
  readonly result: Element;
  readonly short?: boolean;
  readonly value: RunForm["value"];
  /** Default: four lanes of 32 bits. */
  readonly make?: typeof runFunction;
}

/** y = value(operands) with the operands broadcast to `shape`. */
export function emitElementwise(
  e: StepEmitter,
  how: Elementwise,
  shape: Shape,
  operands: readonly { readonly shape: Shape; readonly at: Operand<"i32"> }[],
  y: Operand<"i32">,
): void {
  const { f } = e;
  const { elements, result, short = false, make = runFunction } = how;
  const tensors = [...operands.map((o) => o.shape), shape];
  const widths = [...elements, result].map((t) => bytesOfElement[t]);
  const strides = tensors.map((t) => broadcastStrides(t, shape));
  const axes = mergeAxes(shape.map((size, d): WalkAxis => ({ size, steps: strides.map((s, t) => s[d] * widths[t]) })));
  const inner = axes.at(-1) ?? { size: 1, steps: tensors.map(() => 0) };
  const outer = axes.slice(0, -1);
  const repeated = operands.map((_, i) => inner.steps[i] === 0);
  const fn = make(e, {
    name: how.name,
    operands: elements.map((element, i) => ({ element, repeated: repeated[i] })),
    result,
    short,
    value: how.value,
  });
  const bases = [...operands.map((o) => o.at), y];
  const runs = walkSize(outer);
  // All runs, of each of which this thread may take a part; or whole runs.
  const byElements = runs < 2 * e.target.threads;
  const share = byElements ? e.share(inner.size, granule) : e.share(runs);
  const part = byElements ? share : { from: 0, to: inner.size };
  const n = typeof part.from === "number" ? Number(part.to) - part.from : f.let(i32.sub(part.to, part.from));
  emitWalk(f, outer, bases, byElements ? { from: 0, to: runs } : share, (pointers) => {
    const at = pointers.map((p, i) => (inner.steps[i] === 0 ? p : addressOf(p, part.from, inner.steps[i])));
    f.call(fn, runArgs(at.slice(0, -1), at[at.length - 1], n));
  });
}

export function elementwiseStep(
  how: Elementwise,
  operands: readonly TensorType[],
  y: TensorType,
  inplace: boolean,
): WasmStep {
  return {
    inplace,
    alike: true,
    work: sizeOf(y.shape) * (how.short ? 1 : 8),
    emit: (e) =>
      emitElementwise(
        e,
        how,
        y.shape,
        operands.map(({ shape }, i) => ({ shape, at: e.inputs[i] })),
        e.outputs[0],
      ),
  };
}

export const wasmName = (op: AnyOp, variant: string): string => `wasm/${op.op.name}/${variant}`;

// ---- one operand -------------------------------------------------------------------------------------------------

interface Unary {
  readonly make: VectorFunction;
  readonly short?: boolean;
}

const sign: VectorFunction = (f, x) => {
  const v = f.let(x);
  const one = v128.or(v128.and(v, constant(f, -0)), constant(f, 1));
  // 0 and NaN stay what they are.
  return v128.bitselect(one, v, f32x4.gt(f32x4.abs(v), constant(f, 0)));
};

const functions: readonly (readonly [AnyOp, Unary])[] = [
  [unary.abs, { make: (_, x) => f32x4.abs(x), short: true }],
  [unary.neg, { make: (_, x) => f32x4.neg(x), short: true }],
  [unary.sign, { make: sign, short: true }],
  [unary.floor, { make: (_, x) => f32x4.floor(x), short: true }],
  [unary.ceil, { make: (_, x) => f32x4.ceil(x), short: true }],
  [unary.round, { make: (_, x) => f32x4.nearest(x), short: true }],
  [unary.sqrt, { make: (_, x) => f32x4.sqrt(x), short: true }],
  [unary.reciprocal, { make: (f, x) => f32x4.div(constant(f, 1), x), short: true }],
  [unary.exp, { make: exp }],
  [unary.log, { make: log }],
  [unary.erf, { make: erf }],
];

export const mapped = (name: string, { make, short = false }: Unary): Elementwise => ({
  name,
  elements: ["f32"],
  result: "f32",
  short,
  value: (f, [x]) => make(f, x),
});

export const unaryKernel = (
  op: AnyOp,
  entry: (attrs: Attrs) => readonly [string, Unary] | undefined,
): Kernel<WasmStep> =>
  kernel(op, wasmName(op, "f32"), ([x], [y], attrs) => {
    const found = x.dtype === "f32" ? entry(attrs as Attrs) : undefined;
    return found && elementwiseStep(mapped(...found), [x], y, true);
  });

const activationEntry = (a: Activation): readonly [string, Unary] | undefined =>
  a.kind === "celu" && a.alpha <= 0 ? undefined : [activationKey(a), activationVector(a)];

/** @param given numbers of the inputs that there are: what is clipped, and one or both of its bounds, single elements */
export const clipStep = (form: Elementwise, given: readonly number[], y: TensorType): WasmStep => ({
  inplace: true,
  emit: (e) =>
    emitElementwise(
      e,
      form,
      y.shape,
      given.map((i) => ({ shape: i === 0 ? y.shape : [], at: e.inputs[i] })),
      e.outputs[0],
    ),
});

const clipKernel = wasmKernel(clip, wasmName(clip, "f32"), (inputs, [y]) => {
  if (inputs.some((t) => t && t.dtype !== "f32")) return undefined;
  const given = [0, 1, 2].filter((i) => inputs[i]);
  const form: Elementwise = {
    name: `clip(${given})`,
    elements: given.map(() => "f32"),
    result: "f32",
    short: true,
    value: (_, [x, ...bounds]) => {
      const raised = inputs[1] ? f32x4.max(x, bounds[0]) : x;
      return inputs[2] ? f32x4.min(raised, bounds[inputs[1] ? 1 : 0]) : raised;
    },
  };
  return clipStep(form, given, y);
});

// ---- two operands ------------------------------------------------------------------------------------------------

export type Combine = (a: V, b: V) => V;
export type CombineIn = (f: Parameters<VectorFunction>[0], a: Local<"v128">, b: Local<"v128">) => V;

export const combined = (
  name: string,
  element: Element,
  result: Element,
  value: CombineIn,
  short = true,
): Elementwise => ({
  name,
  elements: [element, element],
  result,
  short,
  value: (f, [a, b]) => value(f, a, b),
});

const arithmetic: readonly (readonly [op: AnyOp, f32: Combine, i32?: Combine])[] = [
  [ops.add, f32x4.add, i32x4.add],
  [ops.sub, f32x4.sub, i32x4.sub],
  [ops.mul, f32x4.mul, i32x4.mul],
  [ops.div, f32x4.div],
  [ops.min, f32x4.min, i32x4.min_s],
  [ops.max, f32x4.max, i32x4.max_s],
];

export const binaryKernel = (
  op: AnyOp,
  variant: string,
  how: (a: DType) => Elementwise | undefined,
  inplace: boolean,
) =>
  kernel(op, wasmName(op, variant), ([a, b], [y]): WasmStep | undefined => {
    const form = a.dtype === b.dtype ? how(a.dtype) : undefined;
    return form && elementwiseStep(form, [a, b], y, inplace);
  });

const arithmeticKernel = ([op, f32, int]: (typeof arithmetic)[number]): Kernel<WasmStep> =>
  binaryKernel(
    op,
    "lanes",
    (dtype) => {
      const combine = dtype === "f32" ? f32 : dtype === "i32" ? int : undefined;
      return combine && combined(op.op.name, dtype as Element, dtype as Element, (_, a, b) => combine(a, b));
    },
    true,
  );

export const elementwiseKernels: WasmKernels = () => [
  ...functions.map(([op, entry]) => unaryKernel(op, () => [op.op.name, entry])),
  ...unary.activationOps.map((op) => unaryKernel(op, (attrs) => activationEntry(activationOf(op.op.name, attrs)!))),
  clipKernel,
  ...arithmetic.map(arithmeticKernel),
];
