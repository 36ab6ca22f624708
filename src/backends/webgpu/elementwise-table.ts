/** One-line expressions of elementwise operators, for the template in elementwise.ts. */
import { activationOf } from "../../ops/activation.ts";
import * as ops from "../../ops/index.ts";
import type { AnyOp } from "../../ops/op.ts";
import { activationOps } from "../../ops/unary.ts";
import { type DType, dtypes, isBig, isFloat } from "../../tensor/dtype.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { activated } from "./activations.ts";
import { elementwiseStep } from "./elementwise.ts";
import { type GpuKernels, gpuKernel } from "./step.ts";
import { type GpuTarget, type Scalar, storageOf } from "./target.ts";
import { splat, wrapped } from "./wgsl.ts";

/** By what the first input is computed in. Missing: not for such tensors. Integer results are wrapped to their dtype. */
type Forms<Args extends string[]> = Partial<Record<Scalar, (...args: Args) => string>>;
type Unary = Forms<[x: string]>;
type Binary = Forms<[a: string, b: string]>;

const all = <Args extends string[]>(form: (...args: Args) => string): Forms<Args> => ({
  f32: form,
  i32: form,
  u32: form,
});
const integers = <Args extends string[]>(form: (...args: Args) => string): Forms<Args> => ({ i32: form, u32: form });
const floats = (name: string): Unary => ({ f32: (x) => `${name}(${x})` });
const condition = (test: string): string => `select(U(0u), U(1u), ${test})`;

const unary: readonly [AnyOp, Unary][] = [
  [ops.abs, { f32: (x) => `abs(${x})`, i32: (x) => `abs(${x})`, u32: (x) => x }],
  [ops.neg, { f32: (x) => `-${x}`, i32: (x) => `-${x}` }],
  [ops.sign, { f32: (x) => `signOf(${x})`, i32: (x) => `sign(${x})`, u32: (x) => `min(${x}, U(1u))` }],
  [ops.floor, floats("floor")],
  [ops.ceil, floats("ceil")],
  [ops.round, floats("round")],
  [ops.sqrt, floats("sqrt")],
  [ops.reciprocal, { f32: (x) => `T(1.0) / ${x}` }],
  [ops.exp, floats("expNan")],
  [ops.log, floats("logOf")],
  [ops.erf, { f32: (x) => `erf(${x})`, i32: (x) => `I(erf(T(${x})))`, u32: () => "U(0u)" }],
  [ops.sinh, floats("sinh")],
  [ops.cosh, floats("cosh")],
  [ops.not, { u32: (x) => `(U(1u) - ${x})` }],
  [ops.bitwiseNot, integers((x) => `~${x}`)],
];

const binary: readonly [AnyOp, Binary][] = [
  [ops.add, all((a, b) => `${a} + ${b}`)],
  [ops.sub, all((a, b) => `${a} - ${b}`)],
  [ops.mul, all((a, b) => `${a} * ${b}`)],
  [
    ops.div,
    { f32: (a, b) => `${a} / ${b}`, i32: (a, b) => `divideI(${a}, ${b})`, u32: (a, b) => `divideU(${a}, ${b})` },
  ],
  [ops.min, { ...integers((a, b) => `min(${a}, ${b})`), f32: (a, b) => `minNan(${a}, ${b})` }],
  [ops.max, { ...integers((a, b) => `max(${a}, ${b})`), f32: (a, b) => `maxNan(${a}, ${b})` }],
  [
    ops.prelu,
    {
      f32: (x, s) => `select(${x}, ${s} * ${x}, ${x} < T(0.0))`,
      i32: (x, s) => `select(${x}, ${s} * ${x}, ${x} < I(0))`,
      u32: (x) => x,
    },
  ],
  [ops.bitwiseAnd, integers((a, b) => `${a} & ${b}`)],
  [ops.bitwiseOr, integers((a, b) => `${a} | ${b}`)],
  [ops.bitwiseXor, integers((a, b) => `${a} ^ ${b}`)],
  [ops.and, { u32: (a, b) => `${a} & ${b}` }],
  [ops.or, { u32: (a, b) => `${a} | ${b}` }],
  [ops.xor, { u32: (a, b) => `${a} ^ ${b}` }],
];

const comparisons: readonly [AnyOp, string][] = [
  [ops.equal, "=="],
  [ops.greater, ">"],
  [ops.greaterOrEqual, ">="],
  [ops.less, "<"],
  [ops.lessOrEqual, "<="],
];

