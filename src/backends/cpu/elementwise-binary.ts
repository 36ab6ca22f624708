/**
 * Kernels of two operands with broadcasting, over the runs of elementwise-runs.ts. Simplest first:
 * - `any`: calls a function for each element; all number dtypes of 8 to 64 bits, and bigints. Results wrap on storing.
 * - `f32`: a loop per operator with the expression inside. A step of 0 or 1 serves vectors, scalars and repeats alike:
 *   the load of a repeated element is from L1, and V8 emits no vector code that it could stand in the way of.
 * - `i64`: the same in elementwise-i64.ts.
 * - `pow/f32`: without calls of Math.pow, but for what is not ordinary.
 * - `pow/constant`: the usual exponents without either.
 */
import * as ops from "../../ops/binary.ts";
import { bitwiseAnd, bitwiseOr, bitwiseXor } from "../../ops/bitwise.ts";
import * as compare from "../../ops/compare.ts";
import { and, or, xor } from "../../ops/logical.ts";
import type { AnyOp } from "../../ops/op.ts";
import { toF64 } from "../../tensor/convert.ts";
import { type DType, isBig, isFloat, type TypedArray } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { type HostStep, hostKernel, type Kernel, type KernelInput, kernel } from "../backend.ts";
import { binaryI64Kernels } from "./elementwise-i64.ts";
import { powF32, sigmoidF32 } from "./elementwise-math.ts";
import { forRuns, type RunLoop, type Runs, runsOf } from "./elementwise-runs.ts";
import { wordView } from "./movement-words.ts";

type Loop<Y = Float32Array> = RunLoop<Float32Array, Y>;

const add: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = a[p] + b[q];
};
const sub: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = a[p] - b[q];
};
const mul: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = a[p] * b[q];
};
const div: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = a[p] / b[q];
};
const min: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = Math.min(a[p], b[q]);
};
const max: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = Math.max(a[p], b[q]);
};
const prelu: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = a[p] < 0 ? a[p] * b[q] : a[p];
};
const equal: Loop<Uint8Array> = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = a[p] === b[q] ? 1 : 0;
};
const less: Loop<Uint8Array> = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = a[p] < b[q] ? 1 : 0;
};
const lessOrEqual: Loop<Uint8Array> = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = a[p] <= b[q] ? 1 : 0;
};
const greater: Loop<Uint8Array> = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = a[p] > b[q] ? 1 : 0;
};
const greaterOrEqual: Loop<Uint8Array> = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = a[p] >= b[q] ? 1 : 0;
};

const f32 = <Y extends TypedArray>(op: AnyOp, loop: Loop<Y>, inplace: boolean): Kernel<HostStep> =>
  kernel(op, `cpu/${op.op.name}/f32`, ([a, b], [y]) => {
    if (a.dtype !== "f32" || b.dtype !== "f32") return undefined;
    const runs = runsOf(y.shape, a.shape, b.shape);
    return { inplace, run: ([p, q], [r]) => forRuns(loop, runs, p as Float32Array, q as Float32Array, r as Y) };
  });

const arithmetic = (op: AnyOp, loop: Loop): Kernel<HostStep> => f32(op, loop, true);
const comparison = (op: AnyOp, loop: Loop<Uint8Array>): Kernel<HostStep> => f32(op, loop, false);

/** The same functions for numbers and bigints have the type of the former. */
type Combine = (a: number, b: number) => number;
type CombineBig = (a: bigint, b: bigint) => bigint;
interface Functions {
  float: Combine;
  /** Default: `float`, whose result wraps when it is stored. */
  int32?: Combine;
  big?: CombineBig;
}

const test =
  (f: (a: number | bigint, b: number | bigint) => boolean): Combine =>
  (a, b) =>
    f(a, b) ? 1 : 0;
const comparing = (f: (a: number | bigint, b: number | bigint) => boolean): Functions => ({
  float: test(f),
  big: test(f) as unknown as CombineBig,
});

