/**
 * Convolutions over 1 to 3 spatial axes, f32 and 8-bit (whose differences from zero points, and sums of their products,
 * are exact in doubles). The input of a group is copied into zero padding once; after that every window has all of its
 * taps, and tap p of window u is element vectors[u] + steps[p]: no test for borders in any loop.
 *   winograd 3x3 with stride 1, see winograd.ts
 *   direct   few output channels for each group (depthwise): four neighbouring windows at a time, kernels 3 wide with
 *            their elements shared. Depthwise 3x3 on 96x56x56: tile2x3 0.4 GFLOP/s, one tap after the other 1.0,
 *            shared 1.5
 *   tile2x3  implicit gemm: windows are gathered in blocks that stay in cache (tile.ts), weights packed at compile.
 *            A 1x1 convolution is the same thing without padding: 3.9 (64 channels) to 5.5 GFLOP/s (512 and more)
 *            where the matrix product makes 5.9 (one core of a Zen 4, Node 20)
 */
import { type ConvGeometry, conv, convGeometry } from "../../ops/conv.ts";
import type { Window } from "../../ops/window.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { HostStep, Kernel, Prepack } from "../backend.ts";
import { kernel } from "../backend.ts";
import { activate } from "./activate.ts";
import { carve, DenseSink, f32, type Lane, type Moving, packPanels, product, reserveProduct } from "./tile.ts";
import { winogradConv } from "./winograd.ts";

/** A convolution's loops, with all shapes known. */
export interface ConvPlan {
  readonly g: ConvGeometry;
  readonly inPerGroup: number;
  readonly outPerGroup: number;
  /** Elements of one channel of x, of one padded channel, of one channel of y. */
  readonly plane: number;
  readonly paddedPlane: number;
  readonly outputPlane: number;
  readonly padded: boolean;
  readonly windows: Moving;
  readonly copy: PadCopy;
}

/** Offsets of all positions of `counts` steps of `strides` along each axis, row-major. */
export function gridOffsets(counts: readonly number[], strides: readonly number[]): Int32Array {
  let offsets = Int32Array.of(0);
  counts.forEach((count, d) => {
    const next = new Int32Array(offsets.length * count);
    for (let i = 0; i < next.length; i++) next[i] = offsets[Math.floor(i / count)] + (i % count) * strides[d];
    offsets = next;
  });
  return offsets;
}

/** Where the rows of a plane go in a padded one. */
interface PadCopy {
  readonly row: number;
  readonly from: Int32Array;
  readonly to: Int32Array;
}

/** Plane of `shape` into one of `padded`, `begin` elements after its start along each axis. */
export function padCopy(shape: readonly number[], padded: readonly number[], begin: readonly number[]): PadCopy {
  const last = shape.length - 1;
  const strides = stridesOf(padded);
  const start = begin.reduce((s, b, d) => s + b * strides[d], 0);
  return {
    row: shape[last],
    from: gridOffsets(shape.slice(0, last), stridesOf(shape).slice(0, last)),
    to: gridOffsets(shape.slice(0, last), strides.slice(0, last)).map((o) => o + start),
  };
}

/** Copies `channels` planes into zeros, subtracting `zero`. */
function copyPadded(
  { plane, paddedPlane, copy }: Pick<ConvPlan, "plane" | "paddedPlane" | "copy">,
  x: ArrayLike<number>,
  at: number,
  channels: number,
  zero: number,
  out: Float32Array,
): void {
  if (plane !== paddedPlane) out.fill(0, 0, channels * paddedPlane);
  const { row, from, to } = copy;
  for (let c = 0; c < channels; c++)
    for (let r = 0; r < from.length; r++) {
      const s = at + c * plane + from[r];
      const d = c * paddedPlane + to[r];
      for (let i = 0; i < row; i++) out[d + i] = x[s + i] - zero;
    }
}

/** Dimensions that hold every tap of every window. */
const paddedDims = ({ input, padBegin, padEnd }: Window): number[] => input.map((n, d) => n + padBegin[d] + padEnd[d]);

/** @param convert whether x has to be copied whatever the padding */
export function planConv(g: ConvGeometry, convert: boolean): ConvPlan {
  const { window } = g;
  const dims = paddedDims(window);
  const strides = stridesOf(dims);
  const inPerGroup = g.channelsIn / g.groups;
  const paddedPlane = sizeOf(dims);
  const taps = gridOffsets(
    window.kernel,
    strides.map((s, d) => s * window.dilations[d]),
  );
  return {
    g,
    inPerGroup,
    outPerGroup: g.channelsOut / g.groups,
    plane: sizeOf(window.input),
    paddedPlane,
    outputPlane: sizeOf(window.output),
    padded: convert || dims.some((n, d) => n !== window.input[d]),
    windows: {
      vectors: gridOffsets(
        window.output,
        strides.map((s, d) => s * window.strides[d]),
      ),
      steps: Int32Array.from(
        { length: inPerGroup * taps.length },
        (_, i) => Math.floor(i / taps.length) * paddedPlane + taps[i % taps.length],
      ),
    },
    copy: padCopy(window.input, dims, window.padBegin),
  };
}

