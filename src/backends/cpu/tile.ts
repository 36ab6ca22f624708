/**
 * The product that matmul, gemm and convolutions are made of, in plain TypeScript. One operand stays: its vectors are
 * packed in panels of 3, [k][3] (a constant once, at compile). The other one moves: blocks of its vectors are gathered
 * into panels of 2, which serves transposition and im2col alike. Both are read as doubles from one scratch array: a
 * staying panel is widened once for each block. Sums are doubles from the first product to the last. Variants, GFLOP/s
 * of the inner loop alone on panels in cache, best of 150 (one core of a Zen 4; Node 20, Node 24):
 *   3x3 tile, f32 and f64 arrays          4.4  5.1   each f32 load is followed by a conversion
 *   4x3, doubles in one typed array       5.8  6.3   but 3.8 on Node 20 once any buffer of the process was detached,
 *                                                    as a WebAssembly memory that grows does: from then on every
 *                                                    access of a typed array asks whether its own buffer was
 *   4x3, doubles in one plain array       6.1  6.5
 *   3x3, same                             5.5  5.5
 *   2x3, same                             7.1  8.2   V8 moves all products before all sums: 6 of each stay in
 *                                                    registers, where of 9 or 12 sums some wait in memory each turn
 *   2x3 twice a turn                      5.9  5.9
 *   2x2                                   5.7  7.1
 *   3x3, a sum stored after each row      7.6  8.1   the stores fix V8's order; not worth the trick
 *   Math.fround on every sum              half of the first: V8 computes doubles and rounds
 *   indices without | 0                   a tenth slower: checked for overflow before their bounds
 * Long vectors are taken in parts, so that panels stay in the first and second cache: 1024x1024x1024 4.9 without,
 * 5.9 with it (Node 20).
 */
import type { Activation } from "../../ops/activation.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { activate } from "./activate.ts";

/** Vectors in a staying panel. */
export const lanes = 3;

/** Vectors in a moving panel. */
export const rows = 2;

/**
 * Panels, and what else kernels keep in doubles while they run: nothing outlives a call. A plain array, because V8 asks
 * on every access of a typed one whether its buffer was detached, once any buffer of the process has been (Node 20).
 */
export const scratch: number[] = [];

/** Makes room for `length` doubles. While planning: kernels allocate nothing. */
export function reserve(length: number): void {
  // Pushed, and not whole numbers: the array stays one of doubles without holes.
  while (scratch.length < length) scratch.push(0.5);
}