/** Values of these dtypes need no wrapping as results of anything. */
const finish = (dtype: DType, value: string): string =>
  dtype === "bool" || isFloat(dtype) ? value : wrapped(dtype, `(${value})`);

/** The value of an element converted from one dtype to another, by the rules of `cast`. Undefined: not here. */
function converted(target: GpuTarget, from: DType, to: DType): ((x: string) => string) | undefined {
  const source = storageOf(target, from)?.scalar;
  const result = storageOf(target, to)?.scalar;
  if (!source || !result) return undefined;
  if (from === to) return (x) => x;
  // Of 64 bits the device has 32, which say nothing of numbers that only the other sign's have.
  if (isBig(to) && source !== "f32" && source !== result && (result === "u32" || dtypes[from].bits >= 32))
    return undefined;
  if (to === "bool") {
    if (source === "f32") return (x) => condition(`(${x} != T(0.0)) | isNan(${x})`);
    return (x) => condition(`${x} != ${source === "i32" ? "I(0)" : "U(0u)"}`);
  }
  if (result === "f32") {
    const round = to === "bf16" ? "roundBf16" : to === "f16" && !target.f16 ? "roundF16" : "T";
    return (x) => `${round}(${source === "f32" ? x : `T(${x})`})`;
  }
  const wide = dtypes[to].bits >= 32;
  if (source === "f32") {
    if (result === "i32") return (x) => wrapped(to, `integerOf(${x})`);
    return (x) => (wide ? `wordOf(${x})` : wrapped(to, `bitcast<U>(integerOf(${x}))`));
  }
  return (x) => wrapped(to, source === result ? x : `bitcast<${result === "i32" ? "I" : "U"}>(${x})`);
}

