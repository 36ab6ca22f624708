/** Comparisons, logic, selection and casts, on the template of elementwise.ts. */
import { cast, castLike } from "../../ops/cast.ts";
import * as compare from "../../ops/compare.ts";
import { and, not, or, xor } from "../../ops/logical.ts";
import type { AnyOp } from "../../ops/op.ts";
import { where } from "../../ops/where.ts";
import { bytesOf, type DType } from "../../tensor/dtype.ts";
import { type Kernel, kernel } from "../backend.ts";
import { f32x4, i32x4, v128 } from "./assembler.ts";
import { binaryKernel, type Combine, combined, type Elementwise, elementwiseStep, wasmName } from "./elementwise.ts";
import { constant, type VectorFunction } from "./kernels/math.ts";
import type { Element } from "./kernels/vector.ts";
import type { WasmKernels, WasmStep } from "./step.ts";

const comparisons: readonly (readonly [op: AnyOp, f32: Combine, i32: Combine])[] = [
  [compare.equal, f32x4.eq, i32x4.eq],
  [compare.less, f32x4.lt, i32x4.lt_s],
  [compare.lessOrEqual, f32x4.le, i32x4.le_s],
  [compare.greater, f32x4.gt, i32x4.gt_s],
  [compare.greaterOrEqual, f32x4.ge, i32x4.ge_s],
];

const logic: readonly (readonly [op: AnyOp, mask: Combine])[] = [
  [and, v128.and],
  [or, v128.or],
  [xor, v128.xor],
];

const narrow: readonly DType[] = ["u8", "i8", "bool"];

/** What lanes a tensor travels in where only its value as a 32-bit integer counts. */
const integerElement = (dtype: DType): Element | undefined =>
  dtype === "i32" ? "i32" : narrow.includes(dtype) ? (dtype as Element) : undefined;

const comparisonKernel = ([op, f32, int]: (typeof comparisons)[number]): Kernel<WasmStep> =>
  binaryKernel(
    op,
    "lanes",
    (dtype) => {
      const element = dtype === "f32" ? "f32" : integerElement(dtype);
      const test = dtype === "f32" ? f32 : int;
      // True is -1 in its lane.
      const ordered = dtype === "bool" ? op === compare.equal : true;
      return element && ordered ? combined(op.op.name, element, "bool", (_, a, b) => test(a, b)) : undefined;
    },
    false,
  );

const whereKernel = kernel(where, wasmName(where, "words"), ([condition, x, y], [out]) => {
  // Bits are moved, whatever they mean.
  const width = bytesOf(x.dtype);
  if (width !== 4 && width !== 1) return undefined;
  const element = width === 4 ? "i32" : "u8";
  const form: Elementwise = {
    name: "where",
    elements: ["bool", element, element],
    result: element,
    short: true,
    value: (_, [c, p, q]) => v128.bitselect(p, q, c),
  };
  return elementwiseStep(form, [condition, x, y], out, true);
});

/** How a cast reads and writes its elements, and what it does to lanes in between. */
function castForm(from: DType, to: DType): Elementwise | undefined {
  const known = (d: DType): boolean => d === "f32" || d === "i32" || d === "i64" || narrow.includes(d);
  if (!known(from) || !known(to) || from === to) return undefined;
  const form = (element: Element, result: Element, value: VectorFunction): Elementwise => ({
    name: "cast",
    elements: [element],
    result,
    short: true,
    value: (f, [x]) => value(f, x),
  });
  const same: VectorFunction = (_, x) => x;
  const element = from as Element;
  const result = to as Element;
  if (from === "f32") {
    if (to === "bool") return form("f32", "bool", (f, x) => f32x4.ne(x, constant(f, 0)));
    return to === "i64" ? form("f32", "i64 as f32", same) : form("f32", result, (_, x) => i32x4.trunc_sat_f32x4_s(x));
  }
  if (to === "f32") {
    if (from === "i64") return form("i64 as f32", "f32", same);
    if (from === "bool") return form("bool", "f32", (f, x) => v128.and(x, constant(f, 1)));
    return form(element, "f32", (_, x) => f32x4.convert_i32x4_s(x));
  }
  // The words of an i64 are needed both to see whether it is zero: as f32 it is so if both are.
  if (to === "bool" && from === "i64") return form("i64 as f32", "bool", (f, x) => f32x4.ne(x, constant(f, 0)));
  if (to === "bool") return form(element, "bool", (_, x) => i32x4.ne(x, i32x4.splat(0)));
  return form(element, result, from === "bool" ? (_, x) => i32x4.neg(x) : same);
}

const castKernel = (op: AnyOp): Kernel<WasmStep> =>
  kernel(op, wasmName(op, "lanes"), ([x], [y]) => {
    const form = castForm(x.dtype, y.dtype);
    return form && elementwiseStep(form, [x], y, true);
  });

export const logicKernels: WasmKernels = () => [
  ...comparisons.map(comparisonKernel),
  ...logic.map(([op, mask]) =>
    binaryKernel(op, "bool", () => combined(op.op.name, "bool", "bool", (_, a, b) => mask(a, b)), true),
  ),
  kernel(not, wasmName(not, "bool"), ([x], [y]) =>
    elementwiseStep(
      { name: "not", elements: ["bool"], result: "bool", short: true, value: (_, [v]) => v128.not(v) },
      [x],
      y,
      true,
    ),
  ),
  whereKernel,
  castKernel(cast),
  castKernel(castLike),
];