export const isEmpty = ({ g }: ConvPlan): boolean => sizeOf(g.shape) === 0 || g.channelsIn === 0;

/** What a convolution step does with its sums, in either kernel: everything but where the output goes. */
export type Epilogue = Pick<DenseSink, "bias" | "residual" | "activation">;

/** Runs one convolution. `weights` are packed by `packWeights`, or as they are for the direct loops. */
export interface ConvRunner {
  /** Floats for padded input. */
  readonly floats: number;
  run(
    x: TypedArray,
    zero: number,
    weights: Float32Array,
    y: Float32Array | Int32Array,
    epilogue: Epilogue,
    floats: Float32Array,
  ): void;
}

/** Calls `group` for every image and group with its input, padded. */
export function forEachGroup(
  plan: ConvPlan,
  x: TypedArray,
  zero: number,
  floats: Float32Array,
  group: (x: Float32Array, from: number, group: number, image: number) => void,
): void {
  const { g, inPerGroup, plane } = plan;
  for (let b = 0; b < g.batch; b++)
    for (let i = 0; i < g.groups; i++) {
      const at = (b * g.channelsIn + i * inPerGroup) * plane;
      if (plan.padded) copyPadded(plan, x as Float32Array, at, inPerGroup, zero, floats);
      group(plan.padded ? floats : f32(x), plan.padded ? 0 : at, i, b);
    }
}

/** w[channelsOut, k] in panels by group. */
export function packWeights({ g, outPerGroup, windows }: ConvPlan, w: Float32Array, out: Float32Array): void {
  const k = windows.steps.length;
  const size = outPerGroup * k;
  for (let i = 0; i < g.groups; i++) packPanels(w, i * size, outPerGroup, k, k, 1, out, i * size);
}

export function tiledConv(plan: ConvPlan, lane: Lane = 1): ConvRunner | undefined {
  if (isEmpty(plan)) return undefined;
  const { g, outPerGroup, outputPlane, windows } = plan;
  const k = windows.steps.length;
  reserveProduct(outputPlane, k, lane);
  return {
    floats: plan.padded ? plan.inPerGroup * plan.paddedPlane : 0,
    run(x, zero, weights, y, epilogue, floats) {
      const sink = Object.assign(new DenseSink(y, 1, outputPlane, outPerGroup), epilogue);
      forEachGroup(plan, x, zero, floats, (source, from, group, image) => {
        sink.at = (image * g.channelsOut + group * outPerGroup) * outputPlane;
        sink.biasAt = group * outPerGroup;
        product(source, from, windows, weights, group * outPerGroup * k, outPerGroup, sink, lane);
      });
    },
  };
}

/** Output channels of a group up to which packing windows costs more than it saves. */
const fewChannels = 2;

export function directConv(plan: ConvPlan): ConvRunner | undefined {
  if (isEmpty(plan) || plan.outPerGroup > fewChannels) return undefined;
  const { g, outPerGroup, outputPlane, windows } = plan;
  const k = windows.steps.length;
  const last = g.window.output.length - 1;
  const row = g.window.output[last];
  const { kernel, strides, dilations } = g.window;
  const quad = kernel[last] === 3 && strides[last] === 1 && dilations[last] === 1 ? quadOf3 : anyQuad;
  return {
    floats: plan.padded ? plan.inPerGroup * plan.paddedPlane : 0,
    run(x, zero, weights, y, { bias, residual, activation }, floats) {
      forEachGroup(plan, x, zero, floats, (source, from, group, image) => {
        for (let m = group * outPerGroup; m < (group + 1) * outPerGroup; m++) {
          const to = (image * g.channelsOut + m) * outputPlane;
          slide(quad, source, from, windows, row, weights, m * k, bias ? bias[m] : 0, y, to);
          if (residual) for (let i = to; i < to + outputPlane; i++) y[i] += residual[i];
          activate(activation, y as Float32Array, to, to + outputPlane);
        }
      });
    },
  };
}

