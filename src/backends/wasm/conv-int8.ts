/**
 * Convolutions of 8-bit integers. Two neighbouring channels less their zero point go into one word, as 16-bit integers:
 * then the convolution of conv-gemm.ts serves, with words for floats and half of the channels, and the integers' product
 * of matmul-int8.ts. Padding is a word of zeros. Each part of the work makes the words of the images that it needs.
 */
import { type ConvWindowAttrs, convGeometry } from "../../ops/conv.ts";
import { convInteger, convIntegerToFloat, qlinearConv } from "../../ops/conv-integer.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { KernelInput, Prepack } from "../backend.ts";
import { f32x4, i8x16, i16x8, i32, i32x4, type Local, v128 } from "./assembler.ts";
import { type ConvBlock, emitGemmConv, layoutOf, sumsStride } from "./conv-gemm.ts";
import { type ConvShape, convShape, depthOfProduct, workOf } from "./conv-shape.ts";
import { isByte, isScalar, runOf, saturated, toFloatForm } from "./int8.ts";
import { tileRowsOf } from "./kernels/gemm.ts";
import { emitProduct, packRows } from "./kernels/gemm-prepacked.ts";
import { runArgs, runFunction } from "./kernels/vector.ts";
import { alignUp } from "./memory.ts";
import { addressOf, type StepEmitter, type WasmKernels, type WasmStep, type WasmTarget, wasmKernel } from "./step.ts";

const tileRows = tileRowsOf(0);

/** Words of channels two by two. The bytes of a plane are `size`, planes follow one another. */
function pairFunction(e: StepEmitter, dtype: string) {
  const name = `pairs/${dtype}`;
  const load = dtype === "i8" ? v128.load8x8_s : v128.load8x8_u;
  const params = { x: "i32", size: "i32", channels: "i32", zero: "i32", y: "i32" } as const;
  const words = (first: number) =>
    Array.from({ length: 16 }, (_, i) => 2 * (first + (i >> 2)) + (i & 1) + (i & 2 ? 16 : 0));
  return e.shared(name, (m) =>
    m.func({ name, params }, (f, { x, size, channels, zero, y }) => {
      const zeros = f.let(i16x8.splat(zero));
      const [i, second] = f.locals("i32", 2);
      const [a, b, mask] = f.locals("v128", 3);
      f.while(i32.gt_s(channels, 0), () => {
        // The last of an odd number has no neighbour: zeros, made of itself.
        f.set(second, i32.gt_s(channels, 1));
        f.set(mask, i32x4.splat(i32.sub(0, second)));
        f.set(second, i32.add(x, i32.mul(second, size)));
        f.forRange(i, 0, size, 8, () => {
          f.set(a, i16x8.sub(load(i32.add(x, i)), zeros));
          f.set(b, v128.and(i16x8.sub(load(i32.add(second, i)), zeros), mask));
          const to = i32.add(y, i32.shl(i, 2));
          f.v128.store(to, i8x16.shuffle(a, b, words(0)));
          f.v128.store(to, i8x16.shuffle(a, b, words(4)), 16);
        });
        f.increment(x, i32.shl(size, 1));
        f.increment(y, i32.shl(size, 2));
        f.increment(channels, -2);
      });
    }),
  );
}

interface IntegerConv {
  /** Of words: half of the channels. */
  readonly shape: ConvShape;
  readonly bytes: number;
  prepack(input: number): Prepack;
  /** @param finish for sums that do not stay what they are */
  emit(e: StepEmitter, at: { x: number; zero: number; w: number; y: number }, finish?: FinishRow): void;
}

/** A row of sums at `sums` (in the result, or what is kept of a block), of output channel `channel`; `y`: index of the first in the result. */
type FinishRow = (row: Record<"sums" | "channel" | "columns" | "y", Local<"i32">>) => void;