export const elementwiseKernels: GpuKernels = (target) => {
  const scalar = (t: TensorType): Scalar | undefined => storageOf(target, t.dtype)?.scalar;
  const step = (
    inputs: readonly (TensorType | undefined)[],
    output: TensorType,
    value: (...args: string[]) => string,
  ) =>
    elementwiseStep(target, {
      output,
      operands: inputs.flatMap((type, input) => (type ? [{ input, type }] : [])),
      value: (args) => finish(output.dtype, value(...args)),
    });
  const name = (op: AnyOp): string => `webgpu/${op.op.name}`;
  const formOf = <A extends string[]>(forms: Forms<A>, x: TensorType) => {
    const s = scalar(x);
    return s && forms[s];
  };
  return [
    ...unary.map(([op, forms]) =>
      gpuKernel(op, name(op), ([x], [y]) => {
        const form = formOf(forms, x);
        return form && step([x], y, form);
      }),
    ),
    ...binary.map(([op, forms]) =>
      gpuKernel(op, name(op), ([a, b], [y]) => {
        const form = formOf(forms, a);
        return form && step([a, b], y, form);
      }),
    ),
    ...comparisons.map(([op, sign]) =>
      gpuKernel(op, name(op), ([a, b], [y]) => step([a, b], y, (p, q) => condition(`${p} ${sign} ${q}`))),
    ),
    ...activationOps
      .filter((op) => op !== ops.relu)
      .map((op) =>
        gpuKernel(op, name(op), ([x], [y], attrs) => {
          const a = activationOf(op.op.name, attrs as Record<string, unknown>);
          return step([x], y, (v) => activated(a, v));
        }),
      ),
    gpuKernel(ops.relu, name(ops.relu), ([x], [y]) => {
      const zero = { f32: "maxNan(@, T(0.0))", i32: "max(@, I(0))", u32: "@" };
      const s = scalar(x);
      return s && step([x], y, (v) => zero[s].replace("@", v));
    }),
    gpuKernel(ops.shrink, name(ops.shrink), ([x], [y], { bias = 0, lambda = 0.5 }) => {
      const s = scalar(x);
      const [low, high] = [splat(-lambda), splat(lambda)];
      const shrunk = (v: string) =>
        `select(select(T(0.0), ${v} - ${splat(bias)}, ${v} > ${high}), ${v} + ${splat(bias)}, ${v} < ${low})`;
      if (s === "f32") return step([x], y, shrunk);
      const back = s === "i32" ? (v: string) => `I(${v})` : (v: string) => `bitcast<U>(I(${v}))`;
      return s && step([x], y, (v) => back(shrunk(`T(${v})`)));
    }),
    gpuKernel(ops.swiglu, name(ops.swiglu), ([a, b], [y], { alpha = 1 }) =>
      step([a, b], y, (v, w) => `${v} * sigmoid(${splat(alpha)} * ${v}) * ${w}`),
    ),
    gpuKernel(ops.mod, name(ops.mod), ([a, b], [y], { fmod = false }) => {
      const s = scalar(a);
      const forms = fmod
        ? { f32: "remainder", i32: "remainderI", u32: "remainderU" }
        : { f32: "flooredRemainder", i32: "flooredRemainderI", u32: "remainderU" };
      return s && step([a, b], y, (v, w) => `${forms[s]}(${v}, ${w})`);
    }),
    gpuKernel(ops.pow, name(ops.pow), ([x, e], [y]) => {
      const [s, k] = [scalar(x), scalar(e)];
      if (!s || !k) return undefined;
      if (s === "f32") return step([x, e], y, (v, w) => `power(${v}, ${k === "f32" ? w : `T(${w})`})`);
      if (k === "f32") return step([x, e], y, (v, w) => `${s === "i32" ? "I" : "U"}(power(T(${v}), ${w}))`);
      if (s === "i32") return step([x, e], y, (v, w) => `powerI(${v}, ${k === "i32" ? w : `bitcast<I>(${w})`})`);
      return k === "u32" ? step([x, e], y, (v, w) => `powerU(${v}, ${w})`) : undefined;
    }),
    gpuKernel(ops.bitShift, name(ops.bitShift), ([a, b], [y], { direction }) => {
      const s = scalar(a);
      const { bits } = dtypes[a.dtype];
      // i64 is narrowed: what would be shifted past bit 31 is lost.
      if (!s || bits > 32) return undefined;
      const amount = (n: string) => `min(bitcast<U>(${n}), U(31u))`;
      const beyond = (n: string) => `bitcast<U>(${n}) >= U(${bits}u)`;
      if (direction === "left")
        return step(
          [a, b],
          y,
          (v, n) => `select(${v} << ${amount(n)}, ${s === "i32" ? "I(0)" : "U(0u)"}, ${beyond(n)})`,
        );
      if (s === "i32") return step([a, b], y, (v, n) => `${v} >> ${amount(n)}`);
      return step([a, b], y, (v, n) => `select(${v} >> ${amount(n)}, U(0u), ${beyond(n)})`);
    }),
    gpuKernel(ops.isNan, name(ops.isNan), ([x], [y]) => step([x], y, (v) => condition(`isNan(${v})`))),
    gpuKernel(ops.isInf, name(ops.isInf), ([x], [y], { detectNegative = true, detectPositive = true }) => {
      const sides = [detectNegative && "@ < T(0.0)", detectPositive && "@ > T(0.0)"].filter((s) => s !== false);
      if (sides.length === 0) return step([x], y, () => "U(0u)");
      return step([x], y, (v) =>
        condition(`isInfinite(${v}) & (${sides.map((side) => `(${side.replace("@", v)})`).join(" | ")})`),
      );
    }),
    gpuKernel(ops.where, name(ops.where), ([c, a, b], [y]) =>
      step([c, a, b], y, (test, v, w) => `select(${w}, ${v}, ${test} != U(0u))`),
    ),
    gpuKernel(ops.clip, name(ops.clip), ([x, min, max], [y]) => {
      const scalarShape = (t: TensorType | undefined) => t && { dtype: t.dtype, shape: [] };
      const f = scalar(x) === "f32";
      const [lower, upper] = f ? ["maxNan", "minNan"] : ["max", "min"];
      return step([x, scalarShape(min), scalarShape(max)], y, (v, ...bounds) => {
        const raised = min ? `${lower}(${v}, ${bounds[0]})` : v;
        return max ? `${upper}(${raised}, ${bounds[bounds.length - 1]})` : raised;
      });
    }),
    ...[ops.cast, ops.castLike].map((op: AnyOp) =>
      gpuKernel(op, name(op), ([x], [y]) => {
        const value = converted(target, x.dtype, y.dtype);
        return value && step([x], y, value);
      }),
    ),
    gpuKernel(ops.bitCast, name(ops.bitCast), ([x], [y]) => {
      const [s, r] = [scalar(x), scalar(y)];
      const { bits } = dtypes[x.dtype];
      if (!s || !r || (bits !== 32 && (s === "f32" || r === "f32")) || bits > 32) return undefined;
      return step([x], y, (v) => `bitcast<${{ f32: "T", i32: "I", u32: "U" }[r]}>(${v})`);
    }),
  ];
};