/**
 * Packs `vectors` vectors of k elements at `from + vector * stride + p * step` into as many elements. The last panel has
 * as many lanes as vectors are left. Contiguous vectors may be packed where they lie: a panel takes the place of its own.
 */
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
  const inPlace = source === panels;
  for (let v = 0; v < vectors; v += lanes) {
    const width = Math.min(lanes, vectors - v);
    const start = to + v * k;
    if (inPlace) {
      reserve(width * k);
      for (let i = 0; i < width * k; i++) scratch[i] = source[start + i];
    }
    for (let lane = 0; lane < width; lane++) {
      let w = start + lane;
      const end = w + width * k;
      if (inPlace) for (let at = lane * k; w < end; w += width, at++) panels[w] = scratch[at];
      else for (let at = from + (v + lane) * stride; w < end; w += width, at += step) panels[w] = source[at];
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

/** Takes finished sums from the scratch: element at + 3 i + j belongs to moving vector u + i and staying vector v + j. */
export interface Sink {
  /** Moving vectors [u, u + us) with staying vectors [v, v + vs), vs <= 3. */
  store(at: number, u: number, us: number, v: number, vs: number): void;
  /** All results of moving vectors [u, u + count) are stored. */
  finish(u: number, count: number): void;
}

/** Elements of a vector taken at a time: a staying panel of so many stays in the first-level cache. */
const depth = 256;
/** Doubles in a block of moving panels, which stays in the second-level cache. */
const blockLength = 16 * 1024;
/** Staying vectors whose unfinished sums are kept for a block, where a vector is longer than `depth`. */
const chunk = 384;

/** How a product is cut: lengths of vectors taken at a time, and moving vectors packed at a time. */
function cut(vectors: number, k: number): { length: number; block: number } {
  const length = Math.ceil(k / Math.ceil(k / depth));
  const block = Math.floor(blockLength / length / rows) * rows;
  return { length, block: Math.min(block, Math.ceil(vectors / rows) * rows) };
}

/**
 * What one lane of a moving panel takes. Whole numbers go in pairs, as first + 2^27 second: where no sum reaches 2^26, the
 * sums of both come exactly out of one double, for half of the arithmetic.
 */
export type Lane = 1 | 2;
const secondUnit = 2 ** 27;

/** How many vectors of k whole numbers up to `a` share a lane in a product with others up to `b`. */
export const laneOf = (k: number, a: number, b: number): Lane => (k * a * b < secondUnit / 2 ? 2 : 1);

/** Makes room for what `product` takes: a staying panel, moving ones, sums, and those of pairs apart. */
export function reserveProduct(vectors: number, k: number, lane: Lane = 1): void {
  const { length, block } = cut(Math.ceil(vectors / lane), k);
  reserve((lanes + block) * length + block * (length < k ? chunk : lanes) + lane * lanes * block);
}

/** All sums of `moving` with the `count` staying vectors in `panels` from `panelsAt`. */
export function product(
  source: Float32Array,
  from: number,
  moving: Moving,
  panels: Float32Array,
  panelsAt: number,
  count: number,
  sink: Sink,
  lane: Lane = 1,
): void {
  const vectors = moving.vectors.length;
  const total = Math.ceil(vectors / lane);
  const k = moving.steps.length;
  const { length, block } = cut(total, k);
  const step = length < k ? chunk : count;
  const sums = (lanes + block) * length;
  const apart = sums + block * (length < k ? chunk : lanes);
  for (let u0 = 0; u0 < total; u0 += block) {
    const us = Math.min(block, total - u0);
    const [first, stored] = [lane * u0, Math.min(lane * us, vectors - lane * u0)];
    for (let v0 = 0; v0 < count; v0 += step) {
      const end = Math.min(count, v0 + step);
      for (let p = 0; p < k; p += length) {
        const ps = Math.min(length, k - p);
        if (lane === 1) gather(source, from, moving, u0, us, p, ps);
        else gatherPairs(source, from, moving, first, stored, p, ps);
        for (let v = v0; v < end; v += lanes) {
          const vs = Math.min(lanes, count - v);
          widen(panels, panelsAt + v * k + vs * p, ps, vs);
          const at = length < k ? sums + (v - v0) * block : sums;
          for (let u = 0; u < us; u += rows) tile(0, (lanes + u) * ps, ps, at + lanes * u, p > 0);
          if (p + ps < k) continue;
          if (lane === 2) split(at, us, apart);
          sink.store(lane === 1 ? at : apart, first, stored, v, vs);
        }
      }
    }
    sink.finish(first, stored);
  }
}

/** The sums of `us` pairs at `at`, each vector's at `to`. */
function split(at: number, us: number, to: number): void {
  for (let u = 0; u < us; u++, to += lanes)
    for (let j = 0; j < lanes; j++, at++, to++) {
      const sum = scratch[at];
      const second = Math.round(sum / secondUnit);
      scratch[to] = sum - second * secondUnit;
      scratch[to + lanes] = second;
    }
}

/** Brings k elements of each of the `vs` vectors of a staying panel to the start of the scratch. Missing ones are 0. */
function widen(panels: Float32Array, from: number, k: number, vs: number): void {
  const s = scratch;
  const end = lanes * k;
  if (vs < lanes) {
    for (let i = 0; i < end; i++) s[i] = i % lanes < vs ? panels[from++] : 0;
    return;
  }
  for (let i = 0; i < end; i = (i + 3) | 0, from = (from + 3) | 0) {
    const b0 = panels[from];
    const b1 = panels[(from + 1) | 0];
    const b2 = panels[(from + 2) | 0];
    s[i] = b0;
    s[(i + 1) | 0] = b1;
    s[(i + 2) | 0] = b2;
  }
}

type Gather = (
  source: Float32Array,
  from: number,
  moving: Moving,
  u0: number,
  us: number,
  p: number,
  ps: number,
) => void;

/** Packs elements [p, p + ps) of moving vectors [u0, u0 + us). A lane past the last vector repeats it. */
const gather: Gather = (source, from, { vectors, steps }, u0, us, p, ps) => {
  const last = u0 + us - 1;
  let w = lanes * ps;
  for (let u = u0; u <= last; u += rows) {
    const x0 = from + vectors[u];
    const x1 = from + vectors[Math.min(u + 1, last)];
    for (let i = p; i < p + ps; i++, w += 2) {
      const step = steps[i];
      scratch[w] = source[x0 + step];
      scratch[w + 1] = source[x1 + step];
    }
  }
};

/** The same for pairs. */
const gatherPairs: Gather = (source, from, { vectors, steps }, u0, us, p, ps) => {
  const last = u0 + us - 1;
  let w = lanes * ps;
  for (let u = u0; u <= last; u += 2 * rows) {
    const x0 = from + vectors[u];
    const x1 = from + vectors[Math.min(u + 1, last)];
    const x2 = from + vectors[Math.min(u + 2, last)];
    const x3 = from + vectors[Math.min(u + 3, last)];
    for (let i = p; i < p + ps; i++, w += 2) {
      const step = steps[i];
      scratch[w] = source[x0 + step] + secondUnit * source[x1 + step];
      scratch[w + 1] = source[x2 + step] + secondUnit * source[x3 + step];
    }
  }
};

/** Sums of the staying panel at `j` of the scratch and the moving one at `i`, to `at` there, or added to what is there. */
export function tile(j: number, i: number, k: number, at: number, resume: boolean): void {
  const s = scratch;
  let s00 = 0;
  let s01 = 0;
  let s02 = 0;
  let s10 = 0;
  let s11 = 0;
  let s12 = 0;
  const end = j + lanes * k;
  for (; j < end; j = (j + 3) | 0, i = (i + 2) | 0) {
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
  }
  if (resume) {
    s00 += s[at];
    s01 += s[at + 1];
    s02 += s[at + 2];
    s10 += s[at + 3];
    s11 += s[at + 4];
    s12 += s[at + 5];
  }
  s[at] = s00;
  s[at + 1] = s01;
  s[at + 2] = s02;
  s[at + 3] = s10;
  s[at + 4] = s11;
  s[at + 5] = s12;
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

  store(sums: number, u: number, us: number, v: number, vs: number): void {
    const { y, bias, residual, alpha, beta, uStride, vStride, biasByU, biasByV } = this;
    for (let j = 0; j < vs; j++) {
      let at = this.at + u * uStride + (v + j) * vStride;
      let b = this.biasAt + u * biasByU + (v + j) * biasByV;
      const end = sums + lanes * us + j;
      // Nearly all: without this, storing costs a fifth of a product with an inner dimension of 16.
      if (residual === undefined && biasByU === 0 && alpha === 1) {
        const shift = bias === undefined ? 0 : beta * bias[b];
        for (let i = sums + j; i < end; i += lanes, at += uStride) y[at] = scratch[i] + shift;
      } else
        for (let i = sums + j; i < end; i += lanes, at += uStride, b += biasByU) {
          let s = alpha * scratch[i];
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
