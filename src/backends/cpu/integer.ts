/**
 * Products and convolutions of 8-bit tensors. Zero points are subtracted first, into f32, where the differences are
 * exact; sums of their products are exact in the doubles of tile.ts, and two share one where vectors are not too long
 * (twice as fast: a convolution of 96x384x3 over 500 positions takes 10 ms in place of 32 with the plain product of 4x3
 * tiles). Then, where the operator asks for it, one pass rescales. Multiplying in i32 instead (Math.imul) is no faster:
 * V8 has no SIMD, and scalar doubles multiply twice a cycle.
 */

import { type ConvWindowAttrs, convGeometry } from "../../ops/conv.ts";
import { convInteger, convIntegerToFloat, qlinearConv } from "../../ops/conv-integer.ts";
import { matmulGeometry } from "../../ops/matmul.ts";
import { matmulInteger, matmulIntegerToFloat, qlinearMatmul } from "../../ops/matmul-integer.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { roundHalfEven } from "../../tensor/float.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { HostStep, Kernel, KernelInput, Prepack } from "../backend.ts";
import { kernel } from "../backend.ts";
import { directConv, packWeights, planConv, tiledConv } from "./conv.ts";
import { matricesOf } from "./matmul.ts";
import { arithmetic, carve, DenseSink, f32, type Lane, laneOf, packPanels, product, reserveProduct } from "./tile.ts";

type Bytes = Int8Array | Uint8Array;

const isByte = (t: TensorType): boolean => t.dtype === "i8" || t.dtype === "u8";
const isOne = (t: TensorType | undefined): boolean => t === undefined || sizeOf(t.shape) === 1;

/**
 * out[i] = x[i] - zero of its group: `each` elements in a row share a zero point; after the last one they start again.
 */
function withoutZero(x: TypedArray, zero: TypedArray | undefined, each: number, out: Float32Array): void {
  const zeros = (zero ?? [0]) as ArrayLike<number>;
  const source = x as Bytes;
  for (let at = 0, z = 0; at < source.length; z = z + 1 === zeros.length ? 0 : z + 1) {
    const v = zeros[z];
    for (const end = Math.min(at + each, source.length); at < end; at++) out[at] = source[at] - v;
  }
}

/** Stores saturate(round(sum factor) + zero) for sums [from, to). */
function rescale(sums: Int32Array, from: number, to: number, factor: number, zero: number, y: Bytes): void {
  const [low, high] = y instanceof Int8Array ? [-128, 127] : [0, 255];
  for (let i = from; i < to; i++) {
    const v = roundHalfEven(Math.fround(sums[i] * factor)) + zero;
    y[i] = Math.min(Math.max(v, low), high);
  }
}

/** Combined scale of x or a, of w or b, and of the output, rounded as the reference does. */
const factorOf = (a: number, b: number, y: number): number => Math.fround(Math.fround(a * b) / y);

/** How many moving vectors of k bytes share a lane in a product with `w`. */
function laneFor(k: number, w: TensorType, wZero: KernelInput | undefined): Lane {
  const zeros = wZero?.constant?.data as Bytes | undefined;
  const symmetric = w.dtype === "i8" && (!wZero || zeros?.every((z) => z === 0));
  return laneOf(k, 255, symmetric ? 128 : 255);
}

/** A number for each row of `x`, all its axes but the last. */
const isOfRows = (t: TensorType, x: TensorType): boolean =>
  t.shape.length === x.shape.length && t.shape.every((d, i) => d === (i < t.shape.length - 1 ? x.shape[i] : 1));

