/** Keys and values kept between calls, in the form that ONNX Runtime's GroupQueryAttention has. */
import { isInteger } from "../tensor/dtype.ts";
import { sameShape } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import { headView } from "./attention.ts";
import { dtypeError, numbersOf, sameDType, shapeError, valuesOf } from "./check.ts";
import { movers } from "./copy.ts";
import { defineOp, type Operand } from "./op.ts";

const seqOf = (x: TensorType): number => x.shape[x.shape.length - 2];

/** Tokens cached before this call: none when the call brings all of them. */
const startOf = (length: number, seq: number, total: number): number => (seq === total ? 0 : length - seq);

/** @throws ShapeError for fewer tokens after the call than it brings */
function totalOf(op: string, total: Operand, seq: number): number {
  const [t] = valuesOf(op, "total", total);
  if (t < seq) shapeError(op, `${seq} tokens come, and there are ${t} after them`, total);
  return t;
}

function expectLengths(op: string, lengths: TensorType, batch: number): void {
  if (!isInteger(lengths.dtype)) dtypeError(op, "lengths are integers", lengths);
  if (!sameShape(lengths.shape, [batch])) shapeError(op, `takes one length for each of ${batch} samples`, lengths);
}

/**
 * Position of the first new token of every sample, i64 [batch]. x [batch, heads, seq, dim] or packed [batch, seq, ...];
 * lengths [batch]: tokens after this call; total: the longest of them (a number). Samples of a first call are padded
 * at the end, so all start at 0.
 * @throws ShapeError for a total below the number of new tokens
 */
export const cacheStart = /* @__PURE__ */ defineOp({
  name: "cacheStart",
  inputs: ["x", "lengths", "total"],
  host: ["total"],
  infer([x, lengths, total]) {
    expectLengths("cacheStart", lengths, x.shape[0]);
    totalOf("cacheStart", total, seqOf(x));
    return { dtype: "i64", shape: [x.shape[0]] };
  },
  reference([x, lengths, total], _, [y]) {
    const [t] = numbersOf(total);
    numbersOf(lengths).forEach((n, b) => {
      (y.data as BigInt64Array)[b] = BigInt(startOf(n, seqOf(x), t));
    });
  },
});

export interface AppendCacheAttrs {
  /** Of a packed (rank 3) `x`. */
  heads?: number;
}

/**
 * The cache with the new tokens written after what each sample has: [batch, heads, max(cached, total), dim].
 * x [batch, heads, seq, dim] or packed [batch, seq, heads * dim]; past [batch, heads, cached, dim]; `lengths` and
 * `total` as for `cacheStart`. Any float dtype.
 * @throws ShapeError where tokens don't fit, and, but on GPUs, for a length below 1 or beyond the cache
 */
export const appendCache = /* @__PURE__ */ defineOp({
  name: "appendCache",
  inputs: ["x", "lengths", "total", "past?"],
  host: ["total"],
  infer([x, lengths, total, past], { heads }: AppendCacheAttrs) {
    const view = headView("appendCache", x, heads);
    expectLengths("appendCache", lengths, view.batches);
    const t = totalOf("appendCache", total, view.positions);
    const cached = past?.shape[2] ?? 0;
    if (past && !sameShape(past.shape, [view.batches, view.heads, cached, view.dim]))
      shapeError("appendCache", "past does not match", past, x);
    return {
      dtype: sameDType("appendCache", x, past),
      shape: [view.batches, view.heads, Math.max(cached, t), view.dim],
    };
  },
  reference([x, lengths, total, past], { heads }, [y]) {
    const view = headView("appendCache", x, heads);
    const [t] = numbersOf(total);
    const { src, dst } = movers(x, y);
    const room = y.shape[2];
    const cached = past ? past.shape[2] : 0;
    numbersOf(lengths).forEach((length, b) => {
      if (length < 1 || length > room) shapeError("appendCache", `a length is ${length}, of ${room} at most`, x, past);
      const start = startOf(length, view.positions, t);
      if (start < 0 || start > cached || start + view.positions > room)
        shapeError("appendCache", `${view.positions} tokens from ${start} do not fit ${room}`, x, past);
      for (let h = 0; h < view.heads; h++) {
        const at = (b * view.heads + h) * room * view.dim;
        if (past) {
          const from = (b * view.heads + h) * cached * view.dim;
          dst.set((past.data as Float64Array).subarray(from, from + start * view.dim), at);
        }
        for (let p = 0; p < view.positions; p++) {
          const from = b * view.batch + h * view.head + p * view.position;
          dst.set(src.subarray(from, from + view.dim), at + (start + p) * view.dim);
        }
      }
    });
  },
});

/** Whether a padding mask stands for none. */
export const isDummy = (mask: TensorType, k: TensorType): boolean =>
  mask.shape.length === 2 && mask.shape[1] === 1 && seqOf(k) !== 1;

/**
 * ONNX Runtime's key padding mask as a bool mask for `attention`: [batch, keys] -> [batch, 1, 1, keys], [batch, seq,
 * keys] -> [batch, 1, seq, keys]; nonzero takes part. One column for several keys hides nothing. Lengths [batch] (or
 * [3 batch + 2], whose first are lengths; or [2 batch], where the first keys that take part follow them) need the number of
 * keys, which `k` tells: [batch, heads, keys, dim] or packed [batch, keys, ...].
 */
export const keyPaddingMask = /* @__PURE__ */ defineOp({
  name: "keyPaddingMask",
  inputs: ["mask", "k"],
  infer([mask, k]) {
    if (!isInteger(mask.dtype)) dtypeError("keyPaddingMask", "takes integers", mask);
    const [batch] = k.shape;
    const rank = mask.shape.length;
    if (rank === 1 && [batch, 2 * batch, 3 * batch + 2].includes(mask.shape[0]))
      return { dtype: "bool", shape: [batch, 1, 1, seqOf(k)] };
    if (rank === 2) return { dtype: "bool", shape: [mask.shape[0], 1, 1, mask.shape[1]] };
    if (rank === 3) return { dtype: "bool", shape: [mask.shape[0], 1, mask.shape[1], mask.shape[2]] };
    return shapeError("keyPaddingMask", "takes [batch], [2 batch], [batch, keys] or [batch, seq, keys]", mask, k);
  },
  reference([mask, k], _, [y]) {
    const values = numbersOf(mask);
    const out = y.data as Uint8Array;
    const [batch, , , keys] = y.shape;
    const [first, columns] = mask.shape;
    const hides = !isDummy(mask, k);
    for (let i = 0; i < out.length; i++) {
      const [b, j] = [Math.floor(i / keys), i % keys];
      if (columns === undefined) out[i] = Number(j < values[b] && (first !== 2 * batch || j >= values[b + batch]));
      else out[i] = Number(!hides || values[i] !== 0);
    }
  },
});
