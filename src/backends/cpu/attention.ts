/**
 * Attention, f32, with an online softmax (https://arxiv.org/abs/2205.14135): keys are taken in tiles that stay in the
 * cache, and the matrix of scores never exists. All query heads that share a key head are rows over the same keys.
 * - `rows4`: four rows at a time against two keys, and against two elements of the values: eight sums in registers for
 *   six loads.
 * - `row`: what one query of one head needs (a token without grouped heads): four keys at a time, values in order of
 *   memory.
 */
import {
  type AttentionAttrs,
  type AttentionGeometry,
  attention,
  attentionGeometry,
  maskGeometry,
  rangeOf,
  visibleKeys,
} from "../../ops/attention.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { type HostStep, hostKernel, type Kernel, type KernelInput } from "../backend.ts";
import { expF32, tanhF32 } from "./elementwise-math.ts";

/** Keys in a tile: 64 of them with their values take some 32 kB. */
const TILE = 64;
const ROWS = 4;

/** What the rows of a block need between tiles. */
interface Scratch {
  /** Scaled queries [ROWS, dim]. */
  q: Float64Array;
  /** Scores, then weights [ROWS, TILE]. */
  s: Float64Array;
  /** Weighted sums of values [ROWS, valueDim]. */
  o: Float64Array;
  /** Maximum and sum of weights of each row so far. */
  max: Float64Array;
  sum: Float64Array;
}

/** s[r][j] = q[r] . k[j] for four rows and `n` keys from `at`, `step` apart. */
function scores4(q: Float64Array, k: Float32Array, at: number, step: number, n: number, s: Float64Array): void {
  const dim = q.length / ROWS;
  for (let j = 0; j < n; j += 2) {
    const a = at + j * step;
    // The last odd key is taken twice.
    const b = j + 1 < n ? a + step : a;
    let a0 = 0;
    let a1 = 0;
    let a2 = 0;
    let a3 = 0;
    let b0 = 0;
    let b1 = 0;
    let b2 = 0;
    let b3 = 0;
    for (let d = 0; d < dim; d++) {
      const ka = k[a + d];
      const kb = k[b + d];
      const q0 = q[d];
      const q1 = q[dim + d];
      const q2 = q[2 * dim + d];
      const q3 = q[3 * dim + d];
      a0 += q0 * ka;
      a1 += q1 * ka;
      a2 += q2 * ka;
      a3 += q3 * ka;
      b0 += q0 * kb;
      b1 += q1 * kb;
      b2 += q2 * kb;
      b3 += q3 * kb;
    }
    s[j] = a0;
    s[TILE + j] = a1;
    s[2 * TILE + j] = a2;
    s[3 * TILE + j] = a3;
    if (j + 1 < n) {
      s[j + 1] = b0;
      s[TILE + j + 1] = b1;
      s[2 * TILE + j + 1] = b2;
      s[3 * TILE + j + 1] = b3;
    }
  }
}

/** The same for one row. */
function scores1(q: Float64Array, k: Float32Array, at: number, step: number, n: number, s: Float64Array): void {
  const dim = q.length / ROWS;
  let j = 0;
  for (; j + 3 < n; j += 4) {
    const a = at + j * step;
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let d = 0; d < dim; d++) {
      const qd = q[d];
      s0 += qd * k[a + d];
      s1 += qd * k[a + step + d];
      s2 += qd * k[a + 2 * step + d];
      s3 += qd * k[a + 3 * step + d];
    }
    s[j] = s0;
    s[j + 1] = s1;
    s[j + 2] = s2;
    s[j + 3] = s3;
  }
  for (; j < n; j++) {
    let sum = 0;
    for (let d = 0; d < dim; d++) sum += q[d] * k[at + j * step + d];
    s[j] = sum;
  }
}

