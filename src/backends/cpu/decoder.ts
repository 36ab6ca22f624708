/**
 * What decoders do with tokens and their caches, f32, of one sequence:
 * - `kvAppend`: the new rows are copied behind the old ones, or rounded to f16.
 * - `rotaryEmbedding`: pairs are rotated where they are, by heads, with the angles of a row of the tables.
 * - `cachedAttention`: for each token and head one sweep over the keys with a running maximum (online softmax), so that
 *   nothing as long as the context is stored. Sums are doubles. Caches of f16 become f32 a row at a time.
 */

import { visibleKeys } from "../../ops/attention.ts";
import { type CachedAttentionAttrs, cachedAttention, cachedGeometry } from "../../ops/cached-attention.ts";
import { kvAppend, refuseRow, refuseUnfit } from "../../ops/kv-append.ts";
import { refusePosition, rotaryEmbedding, rotaryGeometry } from "../../ops/rotary-embedding.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { encodeFloats, f16Table } from "../../tensor/float.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { type HostStep, hostKernel, type Kernel } from "../backend.ts";
import { expF32, tanhF32 } from "./elementwise-math.ts";

const append = hostKernel(kvAppend, "cpu/kvAppend", ([cache, x, positions]) => {
  const width = cache.shape[1];
  const rounds = cache.dtype === "f16" && x.dtype === "f32";
  if ((!rounds && cache.dtype !== x.dtype) || cache.shape.length !== 2 || sizeOf(positions.shape) !== 1)
    return undefined;
  return {
    inplace: true,
    run([cache, x, position], [y]) {
      const row = position[0] as number;
      const rows = y.length / width;
      const at = row * width;
      if (at < 0 || at + x.length > y.length) refuseRow("kvAppend", row < 0 ? row : Math.max(row, rows), rows);
      if (cache.buffer !== y.buffer || cache.byteOffset !== y.byteOffset) y.set(cache as never);
      if (!rounds) {
        y.set(x as never, at);
        return;
      }
      const to = (y as Uint16Array).subarray(at, at + x.length);
      encodeFloats("f16", x as Float32Array, to);
      refuseUnfit(to);
    },
  };
});

const rotate = hostKernel(rotaryEmbedding, "cpu/rotaryEmbedding", ([x, cos, , positions], _, attrs) => {
  if (x.dtype !== "f32" || cos.dtype !== "f32" || (positions && positions.dtype === "u64")) return undefined;
  const g = rotaryGeometry(x, cos, positions, attrs);
  const perToken = positions !== undefined && sizeOf(positions.shape) === g.batches * g.seq;
  const half = g.rotaryDim / 2;
  const rows = sizeOf(cos.shape) / half;
  const [first, second] = attrs.interleaved ? [2, 1] : [1, half];
  /** Where the angles of token t of sample b begin. */
  const angleOf = (positions: TypedArray | undefined, b: number, t: number): number => {
    const token = b * g.seq + t;
    const row = positions
      ? perToken
        ? Number(positions[token])
        : Number(positions[positions.length === 1 ? 0 : b]) + t
      : token;
    if (row < 0 || row >= rows) refusePosition(row, rows);
    return row * half;
  };
  const head = (src: Float32Array, out: Float32Array, at: number, c: Float32Array, s: Float32Array, angle: number) => {
    for (let i = 0, p = at; i < half; i++, p += first) {
      const [re, im] = [src[p], src[p + second]];
      out[p] = c[angle + i] * re - s[angle + i] * im;
      out[p + second] = s[angle + i] * re + c[angle + i] * im;
    }
  };
  return {
    inplace: true,
    run([x, cos, sin, positions], [y]) {
      if (x !== y) y.set(x as never);
      for (let b = 0; b < g.batches; b++)
        for (let t = 0; t < g.seq; t++) {
          const angle = angleOf(positions, b, t);
          for (let h = 0; h < g.heads; h++) {
            const at = b * g.batch + h * g.head + t * g.position;
            head(x as Float32Array, y as Float32Array, at, cos as Float32Array, sin as Float32Array, angle);
          }
        }
    },
  };
});

type Row = Float32Array | Float64Array;

function dot(a: Row, at: number, b: Row, bt: number, n: number): number {
  let s0 = 0;
  let s1 = 0;
  let i = 0;
  for (; i + 1 < n; i += 2) {
    s0 += a[at + i] * b[bt + i];
    s1 += a[at + i + 1] * b[bt + i + 1];
  }
  return i < n ? s0 + s1 + a[at + i] * b[bt + i] : s0 + s1;
}

const attend = hostKernel(
  cachedAttention,
  "cpu/cachedAttention",
  ([q, k, v, positions], _, attrs: CachedAttentionAttrs) => {
    if (q.dtype !== "f32" || k.shape.length !== 2 || sizeOf(positions.shape) !== 1) return undefined;
    if (k.dtype !== "f32" && k.dtype !== "f16") return undefined;
    const { tokens, heads, group, dim, valueDim, scale } = cachedGeometry(q, k, v, attrs);
    const { softcap = 0 } = attrs;
    const [kRow, vRow] = [k.shape[1], v.shape[1]];
    const sums = new Float64Array(valueDim);
    const table = k.dtype === "f16" ? f16Table() : undefined;
    const decoded = new Float32Array(Math.max(dim, valueDim));
    /** Elements of a cache in f16 from `at` on, as f32. */
    const decode = (cache: ArrayLike<number>, at: number, n: number): void => {
      for (let i = 0; i < n; i++) decoded[i] = table![cache[at + i]];
    };
    return {
      run([q, k, v, position], [y]) {
        const [queries, keys, values, out] = [q, k, v, y] as Float32Array[];
        const start = position[0] as number;
        const rows = k.length / kRow;
        if (start < 0 || start + tokens > rows)
          refuseRow("cachedAttention", start < 0 ? start : Math.max(start, rows), rows);
        for (let t = 0; t < tokens; t++) {
          const [from, to] = visibleKeys({ ...attrs, causal: true }, t, start, start + tokens);
          for (let h = 0; h < heads; h++) {
            const shared = Math.floor(h / group);
            const at = (t * heads + h) * dim;
            let max = -Infinity;
            let total = 0;
            sums.fill(0);
            for (let j = from; j < to; j++) {
              const key = j * kRow + shared * dim;
              if (table) decode(keys, key, dim);
              let score = (table ? dot(queries, at, decoded, 0, dim) : dot(queries, at, keys, key, dim)) * scale;
              if (softcap > 0) score = softcap * tanhF32(score / softcap);
              if (score > max) {
                const shrink = expF32(max - score);
                total *= shrink;
                for (let d = 0; d < valueDim; d++) sums[d] *= shrink;
                max = score;
              }
              const weight = expF32(score - max);
              total += weight;
              const value = j * vRow + shared * valueDim;
              if (table) {
                decode(values, value, valueDim);
                for (let d = 0; d < valueDim; d++) sums[d] += weight * decoded[d];
              } else for (let d = 0; d < valueDim; d++) sums[d] += weight * values[value + d];
            }
            const o = (t * heads + h) * valueDim;
            for (let d = 0; d < valueDim; d++) out[o + d] = sums[d] / total;
          }
        }
      },
    };
  },
);

export const decoderKernels: readonly Kernel<HostStep>[] = [append, rotate, attend];