// Quotients and remainders by 0 are infinite or NaN, and 0 when stored as an integer.
const functions: readonly (readonly [AnyOp, Functions])[] = [
  [ops.add, { float: (a, b) => a + b, big: (a, b) => a + b }],
  [ops.sub, { float: (a, b) => a - b, big: (a, b) => a - b }],
  [ops.mul, { float: (a, b) => a * b, int32: Math.imul, big: (a, b) => a * b }],
  [ops.div, { float: (a, b) => a / b, big: (a, b) => (b === 0n ? 0n : a / b) }],
  [ops.min, { float: Math.min, big: (a, b) => [a, b][Number(b < a)] }],
  [ops.max, { float: Math.max, big: (a, b) => [a, b][Number(b > a)] }],
  [compare.equal, comparing((a, b) => a === b)],
  [compare.less, comparing((a, b) => a < b)],
  [compare.lessOrEqual, comparing((a, b) => a <= b)],
  [compare.greater, comparing((a, b) => a > b)],
  [compare.greaterOrEqual, comparing((a, b) => a >= b)],
  [and, { float: (a, b) => a & b }],
  [or, { float: (a, b) => a | b }],
  [xor, { float: (a, b) => a ^ b }],
  [bitwiseAnd, { float: (a, b) => a & b, big: (a, b) => a & b }],
  [bitwiseOr, { float: (a, b) => a | b, big: (a, b) => a | b }],
  [bitwiseXor, { float: (a, b) => a ^ b, big: (a, b) => a ^ b }],
];

/** dtypes whose array holds their values: no decoding, and storing wraps as the dtype does. */
const direct: readonly DType[] = ["f32", "f64", "i32", "u32", "i16", "u16", "i8", "u8", "bool", "i64", "u64"];

function combine(runs: Runs, a: TypedArray, b: TypedArray, y: TypedArray, f: Combine): void {
  const [sa, sb] = runs.steps;
  const [as, bs] = runs.starts;
  const { length, count } = runs;
  for (let r = 0, i = 0; r < count; r++) {
    let p = as[r];
    let q = bs[r];
    for (const end = i + length; i < end; i++, p += sa, q += sb) y[i] = f(a[p] as number, b[q] as number);
  }
}

const any = ([op, { float, int32, big }]: readonly [AnyOp, Functions]): Kernel<HostStep> =>
  kernel(op, `cpu/${op.op.name}/any`, ([a, b], [y]) => {
    if (!direct.includes(a.dtype) || b.dtype !== a.dtype) return undefined;
    const f = isBig(a.dtype) ? (big as unknown as Combine) : isFloat(a.dtype) ? float : (int32 ?? float);
    if (!f) return undefined;
    const runs = runsOf(y.shape, a.shape, b.shape);
    return { inplace: y.dtype === a.dtype, run: ([p, q], [r]) => combine(runs, p, q, r, f) };
  });

/** Without negative zeros. */
function wholeRemainder(a: number, b: number): number {
  const r = b === 0 ? 0 : a % b;
  return r !== 0 && r < 0 !== b < 0 ? r + b : r;
}

const remainder = hostKernel(ops.mod, "cpu/mod/any", ([a, b], [y], { fmod = false }) => {
  if (!direct.includes(a.dtype) || b.dtype !== a.dtype || isBig(a.dtype)) return undefined;
  const runs = runsOf(y.shape, a.shape, b.shape);
  const whole = !isFloat(a.dtype);
  const f = fmod ? (p: number, q: number): number => p % q : whole ? wholeRemainder : ops.flooredRemainder;
  return { inplace: true, run: ([p, q], [r]) => combine(runs, p, q, r, f) };
});

/** The exponent where it is one constant number. */
function constantExponent(e: KernelInput): number | undefined {
  return e.constant && sizeOf(e.shape) === 1 && e.constant.dtype !== "string" ? toF64(e.constant)[0] : undefined;
}

