/**
 * Convolutions of 8-bit integers. Two neighbouring channels less their zero point go into one word, as 16-bit integers:
 * then the convolution of conv-gemm.ts serves, with words for floats and half of the channels, and the integers' product
 * of matmul-int8.ts. Padding is a word of zeros. Each part of the work makes the words of the images that it needs.
 *
 * Or four channels as bytes, on hosts that multiply them at once (`WasmFeatures.dotAdd`), where weights have no zero points but
 * that of signed bytes: padding is then the image's, and what it adds to each sum is known from the weights.
 */
import { type ConvWindowAttrs, convGeometry } from "../../ops/conv.ts";
import { convInteger, convIntegerToFloat, qlinearConv } from "../../ops/conv-integer.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { Kernel, KernelInput, Prepack } from "../backend.ts";
import { f32x4, i8x16, i32, i32x4, type Local } from "./assembler.ts";
import { type ConvBlock, emitGemmConv, layoutOf, sumsStride } from "./conv-gemm.ts";
import { type ConvShape, convShape, depthOfProduct, workOf } from "./conv-shape.ts";
import { dotAddOf } from "./dot-add.ts";
import { correctFunction, hasPoints, isByte, isScalar, runOf, saturated, toFloatForm, turnOf } from "./int8.ts";
import { fourFunction, packWeights, pairFunction } from "./int8-channels.ts";
import { tileRowsOf } from "./kernels/gemm.ts";
import { emitProduct } from "./kernels/gemm-prepacked.ts";
import type { DotAdd } from "./kernels/quantized-unit.ts";
import { runArgs, runFunction } from "./kernels/vector.ts";
import { alignUp } from "./memory.ts";
import { addressOf, type StepEmitter, type WasmKernels, type WasmStep, type WasmTarget, wasmKernel } from "./step.ts";

interface Target extends WasmTarget {
  readonly dotAdd: DotAdd;
}

interface IntegerConv {
  /** Of words, in which channels are side by side. */
  readonly shape: ConvShape;
  readonly bytes: number;
  prepack(input: number): Prepack;
  /** @param finish for sums that do not stay what they are */
  emit(e: StepEmitter, at: { x: number; zero: number; w: number; y: number }, finish?: FinishRow): void;
}

/** A row of sums at `sums` (in the result, or what is kept of a block), of output channel `channel`; `y`: index of the first in the result. */
type SumsRow = Record<"sums" | "channel" | "columns" | "y", Local<"i32">>;
type FinishRow = (row: SumsRow) => void;

/** @param keepsSums results are narrower than sums: these have a place of their own, block by block */
function planConv(
  target: Target,
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
  const zeros = wZero?.constant?.data as TypedArray | undefined;
  const { features, dotAdd } = target;
  // Two channels or fewer are a word either way.
  const fours = dotAdd !== undefined && channels > 2 && !hasPoints(w.dtype, zeros);
  const perWord = fours ? 4 : 2;
  const fma = fours ? features.fma : 0;
  const tileRows = tileRowsOf(fma);
  const turn = fours ? turnOf(x.dtype, dotAdd) : 0;
  const shape = { ...bytes, channelsIn: Math.ceil(channels / perWord) };
  const size = bytes.depth.input * bytes.rows.input * bytes.columns.input;
  const k = depthOfProduct(shape);
  const rows = bytes.channelsOut;
  const layout = layoutOf(shape);
  // The last words of an image go by eight or sixteen, past its end.
  const imageBytes = alignUp(4 * shape.channelsIn * size + 64);
  const sumsBytes = keepsSums ? alignUp(rows * sumsStride(layout)) : 0;
  const own = alignUp(layout.bytes) + imageBytes + sumsBytes;
  const weights = {
    groups: shape.groups,
    rows,
    channels,
    taps: bytes.depth.kernel * bytes.rows.kernel * bytes.columns.kernel,
    perWord,
    tileRows,
  };
  const words = shape.groups * rows * k;
  return {
    shape,
    bytes: own * target.threads,
    prepack: (input) => ({
      input,
      key: `${perWord}/${tileRows}/${shape.groups}/${zeros ?? ""}`,
      type: { dtype: "i32", shape: [words + shape.groups * rows] },
      pack: (source, packed) => packWeights(source as TypedArray, zeros, packed as Int32Array, weights),
    }),
    emit(e, at, finish) {
      const { f } = e;
      const name = fours ? `product/fours/${fma}` : "product/pairs";
      const product = e.shared(name, (m) => emitProduct(m, { name, fma, integers: fours ? "signedA" : "pairs" }));
      const toWords = fours ? fourFunction(e, turn !== 0) : pairFunction(e, x.dtype);
      const workspace = f.let(i32.add(addressOf(e.workspace, e.thread, own), 0));
      const image = f.let(i32.add(workspace, alignUp(layout.bytes)));
      const sums = f.let(i32.add(image, imageBytes));
      const zero = f.local("i32");
      if (at.zero !== 0) f.set(zero, x.dtype === "i8" ? i32.load8_s(at.zero) : i32.load8_u(at.zero));
      const plane = shape.depth.output * shape.rows.output * shape.columns.output;
      const corrects = fours && (at.zero !== 0 || turn !== 0);
      const correct = (row: SumsRow): void => {
        const ofZero = at.zero === 0 ? undefined : (x.dtype as "i8" | "u8");
        const fn = correctFunction(e, { zero: ofZero, turn, sameWeights: true, points: false });
        const ofChannel = i32.add(i32.shl(row.channel, 2), at.w + 4 * words);
        const operands = [row.sums, ofChannel, ...(at.zero === 0 ? [] : [at.zero])];
        f.call(fn, runArgs(operands, row.sums, row.columns));
      };
      const finishes = corrects || finish !== undefined;
      const finishBlock = ({ channel, rows, columns, y }: ConvBlock): void => {
        const first = keepsSums ? sums : i32.add(i32.shl(y, 2), at.y);
        const row = { sums: f.let(first), channel: f.let(i32.add(channel, 0)), columns, y };
        const left = f.let(i32.add(rows, 0));
        f.while(left, () => {
          if (corrects) correct(row);
          finish?.(row);
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
          f.if(fresh, () => f.call(toWords, { x: from, size, channels, zero, y: image }));
          return image;
        },
        sums: keepsSums ? { at: sums, finish: finishBlock } : undefined,
        finish: finishes && !keepsSums ? finishBlock : undefined,
        // What pads is the zero point as the image has it.
        fill: fours ? f.let(i8x16.splat(i32.add(zero, turn))) : undefined,
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

const kernelsIn = (target: Target): Kernel<WasmStep>[] => [
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

export const convInt8Kernels: WasmKernels = (target) => kernelsIn({ ...target, dotAdd: dotAddOf(target.features) });