/** @param keepsSums results are narrower than sums: these have a place of their own, block by block */
function planConv(
  target: WasmTarget,
  x: KernelInput,
  w: KernelInput,
  xZero: KernelInput | undefined,
  wZero: KernelInput | undefined,
  attrs: ConvWindowAttrs,
  keepsSums: boolean,
): IntegerConv | undefined {
  const g = convGeometry("convInteger", x, w, attrs);
  const bytes = convShape(g);
  if (!bytes || !isByte(x) || !isByte(w) || !w.constant || (wZero && !wZero.constant) || !isScalar(xZero))
    return undefined;
  if (sizeOf(g.shape) === 0 || sizeOf(w.shape) === 0) return undefined;
  const channels = bytes.channelsIn;
  const shape = { ...bytes, channelsIn: Math.ceil(channels / 2) };
  const size = bytes.depth.input * bytes.rows.input * bytes.columns.input;
  const taps = bytes.depth.kernel * bytes.rows.kernel * bytes.columns.kernel;
  const k = depthOfProduct(shape);
  const rows = bytes.channelsOut;
  const layout = layoutOf(shape);
  // The last words of an image go by eight, past its end.
  const imageBytes = alignUp(4 * shape.channelsIn * size + 32);
  const sumsBytes = keepsSums ? alignUp(rows * sumsStride(layout)) : 0;
  const own = alignUp(layout.bytes) + imageBytes + sumsBytes;
  const zeros = wZero?.constant?.data as TypedArray | undefined;
  return {
    shape,
    bytes: own * target.threads,
    prepack: (input) => ({
      input,
      key: `pairs/${tileRows}/${shape.groups}/${zeros ?? ""}`,
      type: { dtype: "i32", shape: [shape.groups * rows * k] },
      pack(source, packed) {
        packRows({ groups: shape.groups, rows, k, tileRows }, (at, first, height) => {
          for (let i = 0; i < height; i++) {
            const channel = first + i;
            const zero = Number(zeros?.[zeros.length === 1 ? 0 : channel] ?? 0);
            for (let c = 0, to = at + i; c < channels; c += 2)
              for (let tap = 0; tap < taps; tap++, to += height) {
                const from = (channel * channels + c) * taps + tap;
                const low = (source[from] as number) - zero;
                const high = c + 1 < channels ? (source[from + taps] as number) - zero : 0;
                packed[to] = (low & 0xffff) | (high << 16);
              }
          }
        });
      },
    }),
    emit(e, at, finish) {
      const { f } = e;
      const name = "product/integers";
      const product = e.shared(name, (m) => emitProduct(m, { name, fma: 0, integers: "pairs" }));
      const pair = pairFunction(e, x.dtype);
      const workspace = f.let(i32.add(addressOf(e.workspace, e.thread, own), 0));
      const image = f.let(i32.add(workspace, alignUp(layout.bytes)));
      const sums = f.let(i32.add(image, imageBytes));
      const zero = at.zero === 0 ? 0 : x.dtype === "i8" ? i32.load8_s(at.zero) : i32.load8_u(at.zero);
      const plane = shape.depth.output * shape.rows.output * shape.columns.output;
      const finishBlock = ({ channel, rows, columns, y }: ConvBlock): void => {
        const first = keepsSums ? sums : i32.add(i32.shl(y, 2), at.y);
        const row = { sums: f.let(first), channel: f.let(i32.add(channel, 0)), columns, y };
        const left = f.let(i32.add(rows, 0));
        f.while(left, () => {
          finish!(row);
          f.increment(row.sums, keepsSums ? sumsStride(layout) : 4 * plane);
          f.increment(row.channel, 1);
          f.increment(y, plane);
          f.increment(left, -1);
        });
      };
      emitGemmConv(e, shape, layout, {
        multiply: (args) => f.call(product, args),
        tileRows,
        form: { bias: false, residual: false },
        packed: at.w,
        workspace,
        at: { x: at.x, bias: 0, residual: 0, y: at.y },
        image(group, fresh) {
          const from = i32.add(i32.mul(group, channels * size), at.x);
          f.if(fresh, () => f.call(pair, { x: from, size, channels, zero, y: image }));
          return image;
        },
        sums: keepsSums ? { at: sums, finish: finishBlock } : undefined,
        finish: finish && !keepsSums ? finishBlock : undefined,
      });
    },
  };
}