/** o[r] += sum of s[r][j] v[j] for four rows. */
function values4(s: Float64Array, v: Float32Array, at: number, step: number, n: number, o: Float64Array): void {
  const dim = o.length / ROWS;
  for (let d = 0; d < dim; d += 2) {
    const second = d + 1 < dim ? 1 : 0;
    let a0 = 0;
    let a1 = 0;
    let a2 = 0;
    let a3 = 0;
    let b0 = 0;
    let b1 = 0;
    let b2 = 0;
    let b3 = 0;
    for (let j = 0, p = at + d; j < n; j++, p += step) {
      const va = v[p];
      const vb = v[p + second];
      const s0 = s[j];
      const s1 = s[TILE + j];
      const s2 = s[2 * TILE + j];
      const s3 = s[3 * TILE + j];
      a0 += s0 * va;
      a1 += s1 * va;
      a2 += s2 * va;
      a3 += s3 * va;
      b0 += s0 * vb;
      b1 += s1 * vb;
      b2 += s2 * vb;
      b3 += s3 * vb;
    }
    o[d] += a0;
    o[dim + d] += a1;
    o[2 * dim + d] += a2;
    o[3 * dim + d] += a3;
    if (second === 1) {
      o[d + 1] += b0;
      o[dim + d + 1] += b1;
      o[2 * dim + d + 1] += b2;
      o[3 * dim + d + 1] += b3;
    }
  }
}

function values1(s: Float64Array, v: Float32Array, at: number, step: number, n: number, o: Float64Array): void {
  const dim = o.length / ROWS;
  for (let j = 0; j < n; j++) {
    const p = at + j * step;
    const w = s[j];
    if (w === 0) continue;
    for (let d = 0; d < dim; d++) o[d] += w * v[p + d];
  }
}

function capScores(s: Float64Array, at: number, n: number, cap: number): void {
  for (let j = at; j < at + n; j++) s[j] = cap * tanhF32(s[j] / cap);
}

function hide(s: Float64Array, at: number, mask: Uint8Array, from: number, step: number, n: number): void {
  for (let j = 0; j < n; j++) if (mask[from + j * step] === 0) s[at + j] = -Infinity;
}

function addBias(s: Float64Array, at: number, bias: Float32Array, from: number, step: number, n: number): void {
  for (let j = 0; j < n; j++) s[at + j] += bias[from + j * step];
}

/** Turns row `r` of scores into weights relative to the new maximum, and rescales what the row has so far. */
function weigh({ s, o, max, sum }: Scratch, r: number, n: number): void {
  const at = r * TILE;
  const before = max[r];
  let m = before;
  for (let j = at; j < at + n; j++) m = Math.max(m, s[j]);
  if (m === -Infinity) {
    s.fill(0, at, at + n);
    return;
  }
  if (m !== before) {
    const factor = expF32(before - m);
    const dim = o.length / ROWS;
    for (let d = r * dim; d < (r + 1) * dim; d++) o[d] *= factor;
    sum[r] *= factor;
    max[r] = m;
  }
  let total = 0;
  for (let j = at; j < at + n; j++) {
    const w = expF32(s[j] - m);
    s[j] = w;
    total += w;
  }
  sum[r] += total;
}

interface Job {
  g: AttentionGeometry;
  attrs: AttentionAttrs;
  mask?: { data: Uint8Array | Float32Array; strides: readonly number[]; columns: number };
  sink?: Float32Array;
  scratch: Scratch;
  /** The visible keys of each row of the block. */
  starts: Int32Array;
  ends: Int32Array;
}