/** (a - aZero)(b - bZero) in i32: zero points for all, or along the rows of a and the columns of one b. */
function planMatmul(
  a: KernelInput,
  b: KernelInput,
  aZero: KernelInput | undefined,
  bZero: KernelInput | undefined,
  extra: number,
) {
  const natural = matmulGeometry("matmulInteger", a, b);
  const { g, aStarts, bStarts } = matricesOf(natural);
  const { m, n, k } = g;
  const vectorOf = (t: KernelInput | undefined, matrix: KernelInput): boolean =>
    isOne(t) || (matrix.shape.length === 2 && t!.shape.length === 1);
  if (m * n * k * aStarts.length === 0 || !vectorOf(bZero, b)) return undefined;
  if (!vectorOf(aZero, a) && !isOfRows(aZero!, a)) return undefined;
  const size = sizeOf(b.shape);
  const { row, column } = g.bStrides;
  const eachB = isOne(bZero) ? sizeOf(b.shape) : 1;
  const eachA = isOne(aZero) ? sizeOf(a.shape) : k;
  const pack = (source: TypedArray, zero: TypedArray | undefined, plain: Float32Array, panels: Float32Array): void => {
    withoutZero(source, zero, eachB, plain);
    for (let at = 0; at < size; at += n * k) packPanels(plain, at, n, column, k, row, panels, at);
  };
  const zeroB = bZero?.constant?.data as TypedArray | undefined;
  const prepacked = b.constant !== undefined && (bZero === undefined || zeroB !== undefined);
  const prepack: Prepack = {
    input: -1,
    key: `panels3/integer/${n}x${k}/${zeroB ?? ""}`,
    type: { dtype: "f32", shape: [size] },
    pack: (source, packed) => pack(source, zeroB, new Float32Array(source.length), f32(packed)),
  };
  const lengthB = prepacked ? 0 : size;
  const space = carve(0, sizeOf(a.shape), lengthB, lengthB, extra);
  const lane = laneFor(k, b, bZero);
  reserveProduct(m, k, lane);
  const moving = { vectors: arithmetic(m, g.aStrides.row), steps: arithmetic(k, g.aStrides.column) };
  return {
    bytes: space.bytes,
    n,
    prepack: (input: number): readonly Prepack[] | undefined => (prepacked ? [{ ...prepack, input }] : undefined),
    /** The `extra` elements of the workspace as i32. */
    sums(workspace: ArrayBufferView): Int32Array {
      const { buffer, byteOffset } = space.of(workspace).floats[3];
      return new Int32Array(buffer, byteOffset, extra);
    },
    run(
      a: TypedArray,
      aZero: TypedArray | undefined,
      b: TypedArray,
      bZero: TypedArray | undefined,
      y: Int32Array,
      workspace: ArrayBufferView,
    ): void {
      const { floats } = space.of(workspace);
      const [rows, plain, unpacked] = floats;
      withoutZero(a, aZero, eachA, rows);
      if (!prepacked) pack(b, bZero, plain, unpacked);
      const panels = prepacked ? f32(b) : unpacked;
      const sink = new DenseSink(y, n, 1, n);
      for (let i = 0; i < aStarts.length; i++) {
        sink.at = i * m * n;
        product(rows, aStarts[i], moving, panels, bStarts[i], n, sink, lane);
      }
    },
  };
}

const matmulIntegerKernel = kernel<HostStep, typeof matmulInteger>(
  matmulInteger,
  "cpu/matmulInteger/tile2x3",
  ([a, b, aZero, bZero]) => {
    const plan = planMatmul(a, b, aZero, bZero, 0);
    return (
      plan && {
        workspaceBytes: plan.bytes,
        prepack: plan.prepack(1),
        run: ([a, b, aZero, bZero], [y], workspace) => plan.run(a, aZero, b, bZero, y as Int32Array, workspace),
      }
    );
  },
);