/** Four neighbouring windows at a time, `stride` apart: out[j] = bias + sum of w[p] x[at + steps[p] + j stride]. */
type Quad = (
  x: Float32Array,
  at: number,
  steps: Int32Array,
  stride: number,
  w: Float32Array,
  wAt: number,
  bias: number,
  out: Float64Array,
) => void;

const anyQuad: Quad = (x, at, steps, stride, w, wAt, bias, out) => {
  let s0 = bias;
  let s1 = bias;
  let s2 = bias;
  let s3 = bias;
  for (let p = 0; p < steps.length; p++) {
    const i = at + steps[p];
    const v = w[wAt + p];
    s0 += v * x[i];
    s1 += v * x[i + stride];
    s2 += v * x[i + 2 * stride];
    s3 += v * x[i + 3 * stride];
  }
  out[0] = s0;
  out[1] = s1;
  out[2] = s2;
  out[3] = s3;
};

/** Kernels 3 wide whose windows are 1 apart: 6 elements serve 12 products. */
const quadOf3: Quad = (x, at, steps, _, w, wAt, bias, out) => {
  let s0 = bias;
  let s1 = bias;
  let s2 = bias;
  let s3 = bias;
  for (let p = 0; p < steps.length; p += 3) {
    const i = at + steps[p];
    const w0 = w[wAt + p];
    const w1 = w[wAt + p + 1];
    const w2 = w[wAt + p + 2];
    const x2 = x[i + 2];
    const x3 = x[i + 3];
    const x1 = x[i + 1];
    s0 += w0 * x[i] + w1 * x1 + w2 * x2;
    s1 += w0 * x1 + w1 * x2 + w2 * x3;
    const x4 = x[i + 4];
    s2 += w0 * x2 + w1 * x3 + w2 * x4;
    s3 += w0 * x3 + w1 * x4 + w2 * x[i + 5];
  }
  out[0] = s0;
  out[1] = s1;
  out[2] = s2;
  out[3] = s3;
};

const four = new Float64Array(4);

/** All windows of one output channel. Along a row of the output neighbours are equally far apart. */
function slide(
  quad: Quad,
  x: Float32Array,
  from: number,
  { vectors, steps }: Moving,
  row: number,
  w: Float32Array,
  wAt: number,
  bias: number,
  y: Float32Array | Int32Array,
  to: number,
): void {
  const k = steps.length;
  const count = vectors.length;
  const stride = row > 1 ? vectors[1] - vectors[0] : 0;
  for (let start = 0; start < count; start += row) {
    let at = from + vectors[start];
    let o = to + start;
    const end = o + row;
    for (; o + 4 <= end; o += 4, at += 4 * stride) {
      quad(x, at, steps, stride, w, wAt, bias, four);
      y[o] = four[0];
      y[o + 1] = four[1];
      y[o + 2] = four[2];
      y[o + 3] = four[3];
    }
    for (; o < end; o++, at += stride) {
      let s = bias;
      for (let p = 0; p < k; p++) s += w[wAt + p] * x[at + steps[p]];
      y[o] = s;
    }
  }
}

const convBy = (choose: (plan: ConvPlan) => ConvRunner | undefined, name: string, packs: boolean) =>
  kernel<HostStep, typeof conv>(conv, name, ([x, w], [out], attrs) => {
    if (out.dtype !== "f32") return undefined;
    const plan = planConv(convGeometry("conv", x, w, attrs), false);
    const runner = choose(plan);
    if (!runner) return undefined;
    const length = packs ? sizeOf(w.shape) : 0;
    const prepack: Prepack | undefined =
      packs && w.constant
        ? {
            input: 1,
            key: `panels3/conv/${plan.g.groups}/${plan.outPerGroup}`,
            type: { dtype: "f32", shape: [length] },
            moves: true,
            inPlace: true,
            pack: (source, packed) => packWeights(plan, f32(source), f32(packed)),
          }
        : undefined;
    const space = carve(0, runner.floats, prepack ? 0 : length);
    const { activation } = attrs;
    return {
      workspaceBytes: space.bytes,
      prepack: prepack && [prepack],
      run([x, w, bias, residual], [y], workspace) {
        const { floats } = space.of(workspace);
        let weights = f32(w);
        if (packs && !prepack) packWeights(plan, weights, (weights = floats[1]));
        const epilogue = { bias: bias && f32(bias), residual: residual && f32(residual), activation };
        runner.run(x, 0, weights, f32(y), epilogue, floats[0]);
      },
    };
  });

export const convKernels: Kernel<HostStep>[] = [
  convBy(directConv, "cpu/conv/direct", false),
  convBy(winogradConv, "cpu/conv/winograd", false),
  convBy((plan) => tiledConv(plan), "cpu/conv/tile2x3", true),
];