/** Rows [first, first + count) of the queries that share key head `kv` of sample `b`. */
function block(
  job: Job,
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  y: Float32Array,
  b: number,
  kv: number,
  first: number,
  count: number,
  length: number,
  offset: number,
): void {
  const { g, attrs, mask, sink, scratch, starts, ends } = job;
  const { dim, valueDim, seq } = g;
  const group = g.heads / g.kvHeads;
  const headOf = (r: number): number => kv * group + Math.floor((first + r) / seq);
  let [start, end] = [g.total, 0];
  const columns = Math.min(length, mask ? mask.columns : g.total);
  for (let r = 0; r < count; r++) {
    const i = (first + r) % seq;
    [starts[r], ends[r]] = visibleKeys(attrs, i, offset, columns);
    if (ends[r] > starts[r]) {
      start = Math.min(start, starts[r]);
      end = Math.max(end, ends[r]);
    }
    const at = b * g.q.batch + headOf(r) * g.q.head + i * g.q.position;
    for (let d = 0; d < dim; d++) scratch.q[r * dim + d] = q[at + d] * g.scale;
    scratch.max[r] = sink ? sink[headOf(r)] : -Infinity;
    scratch.sum[r] = sink ? 1 : 0;
  }
  scratch.q.fill(0, count * dim);
  scratch.o.fill(0);
  const ka = b * g.k.batch + kv * g.k.head;
  const va = b * g.v.batch + kv * g.v.head;
  const cap = attrs.softcap ?? 0;
  const { s, o, sum } = scratch;
  for (let j = start; j < end; j += TILE) {
    const n = Math.min(TILE, end - j);
    if (count === 1) scores1(scratch.q, k, ka + j * g.k.position, g.k.position, n, s);
    else scores4(scratch.q, k, ka + j * g.k.position, g.k.position, n, s);
    for (let r = 0; r < count; r++) {
      const at = r * TILE;
      if (cap > 0) capScores(s, at, n, cap);
      if (mask) {
        const [sb, sh, si, sj] = mask.strides;
        const from = b * sb + headOf(r) * sh + ((first + r) % seq) * si + j * sj;
        if (mask.data instanceof Uint8Array) hide(s, at, mask.data, from, sj, n);
        else addBias(s, at, mask.data, from, sj, n);
      }
      if (starts[r] > j) s.fill(-Infinity, at, at + Math.min(n, starts[r] - j));
      if (ends[r] < j + n) s.fill(-Infinity, at + Math.max(0, ends[r] - j), at + n);
      weigh(scratch, r, n);
    }
    for (let r = count; r < ROWS && count > 1; r++) s.fill(0, r * TILE, r * TILE + n);
    if (count === 1) values1(s, v, va + j * g.v.position, g.v.position, n, o);
    else values4(s, v, va + j * g.v.position, g.v.position, n, o);
  }
  for (let r = 0; r < count; r++) {
    const at = b * g.y.batch + headOf(r) * g.y.head + ((first + r) % seq) * g.y.position;
    const scale = sum[r] === 0 ? 0 : 1 / sum[r];
    for (let d = 0; d < valueDim; d++) y[at + d] = o[r * valueDim + d] * scale;
  }
}

const numbers = (t: TypedArray | undefined): number[] | undefined => t && Array.from(t as Int32Array, Number);

function plan(inputs: readonly KernelInput[], attrs: AttentionAttrs, single: boolean): HostStep | undefined {
  const [q, k, v, mask, , , sink] = inputs as readonly (KernelInput | undefined)[];
  if (q!.dtype !== "f32" || k!.dtype !== "f32" || v!.dtype !== "f32") return undefined;
  if ((mask && mask.dtype !== "f32" && mask.dtype !== "bool") || (sink && sink.dtype !== "f32")) return undefined;
  const g = attentionGeometry("attention", q!, k!, v!, attrs);
  const rows = (g.heads / g.kvHeads) * g.seq;
  if ((rows === 1) !== single) return undefined;
  const reading = mask && maskGeometry("attention", mask, g);
  const scratch: Scratch = {
    q: new Float64Array(ROWS * g.dim),
    s: new Float64Array(ROWS * TILE),
    o: new Float64Array(ROWS * g.valueDim),
    max: new Float64Array(ROWS),
    sum: new Float64Array(ROWS),
  };
  const [starts, ends] = [new Int32Array(ROWS), new Int32Array(ROWS)];
  return {
    run([q, k, v, mask, kvLength, offset, sink], [y]) {
      const job: Job = {
        g,
        attrs,
        mask: reading && { data: mask as Uint8Array | Float32Array, ...reading },
        sink: sink as Float32Array | undefined,
        scratch,
        starts,
        ends,
      };
      const [qs, ks, vs, ys] = [q, k, v, y] as Float32Array[];
      const [lengths, offsets] = [numbers(kvLength), numbers(offset)];
      for (let b = 0; b < g.batch; b++) {
        const range = rangeOf(lengths, offsets, b, g);
        for (let kv = 0; kv < g.kvHeads; kv++)
          for (let r = 0; r < rows; r += ROWS)
            block(job, qs, ks, vs, ys, b, kv, r, Math.min(ROWS, rows - r), range.length, range.offset);
      }
    },
  };
}

export const attentionKernels: readonly Kernel<HostStep>[] = [
  hostKernel(attention, "cpu/attention/row", (inputs, _, attrs) => plan(inputs, attrs, true)),
  hostKernel(attention, "cpu/attention/rows4", (inputs, _, attrs) => plan(inputs, attrs, false)),
];
