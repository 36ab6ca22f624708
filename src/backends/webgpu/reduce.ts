/** Reductions along axes, and the positions of extremes. Rows by rows.ts. */
import * as ops from "../../ops/index.ts";
import { integerRange } from "../../ops/integers.ts";
import type { AnyOp } from "../../ops/op.ts";
import { type ReduceAttrs, reducedAxes } from "../../ops/reduce.ts";
import { toNumbers } from "../../tensor/convert.ts";
import { type DType, isBig, isFloat } from "../../tensor/dtype.ts";
import { normalizeAxis, sizeOf } from "../../tensor/shape.ts";
import { addition, type Combination } from "./reduction.ts";
import { isShort, type Rows, type RowValue, rowDispatch, rowsAlong } from "./rows.ts";
import { type GpuKernels, gpuKernel } from "./step.ts";
import { type GpuTarget, type Scalar, storageOf } from "./target.ts";
import { loaded, read, stored, wrapped, write } from "./wgsl.ts";

interface Reduction {
  /** What it begins with. Undefined: not for this dtype. */
  start(dtype: DType, scalar: Scalar): string | undefined;
  /** Of an element, before it is combined. */
  readonly element?: (v: string, scalar: Scalar) => string;
  combination(scalar: Scalar): Combination;
  /** Of the combined value: in f32 where `inFloat`, else in the scalar. */
  readonly finish?: (v: string, n: number, scalar: Scalar) => string;
  readonly inFloat?: boolean;
}

const zero = (_: DType, scalar: Scalar): string => `${scalar}()`;
/**
 * Products of 64-bit integers soon leave the 32 bits that the device has of them: those are for the host. Sums stay here:
 * models count tokens and positions by them.
 */
const ofNarrow =
  (start: Reduction["start"]): Reduction["start"] =>
  (dtype, scalar) =>
    isBig(dtype) ? undefined : start(dtype, scalar);
const extreme = (name: "max" | "min"): Reduction => ({
  start(dtype, scalar) {
    if (scalar === "f32") return name === "max" ? "-infinity()" : "infinity()";
    if (dtype === "bool") return name === "max" ? "0u" : "1u";
    // Of what the device holds of 64 bits, the ends are those of 32.
    const [low, high] = integerRange(isBig(dtype) ? (scalar === "i32" ? "i32" : "u32") : dtype);
    return `${scalar}(${name === "max" ? low : high})`;
  },
  combination: (scalar) =>
    scalar === "f32"
      ? { combine: (a, b) => `${name}Nan(${a}, ${b})` }
      : { combine: (a, b) => `${name}(${a}, ${b})`, subgroup: name === "max" ? "subgroupMax" : "subgroupMin" },
});
const sums = (element?: Reduction["element"], finish?: Reduction["finish"]): Reduction => ({
  start: zero,
  combination: () => addition,
  element,
  finish,
  inFloat: finish !== undefined,
});
const square = (v: string): string => `${v} * ${v}`;
const absolute = (v: string, scalar: Scalar): string => (scalar === "u32" ? v : `abs(${v})`);

const reductions: readonly [AnyOp & { op: { name: string } }, Reduction][] = [
  [ops.reduceSum, sums()],
  [
    ops.reduceMean,
    {
      ...sums(),
      // Integers: see `integerMean`.
      start: (_, scalar) => (scalar === "f32" ? "f32()" : undefined),
      finish: (v, n) => (n === 0 ? "notANumber()" : `${v} / f32(${n})`),
    },
  ],
  [ops.reduceLogSum, sums(undefined, (v) => `logOf(${v})`)],
  [ops.reduceL1, sums(absolute)],
  [ops.reduceSumSquare, { ...sums(square), start: ofNarrow(zero) }],
  [ops.reduceL2, { ...sums(square, (v) => `sqrt(${v})`), start: ofNarrow(zero) }],
  [
    ops.reduceProd,
    {
      start: ofNarrow((_, scalar) => `${scalar}(1)`),
      combination: () => ({ combine: (a, b) => `${a} * ${b}`, subgroup: "subgroupMul" }),
    },
  ],
  [ops.reduceMax, extreme("max")],
  [ops.reduceMin, extreme("min")],
];

/** One kernel for rows that an invocation takes alone, one for those that a workgroup shares. */
const forms: readonly (readonly [string, (rows: Rows) => boolean])[] = [
  ["rows", isShort],
  ["group", (rows) => !isShort(rows)],
];

