/**
 * The product that matmul, gemm and convolutions are made of, in plain TypeScript. One operand stays: its vectors are
 * packed in panels of 3, [k][3] (a constant once, at compile). The other one moves: blocks of its vectors are gathered
 * into panels of 4, which serves transposition and im2col alike. Both are read as doubles from one scratch array: a
 * staying panel is widened once for each block. Variants, GFLOP/s of the inner loop alone on panels in cache, best of
 * 120 (one core of a Zen 4 whose other thread is busy; Node 20, Node 24):
 *   3x3 tile, f32 and f64 arrays       4.4  5.1   each f32 load is followed by a conversion
 *   3x3, doubles in two arrays         4.7  5.5   each array has its own map check and pointer loads in every turn
 *   3x3, doubles in one                5.1  5.5
 *   same, offsets | 0                  5.5  5.5   without it V8 checks each index for overflow before its bounds
 *   4x3, same                          5.8  6.2   7 loads for 12 products
 *   4x2 twice a turn, same             5.9  6.2   no better, and the panels don't suit
 *   4x4, 5x3                           5.3  6.0   more registers than V8 has: 15
 *   twice a turn: 3x3, 4x3             5.3  5.5   V8 moves all products before all sums, and spills
 *   Math.fround on every sum           half of the first: V8 computes doubles and rounds
 * Blocking the inner dimension gains nothing: panels are read in order, so the hardware prefetches them. Sums are
 * doubles from the first product to the last.
 */
import type { Activation } from "../../ops/activation.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { activate } from "./activate.ts";

/** Vectors in a staying panel. */
export const lanes = 3;

/** Vectors in a moving panel. */
export const rows = 4;

export const panelLength = (vectors: number, k: number): number => Math.ceil(vectors / lanes) * lanes * k;

/** Packs `vectors` vectors of k elements at `from + vector * stride + p * step`. Missing lanes of the last panel are 0. */
export function packPanels(
  source: Float32Array,
  from: number,
  vectors: number,
  stride: number,
  k: number,
  step: number,
  panels: Float32Array,
  to: number,
): void {
  for (let v = 0; v < vectors; v += lanes) {
    const width = Math.min(lanes, vectors - v);
    for (let lane = 0; lane < lanes; lane++) {
      let at = from + (v + lane) * stride;
      const end = to + v * k + lane + lanes * k;
      if (lane < width) for (let w = to + v * k + lane; w < end; w += lanes, at += step) panels[w] = source[at];
      else for (let w = to + v * k + lane; w < end; w += lanes) panels[w] = 0;
    }
  }
}

/** The moving operand: element p of vector u is source[from + vectors[u] + steps[p]]. */
export interface Moving {
  readonly vectors: Int32Array;
  readonly steps: Int32Array;
}

/** 0, step, 2 step, ... */
export const arithmetic = (n: number, step: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i * step);

/** Takes the finished sums of a tile: sums[3 i + j] belongs to moving vector u + i and staying vector v + j; us <= 4, vs <= 3. */
export interface Sink {
  store(sums: Float64Array, u: number, us: number, v: number, vs: number): void;
  /** All results of moving vectors [u, u + count) are stored. */
  finish(u: number, count: number): void;
}

/** Bytes of moving panels that stay in the second-level cache, next to a staying panel in the first. */
const blockBytes = 96 * 1024;
/** But at least this many vectors, so that the staying operand is not read too often. */
const leastBlock = 24;

/** Moving vectors packed at a time. */
export function blockOf(vectors: number, k: number): number {
  const block = Math.max(leastBlock, Math.floor(blockBytes / 8 / k / rows) * rows);
  return Math.min(block, Math.ceil(vectors / rows) * rows);
}

/** Doubles that `product` needs as `scratch`: a staying panel, then moving ones. */
export const scratchLength = (vectors: number, k: number): number => (lanes + blockOf(vectors, k)) * k;

const sums = new Float64Array(rows * lanes);

/** All sums of `moving` with the `count` staying vectors in `panels` from `panelsAt`. */
export function product(
  source: Float32Array,
  from: number,
  moving: Moving,
  panels: Float32Array,
  panelsAt: number,
  count: number,
  scratch: Float64Array,
  sink: Sink,
): void {
  const total = moving.vectors.length;
  const k = moving.steps.length;
  const block = blockOf(total, k);
  for (let u0 = 0; u0 < total; u0 += block) {
    const us = Math.min(block, total - u0);
    gather(source, from, moving, u0, us, scratch);
    for (let v = 0; v < count; v += lanes) {
      const vs = Math.min(lanes, count - v);
      const panel = panelsAt + v * k;
      for (let i = 0; i < lanes * k; i++) scratch[i] = panels[panel + i];
      for (let u = 0; u < us; u += rows) {
        tile(scratch, 0, (lanes + u) * k, k, sums);
        sink.store(sums, u0 + u, Math.min(rows, us - u), v, vs);
      }
    }
    sink.finish(u0, us);
  }
}

