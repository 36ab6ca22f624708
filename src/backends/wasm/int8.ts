/** What kernels of 8-bit integers have in common. */
import type { TypedArray } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type Expr, type FunctionBuilder, f32x4, i32x4 } from "./assembler.ts";
import type { Elementwise } from "./elementwise.ts";
import { constant } from "./kernels/math.ts";
import type { DotAdd } from "./kernels/quantized-unit.ts";
import { type RunForm, type RunFunction, type RunOperand, runFunction } from "./kernels/vector.ts";
import type { StepEmitter } from "./step.ts";

type V = Expr<"v128">;

export const isByte = (t: TensorType | undefined): boolean => t?.dtype === "i8" || t?.dtype === "u8";
export const isScalar = (t: TensorType | undefined): boolean => t === undefined || sizeOf(t.shape) === 1;

/** The zero point of an output channel or column: of one for all, or one for each. */
export const zeroOf = (zeros: TypedArray | undefined, i: number): number =>
  Number(zeros?.[zeros.length === 1 ? 0 : i] ?? 0);

/** Whether weights less their zero points are not what signed bytes hold. */
export const hasPoints = (dtype: string, zeros: TypedArray | undefined): boolean =>
  Array.from(zeros ?? [0], Number).some((z) => z !== (dtype === "u8" ? 128 : 0));

/** What is added to bytes, and their zero points, for them to be of the kind that the host multiplies with signed ones. */
export const turnOf = (dtype: string, dotAdd: DotAdd): number => {
  const signed = dotAdd === "signed";
  return (dtype === "i8") === signed ? 0 : signed ? -128 : 128;
};

/** saturate(round(x) + zero) as lanes for bytes of `dtype`; x far out of range stays far out. */
export function saturated(f: FunctionBuilder, x: V, zero: V, dtype: string): V {
  const bounded = f32x4.pmin(f32x4.pmax(f32x4.nearest(x), constant(f, -70000)), constant(f, 70000));
  const moved = i32x4.add(i32x4.trunc_sat_f32x4_s(bounded), zero);
  const [low, high] = dtype === "i8" ? [-128, 127] : [0, 255];
  return i32x4.min_s(i32x4.max_s(moved, f.hoist(i32x4.splat(low))), f.hoist(i32x4.splat(high)));
}

/** The form for a run in which some operands stay what they are. */
export const runOf = (how: Elementwise, isRepeated: (i: number) => boolean): RunForm => ({
  ...how,
  short: true,
  operands: how.elements.map((element, i) => ({ element, repeated: isRepeated(i) })),
});

/** (sum aScale bScale) + bias, in place of the sums. */
export const toFloatForm = (bias: boolean): Elementwise => ({
  name: bias ? "rescale+bias" : "rescale",
  elements: bias ? ["i32", "f32", "f32", "f32"] : ["i32", "f32", "f32"],
  result: "f32",
  short: true,
  value: (_, [sum, sa, sb, shift]) => {
    const y = f32x4.mul(f32x4.convert_i32x4_s(sum), f32x4.mul(sa, sb));
    return shift ? f32x4.add(y, shift) : y;
  },
});

/** What zero points add to sums of products of bytes that were multiplied as they are. */
interface Correction {
  /** Of the side that is no weight: there is a zero point of this type. */
  readonly zero?: "i8" | "u8";
  /** What that side's bytes, and zero points, are turned by. */
  readonly turn: number;
  /** Whether all sums are of the same weights. */
  readonly sameWeights: boolean;
  /** Whether weights have zero points. */
  readonly points: boolean;
}

/**
 * A run of sums without what zero points add to them. Operands: the sums; of weights less their zero points; the other side's
 * zero point; the sum of its bytes, and the weights' zero points.
 */
export function correctFunction(e: StepEmitter, { zero, turn, sameWeights, points }: Correction): RunFunction {
  const operands: RunOperand[] = [
    { element: "i32", repeated: false },
    { element: "i32", repeated: sameWeights },
  ];
  if (zero) operands.push({ element: zero, repeated: true });
  if (points) operands.push({ element: "i32", repeated: true }, { element: "i32", repeated: false });
  return runFunction(e, {
    name: `bytes/correct/${turn}`,
    operands,
    result: "i32",
    short: true,
    value(f, [sum, ofWeights, ...rest]) {
      const turned = f.hoist(i32x4.splat(turn));
      const point = zero ? i32x4.add(rest.shift()!, turned) : turned;
      const y = zero || turn ? i32x4.sub(sum, i32x4.mul(point, ofWeights)) : sum;
      return points ? i32x4.sub(y, i32x4.mul(rest[0], rest[1])) : y;
    },
  });
}