/** The rows of a reduction with given axes, as its operator defines them. */
function rowsOf(
  op: AnyOp,
  x: { shape: readonly number[] },
  axes: Parameters<typeof toNumbers>[0] | undefined,
  attrs: ReduceAttrs,
): Rows {
  return rowsAlong(x.shape, reducedAxes(op.op.name, x.shape.length, axes && toNumbers(axes), attrs));
}

/** A result from f32, in the dtype: integers are truncated. */
const fromFloat = (scalar: Scalar, v: string): string => (scalar === "f32" ? v : `${scalar}(${v})`);

export const reduceKernels: GpuKernels = (target) => [
  ...forms.flatMap(([form, applies]) => [
    ...reductions.map(([op, reduction]) =>
      gpuKernel(op, `webgpu/${op.op.name}/${form}`, (inputs, [y], attrs) => {
        const [x, axes] = inputs;
        const rows = rowsOf(op, x, axes?.constant, attrs as ReduceAttrs);
        const storage = storageOf(target, x.dtype);
        const start = storage && reduction.start(x.dtype, storage.scalar);
        if (!applies(rows) || !storage || start === undefined) return undefined;
        const { scalar } = storage;
        const value: RowValue = { name: "together", type: scalar, ...reduction.combination(scalar) };
        const element = reduction.element ?? ((v: string) => v);
        const { finish, inFloat } = reduction;
        const result = (all: string): string => {
          if (!finish) return wrapped(y.dtype, all).replaceAll("U(", "u32(");
          return fromFloat(scalar, finish(inFloat && scalar !== "f32" ? `f32(${all})` : all, rows.n, scalar));
        };
        const dispatch = rowDispatch(target, rows, {
          bindings: [read("x", { input: 0 }, storage.element), write("y", { output: 0 }, storage.element)],
          values: [value],
          body: ({ each, all, once }) => `  var own = ${start};
${each("k", (at) => `let v = ${loaded(storage, 1, `x[${at}]`)}; own = ${value.combine("own", `(${element("v", scalar)})`)};`)}
  let total = ${all(value, "own")};
${once(`y[row] = ${stored(storage, 1, result("total"))};`)}`,
        });
        return { run: [dispatch] };
      }),
    ),
    integerMean(target, form, applies),
    logSumExp(target, form, applies),
    ...([ops.argMax, ops.argMin] as const).map((op) => argReduction(target, op, form, applies)),
  ]),
];

/** Sums in 64 bits, as vectors of the low and the high word: the mean fits in 32 where the sum may not. */
function integerMean(target: GpuTarget, form: string, applies: (rows: Rows) => boolean) {
  const op = ops.reduceMean;
  return gpuKernel(op, `webgpu/${op.op.name}/integers/${form}`, ([x, axes], _, attrs) => {
    const rows = rowsOf(op, x, axes?.constant, attrs);
    const storage = storageOf(target, x.dtype);
    if (!storage || storage.scalar === "f32" || !applies(rows)) return undefined;
    const { scalar } = storage;
    const sum: RowValue = { name: "together", type: "vec2u" as Scalar, combine: (a, b) => `plus(${a}, ${b})` };
    const signed = scalar === "i32";
    const declarations = `
fn plus(a: vec2u, b: vec2u) -> vec2u {
  let low = a.x + b.x;
  return vec2u(low, a.y + b.y + u32(low < a.x));
}
fn mean(total: vec2u) -> ${scalar} {
  let negative = ${signed ? "total.y >= 0x80000000u" : "false"};
  let sum = select(total, plus(~total, vec2u(1u, 0u)), negative);
  var quotient = 0u;
  var rest = 0u;
  for (var k = 64u; k > 0u; k--) {
    let bit = k - 1u;
    rest = (rest << 1u) | ((select(sum.x, sum.y, bit >= 32u) >> (bit & 31u)) & 1u);
    let fits = rest >= ${rows.n}u;
    rest = select(rest, rest - ${rows.n}u, fits);
    quotient = (quotient << 1u) | u32(fits);
  }
  return ${scalar}(select(quotient, 0u - quotient, negative));
}`;
    const widened = (v: string): string => `vec2u(u32(${v}), ${signed ? `select(0u, 0xffffffffu, ${v} < 0)` : "0u"})`;
    const dispatch = rowDispatch(target, rows, {
      bindings: [read("x", { input: 0 }, storage.element), write("y", { output: 0 }, storage.element)],
      values: [sum],
      declarations,
      body: ({ each, all, once }) => `  var own = vec2u();
${each("k", (at) => `let v = x[${at}]; own = plus(own, ${widened("v")});`)}
  let total = ${all(sum, "own")};
${once(`y[row] = ${rows.n === 0 ? `${scalar}()` : "mean(total)"};`)}`,
    });
    return { run: [dispatch] };
  });
}

