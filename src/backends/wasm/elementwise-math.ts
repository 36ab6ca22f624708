/** Elementwise operators that fewer models have, on the template of elementwise.ts. */
import * as ops from "../../ops/binary.ts";
import * as unary from "../../ops/unary.ts";
import { toF64 } from "../../tensor/convert.ts";
import type { DType } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { kernel } from "../backend.ts";
import { type Expr, f32x4, type Local, v128 } from "./assembler.ts";
import {
  binaryKernel,
  type CombineIn,
  combined,
  type Elementwise,
  elementwiseStep,
  mapped,
  unaryKernel,
  wasmName,
} from "./elementwise.ts";
import { cos, pow, sin } from "./kernels/double.ts";
import { constant, sigmoid, type VectorFunction } from "./kernels/math.ts";
import type { WasmKernels } from "./step.ts";

type V = Expr<"v128">;

const prelu: CombineIn = (f, x, slope) => v128.bitselect(f32x4.mul(x, slope), x, f32x4.lt(x, constant(f, 0)));
const swiglu =
  (alpha: number): CombineIn =>
  (f, a, b) =>
    f32x4.mul(f32x4.mul(a, sigmoid(f, f32x4.mul(a, constant(f, alpha)))), b);

const onlyF32 = (form: Elementwise) => (dtype: DType) => (dtype === "f32" ? form : undefined);

/** The exponents that are a few multiplications. */
const powers: ReadonlyMap<number, (f: Parameters<VectorFunction>[0], x: Local<"v128">) => V> = new Map([
  [0.5, (_, x) => f32x4.sqrt(x)],
  [-0.5, (f, x) => f32x4.div(constant(f, 1), f32x4.sqrt(x))],
  [-1, (f, x) => f32x4.div(constant(f, 1), x)],
  [2, (_, x) => f32x4.mul(x, x)],
  [3, (_, x) => f32x4.mul(f32x4.mul(x, x), x)],
]);

const powKernel = kernel(ops.pow, wasmName(ops.pow, "constant"), ([x, e], [y]) => {
  const exponent = e.constant && sizeOf(e.shape) === 1 ? toF64(e.constant)[0] : undefined;
  const power = exponent === undefined ? undefined : powers.get(exponent);
  if (!power || x.dtype !== "f32" || sizeOf(x.shape) !== sizeOf(y.shape)) return undefined;
  const make: VectorFunction = (f, v) => power(f, f.let(v));
  // What the exponent is decides the code.
  return { ...elementwiseStep(mapped(`pow${exponent}`, { make, short: true }), [x], y, true), alike: false };
});

export const mathKernels: WasmKernels = () => [
  binaryKernel(ops.prelu, "f32", onlyF32(combined("prelu", "f32", "f32", prelu)), true),
  kernel(ops.swiglu, wasmName(ops.swiglu, "f32"), ([a, b], [y], { alpha = 1 }) =>
    a.dtype === "f32"
      ? elementwiseStep(combined(`swiglu(${alpha})`, "f32", "f32", swiglu(alpha), false), [a, b], y, true)
      : undefined,
  ),
  powKernel,
  binaryKernel(ops.pow, "f32", onlyF32(combined("pow", "f32", "f32", pow, false)), true),
  unaryKernel(unary.sin, () => ["sin", { make: sin }]),
  unaryKernel(unary.cos, () => ["cos", { make: cos }]),
];