type PowLoop = (x: Float32Array, y: Float32Array) => void;
const powLoops: ReadonlyMap<number, PowLoop> = new Map<number, PowLoop>([
  [
    2,
    (x, y) => {
      for (let i = 0; i < y.length; i++) y[i] = x[i] * x[i];
    },
  ],
  [
    3,
    (x, y) => {
      for (let i = 0; i < y.length; i++) y[i] = x[i] * x[i] * x[i];
    },
  ],
  [
    0.5,
    (x, y) => {
      for (let i = 0; i < y.length; i++) y[i] = Math.sqrt(x[i]);
    },
  ],
  [
    -1,
    (x, y) => {
      for (let i = 0; i < y.length; i++) y[i] = 1 / x[i];
    },
  ],
]);

const powConstant = kernel(ops.pow, "cpu/pow/constant", ([x, e], [y]): HostStep | undefined => {
  const exponent = constantExponent(e);
  const loop = exponent === undefined ? undefined : powLoops.get(exponent);
  if (!loop || x.dtype !== "f32" || sizeOf(y.shape) !== sizeOf(x.shape)) return undefined;
  return { inplace: true, run: ([a], [b]) => loop(a as Float32Array, b as Float32Array) };
});

const powers: (runs: Runs, x: Float32Array, bits: Int32Array, e: Float32Array, y: Float32Array) => void = (
  { steps: [sx, se], starts: [xs, es], length, count },
  x,
  bits,
  e,
  y,
) => {
  for (let r = 0, i = 0; r < count; r++) {
    let p = xs[r];
    let q = es[r];
    for (const end = i + length; i < end; i++, p += sx, q += se) y[i] = powF32(x[p], bits[p], e[q]);
  }
};

const powOfF32 = kernel(ops.pow, "cpu/pow/f32", ([x, e], [y]): HostStep | undefined => {
  if (x.dtype !== "f32" || e.dtype !== "f32") return undefined;
  const runs = runsOf(y.shape, x.shape, e.shape);
  const view = wordView();
  return {
    inplace: true,
    run: ([a, b], [r]) => powers(runs, a as Float32Array, view(a) as Int32Array, b as Float32Array, r as Float32Array),
  };
});

const powAny = kernel(ops.pow, "cpu/pow/any", ([x, e], [y]): HostStep | undefined => {
  if ((x.dtype !== "f32" && x.dtype !== "f64") || !direct.includes(e.dtype) || isBig(e.dtype)) return undefined;
  const runs = runsOf(y.shape, x.shape, e.shape);
  return { inplace: true, run: ([a, b], [r]) => combine(runs, a, b, r, ops.powF64) };
});

const swigluF32 = kernel(ops.swiglu, "cpu/swiglu/f32", ([a], _, { alpha = 1 }): HostStep | undefined => {
  if (a.dtype !== "f32") return undefined;
  return {
    inplace: true,
    run([p, q], [r]) {
      const g = p as Float32Array;
      const v = q as Float32Array;
      const y = r as Float32Array;
      for (let i = 0; i < y.length; i++) y[i] = g[i] * sigmoidF32(alpha * g[i]) * v[i];
    },
  };
});

export const binaryKernels: readonly Kernel<HostStep>[] = [
  arithmetic(ops.add, add),
  arithmetic(ops.sub, sub),
  arithmetic(ops.mul, mul),
  arithmetic(ops.div, div),
  arithmetic(ops.min, min),
  arithmetic(ops.max, max),
  arithmetic(ops.prelu, prelu),
  comparison(compare.equal, equal),
  comparison(compare.less, less),
  comparison(compare.lessOrEqual, lessOrEqual),
  comparison(compare.greater, greater),
  comparison(compare.greaterOrEqual, greaterOrEqual),
  powConstant,
  powOfF32,
  powAny,
  swigluF32,
  ...binaryI64Kernels,
  ...functions.map(any),
  remainder,
];