function logSumExp(target: GpuTarget, form: string, applies: (rows: Rows) => boolean) {
  const op = ops.reduceLogSumExp;
  return gpuKernel(op, `webgpu/${op.op.name}/${form}`, ([x, axes], _, attrs) => {
    const rows = rowsOf(op, x, axes?.constant, attrs);
    const storage = storageOf(target, x.dtype);
    if (!storage || !applies(rows)) return undefined;
    const largest: RowValue = { name: "largest", type: "f32", combine: (a, b) => `maxNan(${a}, ${b})` };
    const sum: RowValue = { name: "together", type: "f32", ...addition };
    const v = (at: string) => `f32(x[${at}])`;
    const dispatch = rowDispatch(target, rows, {
      bindings: [read("x", { input: 0 }, storage.element), write("y", { output: 0 }, storage.element)],
      values: [largest, sum],
      body: ({ each, all, once }) => `  var top = -infinity();
${each("k", (at) => `top = maxNan(top, ${v(at)});`)}
  let most = ${all(largest, "top")};
  var own = 0.0;
${each("j", (at) => `own += exp(${v(at)} - most);`)}
  let total = ${all(sum, "own")};
${once(`let result = select(most + log(total), most, isInfinite(most) | isNan(most)); y[row] = ${stored(storage, 1, fromFloat(storage.scalar, "result"))};`)}`,
    });
    return { run: [dispatch] };
  });
}

/**
 * Positions and values are combined as vectors of two words; a position past the end loses to every other. The result is
 * an i64, which is an i32 here.
 */
function argReduction(target: GpuTarget, op: typeof ops.argMax, form: string, applies: (rows: Rows) => boolean) {
  return gpuKernel(op, `webgpu/${op.op.name}/${form}`, ([x], _, { axis = 0, selectLastIndex = false }) => {
    const axes = x.shape.length === 0 ? [] : [normalizeAxis(op.op.name, axis, x.shape.length)];
    const rows = rowsAlong(x.shape, axes);
    const storage = storageOf(target, x.dtype);
    if (!storage || !applies(rows) || sizeOf(x.shape) === 0) return undefined;
    const { scalar } = storage;
    const sign = op.op.name === "argMax" ? ">" : "<";
    const nan = isFloat(x.dtype);
    // NaN is beyond every number; of equals the first or the last.
    const declarations = `
fn better(a: vec2u, b: vec2u) -> vec2u {
  let x = bitcast<${scalar}>(a.x);
  let y = bitcast<${scalar}>(b.x);
  let xFirst = ${nan ? "isNan(x)" : "false"};
  let yFirst = ${nan ? "isNan(y)" : "false"};
  let equal = (x == y && !xFirst && !yFirst) || (xFirst && yFirst);
  let ahead = select((!yFirst && x ${sign} y) || (xFirst && !yFirst), a.y ${selectLastIndex ? ">" : "<"} b.y, equal);
  return select(select(b, a, ahead), select(b, a, b.y >= ${rows.n}u), a.y >= ${rows.n}u || b.y >= ${rows.n}u);
}`;
    const best = { name: "together", type: "vec2u" as Scalar, combine: (a: string, b: string) => `better(${a}, ${b})` };
    const dispatch = rowDispatch(target, rows, {
      bindings: [read("x", { input: 0 }, storage.element), write("y", { output: 0 }, "i32")],
      values: [best],
      declarations,
      body: ({ each, all, once }) => `  var own = vec2u(0u, ${rows.n}u);
${each("k", (at) => `own = better(own, vec2u(bitcast<u32>(${loaded(storage, 1, `x[${at}]`)}), k));`)}
  let total = ${all(best, "own")};
${once("y[row] = i32(total.y);")}`,
    });
    return { run: [dispatch] };
  });
}