const toFloatKernel = kernel<HostStep, typeof matmulIntegerToFloat>(
  matmulIntegerToFloat,
  "cpu/matmulIntegerToFloat/tile2x3",
  ([a, b, aScale, bScale, aZero, bZero], [out]) => {
    const size = sizeOf(out.shape);
    const plan = out.dtype === "f32" ? planMatmul(a, b, aZero, bZero, size) : undefined;
    if (!plan || !(isOne(bScale) || bScale.shape.length === 1)) return undefined;
    if (!isOne(aScale) && (b.shape.length < 2 || !isOfRows(aScale, out))) return undefined;
    const { n } = plan;
    const each = isOne(aScale) ? size : n;
    return {
      workspaceBytes: plan.bytes,
      prepack: plan.prepack(1),
      run([a, b, aScale, bScale, aZero, bZero, bias], [y], workspace) {
        const sums = plan.sums(workspace);
        plan.run(a, aZero, b, bZero, sums, workspace);
        const [sa, sb] = [f32(aScale), f32(bScale)];
        for (let at = 0, r = 0; at < size; at += each, r++)
          for (let c = 0; c < n; c++) {
            const factor = Math.fround(sa[r] * sb[sb.length === 1 ? 0 : c]);
            const shift = bias ? f32(bias)[c] : 0;
            for (let i = at + c; i < at + each; i += n) y[i] = sums[i] * factor + shift;
          }
      },
    };
  },
);

const qlinearMatmulKernel = kernel<HostStep, typeof qlinearMatmul>(
  qlinearMatmul,
  "cpu/qlinearMatmul/tile2x3",
  ([a, aScale, aZero, b, bScale, bZero, yScale], [out]) => {
    const scales = [aScale, bScale, yScale];
    if (![a, b, out].every(isByte) || !scales.every((s) => isOne(s) && s.dtype === "f32")) return undefined;
    const size = sizeOf(out.shape);
    const plan = planMatmul(a, b, aZero, bZero, size);
    return (
      plan && {
        workspaceBytes: plan.bytes,
        prepack: plan.prepack(3),
        run([a, aScale, aZero, b, bScale, bZero, yScale, yZero], [y], workspace) {
          const sums = plan.sums(workspace);
          plan.run(a, aZero, b, bZero, sums, workspace);
          const factor = factorOf(f32(aScale)[0], f32(bScale)[0], f32(yScale)[0]);
          rescale(sums, 0, size, factor, (yZero as Bytes)[0], y as Bytes);
        },
      }
    );
  },
);

/** (x - xZero) * (w - wZero) + bias in i32. */
function planIntegerConv(
  x: KernelInput,
  w: KernelInput,
  wZero: KernelInput | undefined,
  attrs: ConvWindowAttrs,
  extra: number,
) {
  const conv = planConv(convGeometry("convInteger", x, w, attrs), true);
  const direct = directConv(conv);
  const runner = direct ?? tiledConv(conv, laneFor(conv.windows.steps.length, w, wZero));
  if (!runner) return undefined;
  const size = sizeOf(w.shape);
  const each = isOne(wZero) ? size : size / conv.g.channelsOut;
  const pack = (source: TypedArray, zero: TypedArray | undefined, plain: Float32Array, out: Float32Array): void => {
    withoutZero(source, zero, each, direct ? out : plain);
    if (!direct) packWeights(conv, plain, out);
  };
  const zeroW = wZero?.constant?.data as TypedArray | undefined;
  const prepacked = w.constant !== undefined && (wZero === undefined || zeroW !== undefined);
  const prepack: Prepack = {
    input: -1,
    key: `integer/conv/${direct ? "direct" : "panels3"}/${conv.g.groups}/${zeroW ?? ""}`,
    type: { dtype: "f32", shape: [size] },
    pack: (source, packed) => pack(source, zeroW, new Float32Array(source.length), f32(packed)),
  };
  const space = carve(0, runner.floats, prepacked ? 0 : size, prepacked || direct ? 0 : size, extra);
  return {
    bytes: space.bytes,
    plane: conv.outputPlane,
    prepack: (input: number): readonly Prepack[] | undefined => (prepacked ? [{ ...prepack, input }] : undefined),
    sums(workspace: ArrayBufferView): Int32Array {
      const { buffer, byteOffset } = space.of(workspace).floats[3];
      return new Int32Array(buffer, byteOffset, extra);
    },
    run(
      x: TypedArray,
      xZero: TypedArray | undefined,
      w: TypedArray,
      wZero: TypedArray | undefined,
      bias: Int32Array | undefined,
      y: Int32Array,
      workspace: ArrayBufferView,
    ): void {
      const { floats } = space.of(workspace);
      const [padded, unpacked, plain] = floats;
      if (!prepacked) pack(w, wZero, plain, unpacked);
      const zero = xZero ? (xZero as Bytes)[0] : 0;
      const epilogue = { bias, residual: undefined, activation: undefined };
      runner.run(x, zero, prepacked ? f32(w) : unpacked, y, epilogue, padded);
    },
  };
}