/** saturate(round((sum + bias) xScale wScale / yScale) + yZero); what is not the sum is one number for the row. */
function requantize(e: StepEmitter, dtype: "i8" | "u8", bias: boolean) {
  const operands = [
    { element: "i32", repeated: false },
    ...(["f32", "f32", "f32", dtype] as const).map((element) => ({ element, repeated: true })),
    ...(bias ? [{ element: "i32", repeated: true } as const] : []),
  ] as const;
  return runFunction(e, {
    name: "requantizeRow",
    operands,
    result: dtype,
    short: true,
    value(f, [sum, sx, sw, sy, zero, shift]) {
      const factor = f32x4.div(f32x4.mul(sx, sw), sy);
      const total = f32x4.convert_i32x4_s(shift ? i32x4.add(sum, shift) : sum);
      return saturated(f, f32x4.mul(total, factor), zero, dtype);
    },
  });
}

const isF32 = (t: TensorType): boolean => t.dtype === "f32";

export const convInt8Kernels: WasmKernels = (target) => [
  wasmKernel(convInteger, "wasm/convInteger/gemm", ([x, w, xZero, wZero], _, attrs) => {
    const conv = planConv(target, x, w, xZero, wZero, attrs, false);
    if (!conv) return undefined;
    return {
      workspaceBytes: conv.bytes,
      work: workOf(conv.shape),
      prepack: [conv.prepack(1)],
      emit: (e) => conv.emit(e, { x: e.inputs[0], w: e.inputs[1], zero: e.inputs[2], y: e.outputs[0] }),
    };
  }),
  wasmKernel(convIntegerToFloat, "wasm/convIntegerToFloat/gemm", (inputs, [y], attrs) => {
    const [x, w, , wScale, xZero, wZero, bias] = inputs;
    const conv = y.dtype === "f32" ? planConv(target, x, w, xZero, wZero, attrs, false) : undefined;
    if (!conv) return undefined;
    return {
      workspaceBytes: conv.bytes,
      work: workOf(conv.shape),
      prepack: [conv.prepack(1)],
      emit(e) {
        const [xAt, wAt, xScaleAt, wScaleAt, xZeroAt, , biasAt] = e.inputs;
        const run = runFunction(
          e,
          runOf(toFloatForm(bias !== undefined), (i) => i > 0),
        );
        conv.emit(e, { x: xAt, w: wAt, zero: xZeroAt, y: e.outputs[0] }, (row) => {
          const ofChannel = (at: number) => i32.add(i32.shl(row.channel, 2), at);
          const scale = isScalar(wScale) ? wScaleAt : ofChannel(wScaleAt);
          const operands = [row.sums, xScaleAt, scale, ...(bias ? [ofChannel(biasAt)] : [])];
          e.f.call(run, runArgs(operands, i32.add(i32.shl(row.y, 2), e.outputs[0]), row.columns));
        });
      },
    } satisfies WasmStep;
  }),
  wasmKernel(qlinearConv, "wasm/qlinearConv/gemm", (inputs, [y], attrs) => {
    const [x, xScale, xZero, w, wScale, wZero, yScale, , bias] = inputs;
    const conv = planConv(target, x, w, xZero, wZero, attrs, true);
    if (!conv || ![xScale, wScale, yScale].every(isF32)) return undefined;
    return {
      workspaceBytes: conv.bytes,
      work: workOf(conv.shape),
      prepack: [conv.prepack(3)],
      emit(e) {
        const [xAt, xScaleAt, xZeroAt, wAt, wScaleAt, , yScaleAt, yZeroAt, biasAt] = e.inputs;
        const run = requantize(e, y.dtype as "i8" | "u8", bias !== undefined);
        conv.emit(e, { x: xAt, w: wAt, zero: xZeroAt, y: e.outputs[0] }, (row) => {
          const ofChannel = (at: number) => i32.add(i32.shl(row.channel, 2), at);
          const scale = isScalar(wScale) ? wScaleAt : ofChannel(wScaleAt);
          const operands = [row.sums, xScaleAt, scale, yScaleAt, yZeroAt, ...(bias ? [ofChannel(biasAt)] : [])];
          e.f.call(run, runArgs(operands, i32.add(row.y, e.outputs[0]), row.columns));
        });
      },
    } satisfies WasmStep;
  }),
];
