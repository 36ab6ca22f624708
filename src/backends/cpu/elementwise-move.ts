/**
 * Selecting and converting:
 * - `where`: one loop over runs for every dtype of one array element (elements are moved, not looked at), and the same
 *   for i64: a loop that sees both kinds is slow.
 * - `cast/direct`: TypedArray.set, which drops high bits, where both dtypes are what their arrays hold; floats to integers
 *   by a loop that looks for those out of range.
 * - `cast/big`: i64 from and to numbers through its two 32-bit halves, ten times faster than through BigInt.
 * - `cast/half`: f16 and bf16 to f32 by table, and back by the bits of the f32.
 */
import { cast, mostOf } from "../../ops/cast.ts";
import { not } from "../../ops/logical.ts";
import { where } from "../../ops/where.ts";
import { storeBigInts, wordsOf } from "../../tensor/convert.ts";
import { type DType, type Half, isFloat, isHalf, isInteger, type TypedArray } from "../../tensor/dtype.ts";
import { decodeTable, encodeFloats } from "../../tensor/float.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type HostStep, type Kernel, kernel } from "../backend.ts";
import { type Runs, runsOf } from "./elementwise-runs.ts";

function select(runs: Runs, c: Uint8Array, x: Float32Array, y: Float32Array, out: Float32Array): void {
  const [sc, sx, sy] = runs.steps;
  const [cs, xs, ys] = runs.starts;
  const { length, count } = runs;
  for (let r = 0, i = 0; r < count; r++) {
    let p = cs[r];
    let q = xs[r];
    let s = ys[r];
    for (const end = i + length; i < end; i++, p += sc, q += sx, s += sy) out[i] = c[p] !== 0 ? x[q] : y[s];
  }
}

/** The same for elements of 8 bytes. */
function selectBig(runs: Runs, c: Uint8Array, x: BigInt64Array, y: BigInt64Array, out: BigInt64Array): void {
  const [sc, sx, sy] = runs.steps;
  const [cs, xs, ys] = runs.starts;
  const { length, count } = runs;
  for (let r = 0, i = 0; r < count; r++) {
    let p = cs[r];
    let q = xs[r];
    let s = ys[r];
    for (const end = i + length; i < end; i++, p += sc, q += sx, s += sy) out[i] = c[p] !== 0 ? x[q] : y[s];
  }
}

const whereI64 = kernel(where, "cpu/where/i64", ([c, x, y], [out]): HostStep | undefined => {
  if (x.dtype !== "i64") return undefined;
  const runs = runsOf(out.shape, c.shape, x.shape, y.shape);
  return {
    inplace: true,
    run: ([p, q, s], [r]) =>
      selectBig(runs, p as Uint8Array, q as BigInt64Array, s as BigInt64Array, r as BigInt64Array),
  };
});

const whereAny = kernel(where, "cpu/where/any", ([c, x, y], [out]): HostStep | undefined => {
  if (x.dtype === "string") return undefined;
  const runs = runsOf(out.shape, c.shape, x.shape, y.shape);
  return {
    inplace: true,
    run: ([p, q, s], [r]) => select(runs, p as Uint8Array, q as Float32Array, s as Float32Array, r as Float32Array),
  };
});

const notBool = kernel(not, "cpu/not/bool", (): HostStep => {
  return {
    inplace: true,
    run([a], [b]) {
      const x = a as Uint8Array;
      const y = b as Uint8Array;
      for (let i = 0; i < y.length; i++) y[i] = x[i] === 0 ? 1 : 0;
    },
  };
});

/** dtypes whose arrays hold their values as numbers. */
const numbers: readonly DType[] = ["f32", "f64", "i32", "u32", "i16", "u16", "i8", "u8", "bool"];

function truth(x: ArrayLike<number>, y: Uint8Array): void {
  for (let i = 0; i < y.length; i++) y[i] = x[i] !== 0 ? 1 : 0;
}

/** A store to an array of integers truncates, and makes 0 of NaN. */
function truncate(x: Float32Array, y: Int32Array, most: number): void {
  const least = -(2 ** 31);
  for (let i = 0; i < y.length; i++) {
    const v = x[i];
    y[i] = v >= least && v <= most ? v : v > most ? most : v < least ? least : 0;
  }
}

const castDirect = kernel(cast, "cpu/cast/direct", ([x], [y]): HostStep | undefined => {
  if (!numbers.includes(x.dtype) || !numbers.includes(y.dtype)) return undefined;
  if (y.dtype === "bool") return { run: ([a], [b]) => truth(a as Float32Array, b as Uint8Array) };
  if (isFloat(x.dtype) && isInteger(y.dtype)) {
    const most = mostOf(y.dtype);
    return { run: ([a], [b]) => truncate(a as Float32Array, b as Int32Array, most) };
  }
  return { run: ([a], [b]) => (b as Float32Array).set(a as Float32Array) };
});

function numbersFromI64(x: Int32Array, y: TypedArray): void {
  for (let i = 0; i < y.length; i++) y[i] = x[2 * i + 1] * 4294967296 + (x[2 * i] >>> 0);
}
/** Integers keep the low half, and of that what fits them. */
function integersFromI64(x: Int32Array, y: TypedArray): void {
  for (let i = 0; i < y.length; i++) y[i] = x[2 * i];
}
function truthOfI64(x: Int32Array, y: TypedArray): void {
  for (let i = 0; i < y.length; i++) y[i] = (x[2 * i] | x[2 * i + 1]) !== 0 ? 1 : 0;
}
const castBig = kernel(cast, "cpu/cast/big", ([x], [y]): HostStep | undefined => {
  if (x.dtype === "i64" && numbers.includes(y.dtype)) {
    const loop = y.dtype === "bool" ? truthOfI64 : isFloat(y.dtype) ? numbersFromI64 : integersFromI64;
    return { run: ([a], [b]) => loop(wordsOf(a), b) };
  }
  if (y.dtype === "i64" && numbers.includes(x.dtype))
    return { run: ([a], [b]) => storeBigInts(a as Float32Array, b as BigInt64Array) };
  return undefined;
});

const halfOf = ({ dtype }: TensorType): Half | undefined => (isHalf(dtype) ? dtype : undefined);

const castHalf = kernel(cast, "cpu/cast/half", ([x], [y]): HostStep | undefined => {
  const [from, to] = [halfOf(x), halfOf(y)];
  if (from && y.dtype === "f32") {
    const table = decodeTable(from);
    return {
      run([a], [b]) {
        const src = a as Uint16Array;
        const dst = b as Float32Array;
        for (let i = 0; i < dst.length; i++) dst[i] = table[src[i]];
      },
    };
  }
  if (to && x.dtype === "f32") return { run: ([a], [b]) => encodeFloats(to, a as Float32Array, b as Uint16Array) };
  return undefined;
});

export const moveKernels: readonly Kernel<HostStep>[] = [whereI64, whereAny, notBool, castDirect, castBig, castHalf];