const convIntegerKernel = kernel<HostStep, typeof convInteger>(
  convInteger,
  "cpu/convInteger/tile2x3",
  ([x, w, , wZero], _, attrs) => {
    const plan = planIntegerConv(x, w, wZero, attrs, 0);
    return (
      plan && {
        workspaceBytes: plan.bytes,
        prepack: plan.prepack(1),
        run: ([x, w, xZero, wZero], [y], workspace) =>
          plan.run(x, xZero, w, wZero, undefined, y as Int32Array, workspace),
      }
    );
  },
);

const convToFloatKernel = kernel<HostStep, typeof convIntegerToFloat>(
  convIntegerToFloat,
  "cpu/convIntegerToFloat/tile2x3",
  ([x, w, , , , wZero], [out], attrs) => {
    const size = sizeOf(out.shape);
    const plan = out.dtype === "f32" ? planIntegerConv(x, w, wZero, attrs, size) : undefined;
    if (!plan) return undefined;
    const { plane } = plan;
    const channels = out.shape[1];
    return {
      workspaceBytes: plan.bytes,
      prepack: plan.prepack(1),
      run([x, w, xScale, wScale, xZero, wZero, bias], [y], workspace) {
        const sums = plan.sums(workspace);
        plan.run(x, xZero, w, wZero, undefined, sums, workspace);
        const scales = f32(wScale);
        for (let at = 0, c = 0; at < size; at += plane, c = c + 1 === channels ? 0 : c + 1) {
          const factor = Math.fround(f32(xScale)[0] * scales[scales.length === 1 ? 0 : c]);
          const shift = bias ? f32(bias)[c] : 0;
          for (let i = at; i < at + plane; i++) y[i] = sums[i] * factor + shift;
        }
      },
    };
  },
);

const qlinearConvKernel = kernel<HostStep, typeof qlinearConv>(
  qlinearConv,
  "cpu/qlinearConv/tile2x3",
  ([x, xScale, , w, wScale, wZero, yScale], [out], attrs) => {
    if (![xScale, wScale, yScale].every((s) => s.dtype === "f32")) return undefined;
    const size = sizeOf(out.shape);
    const plan = planIntegerConv(x, w, wZero, attrs, size);
    if (!plan) return undefined;
    const { plane } = plan;
    const channels = out.shape[1];
    return {
      workspaceBytes: plan.bytes,
      prepack: plan.prepack(3),
      run([x, xScale, xZero, w, wScale, wZero, yScale, yZero, bias], [y], workspace) {
        const sums = plan.sums(workspace);
        plan.run(x, xZero, w, wZero, bias as Int32Array | undefined, sums, workspace);
        const scales = f32(wScale);
        for (let at = 0, c = 0; at < size; at += plane, c = c + 1 === channels ? 0 : c + 1) {
          const factor = factorOf(f32(xScale)[0], scales[scales.length === 1 ? 0 : c], f32(yScale)[0]);
          rescale(sums, at, at + plane, factor, (yZero as Bytes)[0], y as Bytes);
        }
      },
    };
  },
);

export const integerKernels: Kernel<HostStep>[] = [
  matmulIntegerKernel,
  toFloatKernel,
  qlinearMatmulKernel,
  convIntegerKernel,
  convToFloatKernel,
  qlinearConvKernel,
];
