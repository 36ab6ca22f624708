/**
 * Loops over i64, with the expression inside: V8 keeps BigInts between two such arrays in registers, as integers that
 * wrap. 1 to 3 ns an element, a division 13; by calls of a function for each element it is 25 and more.
 */
import * as ops from "../../ops/binary.ts";
import { clip } from "../../ops/clip.ts";
import * as compare from "../../ops/compare.ts";
import type { AnyOp } from "../../ops/op.ts";
import { abs, neg, sign } from "../../ops/unary.ts";
import { type HostStep, hostKernel, type Kernel } from "../backend.ts";
import { forRuns, type RunLoop, runsOf } from "./elementwise-runs.ts";

type Loop<Y = BigInt64Array> = RunLoop<BigInt64Array, Y>;

const add: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = a[p] + b[q];
};
const sub: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = a[p] - b[q];
};
const mul: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = BigInt.asIntN(64, a[p] * b[q]);
};
const div: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = b[q] === 0n ? 0n : BigInt.asIntN(64, a[p] / b[q]);
};
const truncatedMod: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = b[q] === 0n ? 0n : BigInt.asIntN(64, a[p] % b[q]);
};
const flooredMod: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) {
    const by = b[q];
    const r = by === 0n ? 0n : BigInt.asIntN(64, a[p] % by);
    y[i] = r !== 0n && r < 0n !== by < 0n ? BigInt.asIntN(64, r + by) : r;
  }
};
const min: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = b[q] < a[p] ? b[q] : a[p];
};
const max: Loop = (a, p, sa, b, q, sb, y, i, end) => {
  for (; i < end; i++, p += sa, q += sb) y[i] = b[q] > a[p] ? b[q] : a[p];
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

const binary = <Y>(op: AnyOp, loop: Loop<Y>, variant = "i64", fmod?: boolean): Kernel<HostStep> =>
  hostKernel(op, `cpu/${op.op.name}/${variant}`, ([a, b], [y], attrs) => {
    if (a.dtype !== "i64" || b.dtype !== "i64") return undefined;
    if (fmod !== undefined && (attrs.fmod ?? false) !== fmod) return undefined;
    const runs = runsOf(y.shape, a.shape, b.shape);
    return {
      inplace: y.dtype === "i64",
      run: ([p, q], [r]) => forRuns(loop, runs, p as BigInt64Array, q as BigInt64Array, r as Y),
    };
  });

type UnaryLoop = (x: BigInt64Array, y: BigInt64Array) => void;

const negate: UnaryLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = -x[i];
};
const absolute: UnaryLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] < 0n ? -x[i] : x[i];
};
const signs: UnaryLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] > 0n ? 1n : x[i] < 0n ? -1n : 0n;
};

const unary = (op: AnyOp, loop: UnaryLoop): Kernel<HostStep> =>
  hostKernel(op, `cpu/${op.op.name}/i64`, ([x]) =>
    x.dtype === "i64" ? { inplace: true, run: ([a], [b]) => loop(a as BigInt64Array, b as BigInt64Array) } : undefined,
  );

function clamp(x: BigInt64Array, y: BigInt64Array, low: bigint, high: bigint): void {
  for (let i = 0; i < y.length; i++) {
    const raised = x[i] < low ? low : x[i];
    y[i] = raised > high ? high : raised;
  }
}

/** Kernels of one operand. */
export const unaryI64Kernels: readonly Kernel<HostStep>[] = [
  unary(neg, negate),
  unary(abs, absolute),
  unary(sign, signs),
  hostKernel(clip, "cpu/clip/i64", ([x, min, max]) => {
    if (x.dtype !== "i64") return undefined;
    return {
      inplace: true,
      run([a, low, high], [b]) {
        const from = min ? (low[0] as bigint) : -(2n ** 63n);
        const to = max ? (high[0] as bigint) : 2n ** 63n - 1n;
        clamp(a as BigInt64Array, b as BigInt64Array, from, to);
      },
    };
  }),
];

/** Kernels of two operands. */
export const binaryI64Kernels: readonly Kernel<HostStep>[] = [
  binary(ops.add, add),
  binary(ops.sub, sub),
  binary(ops.mul, mul),
  binary(ops.div, div),
  binary(ops.mod, flooredMod, "i64", false),
  binary(ops.mod, truncatedMod, "truncated-i64", true),
  binary(ops.min, min),
  binary(ops.max, max),
  binary(compare.equal, equal),
  binary(compare.less, less),
  binary(compare.lessOrEqual, lessOrEqual),
  binary(compare.greater, greater),
  binary(compare.greaterOrEqual, greaterOrEqual),
];