/** Packs moving vectors [u0, u0 + us). Lanes past the last vector repeat it. */
function gather(
  source: Float32Array,
  from: number,
  { vectors, steps }: Moving,
  u0: number,
  us: number,
  scratch: Float64Array,
): void {
  const k = steps.length;
  const last = u0 + us - 1;
  let w = lanes * k;
  for (let u = u0; u <= last; u += rows) {
    const x0 = from + vectors[u];
    const x1 = from + vectors[Math.min(u + 1, last)];
    const x2 = from + vectors[Math.min(u + 2, last)];
    const x3 = from + vectors[Math.min(u + 3, last)];
    for (let p = 0; p < k; p++, w += 4) {
      const step = steps[p];
      scratch[w] = source[x0 + step];
      scratch[w + 1] = source[x1 + step];
      scratch[w + 2] = source[x2 + step];
      scratch[w + 3] = source[x3 + step];
    }
  }
}

/** The sums of the staying panel at `j` and the moving one at `i`: out[3 moving + staying]. */
export function tile(s: Float64Array, j: number, i: number, k: number, out: Float64Array): void {
  let s00 = 0;
  let s01 = 0;
  let s02 = 0;
  let s10 = 0;
  let s11 = 0;
  let s12 = 0;
  let s20 = 0;
  let s21 = 0;
  let s22 = 0;
  let s30 = 0;
  let s31 = 0;
  let s32 = 0;
  const end = j + 3 * k;
  for (; j < end; j = (j + 3) | 0, i = (i + 4) | 0) {
    const b0 = s[j];
    const b1 = s[(j + 1) | 0];
    const b2 = s[(j + 2) | 0];
    const a0 = s[i];
    s00 += a0 * b0;
    s01 += a0 * b1;
    s02 += a0 * b2;
    const a1 = s[(i + 1) | 0];
    s10 += a1 * b0;
    s11 += a1 * b1;
    s12 += a1 * b2;
    const a2 = s[(i + 2) | 0];
    s20 += a2 * b0;
    s21 += a2 * b1;
    s22 += a2 * b2;
    const a3 = s[(i + 3) | 0];
    s30 += a3 * b0;
    s31 += a3 * b1;
    s32 += a3 * b2;
  }
  out[0] = s00;
  out[1] = s01;
  out[2] = s02;
  out[3] = s10;
  out[4] = s11;
  out[5] = s12;
  out[6] = s20;
  out[7] = s21;
  out[8] = s22;
  out[9] = s30;
  out[10] = s31;
  out[11] = s32;
}

/** y[at + u uStride + v vStride] = act(alpha sum + beta bias + residual), with a bias by u, by v, by both or by none. */
export class DenseSink implements Sink {
  at = 0;
  alpha = 1;
  beta = 1;
  bias: ArrayLike<number> | undefined;
  biasAt = 0;
  biasByU = 0;
  biasByV = 1;
  residual: Float32Array | undefined;
  activation: Activation | undefined;

  constructor(
    readonly y: Float32Array | Int32Array,
    readonly uStride: number,
    readonly vStride: number,
    /** Number of staying vectors. */
    readonly count: number,
  ) {}

  store(sums: Float64Array, u: number, us: number, v: number, vs: number): void {
    const { y, bias, residual, alpha, beta, uStride, vStride, biasByU, biasByV } = this;
    // Nearly all tiles: without this, storing costs a fifth of a product with an inner dimension of 16.
    if (us === rows && residual === undefined && biasByU === 0 && alpha === 1) {
      let at = this.at + u * uStride + v * vStride;
      for (let j = 0; j < vs; j++, at += vStride) {
        const shift = bias === undefined ? 0 : beta * bias[this.biasAt + (v + j) * biasByV];
        y[at] = sums[j] + shift;
        y[at + uStride] = sums[3 + j] + shift;
        y[at + 2 * uStride] = sums[6 + j] + shift;
        y[at + 3 * uStride] = sums[9 + j] + shift;
      }
      return;
    }
    for (let j = 0; j < vs; j++) {
      let at = this.at + u * uStride + (v + j) * vStride;
      let b = this.biasAt + u * biasByU + (v + j) * biasByV;
      for (let i = 0; i < us; i++, at += uStride, b += biasByU) {
        let s = alpha * sums[3 * i + j];
        if (bias !== undefined) s += beta * bias[b];
        if (residual !== undefined) s += residual[at];
        y[at] = s;
      }
    }
  }

  finish(u: number, count: number): void {
    if (this.activation === undefined) return;
    const y = this.y as Float32Array;
    if (this.vStride === 1 && this.uStride === this.count)
      activate(this.activation, y, this.at + u * this.uStride, this.at + (u + count) * this.uStride);
    else
      for (let v = 0; v < this.count; v++) {
        const from = this.at + v * this.vStride + u;
        activate(this.activation, y, from, from + count);
      }
  }
}

/** Views of a step's workspace, made again only when the arena moved. Lengths in elements, doubles first. */
export function carve(doubles: number, ...floats: number[]) {
  let owner: ArrayBufferView | undefined;
  let views: { doubles: Float64Array; floats: Float32Array[] };
  return {
    bytes: doubles * 8 + floats.reduce((s, n) => s + n * 4, 0),
    of(workspace: ArrayBufferView): { doubles: Float64Array; floats: Float32Array[] } {
      if (workspace === owner) return views;
      owner = workspace;
      const { buffer, byteOffset } = workspace;
      let at = byteOffset + doubles * 8;
      views = {
        doubles: new Float64Array(buffer, byteOffset, doubles),
        floats: floats.map((n) => {
          const view = new Float32Array(buffer, at, n);
          at += n * 4;
          return view;
        }),
      };
      return views;
    },
  };
}

/** A typed array as the kernels of this folder take it after checking its dtype. */
export const f32 = (data: TypedArray): Float32Array => data as Float32Array;
