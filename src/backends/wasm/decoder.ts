/**
 * What decoders do with tokens and their caches: caches are found through the state table, the number of keys is known
 * at run time only, so that one linked program serves every step of a text, and any few texts together.
 *
 *   kvAppend           memory.copy behind the rows that are there, or f32 rounded to f16
 *   rotaryEmbedding    pairs rotated four at a time, half-split or interleaved
 *   cachedAttention    kernels/cached-attention.ts, divided among threads by tokens, or by keys where tokens are few
 */
import { cachedAttention, cachedGeometry } from "../../ops/cached-attention.ts";
import { kvAppend } from "../../ops/kv-append.ts";
import { rotaryEmbedding, rotaryGeometry } from "../../ops/rotary-embedding.ts";
import { bytesOf } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { type Expr, f32x4, i8x16, i32, type Local, type Operand, v128 } from "./assembler.ts";
import {
  attentionScratch,
  type CachedAttentionShape,
  emitCachedAttention,
  emitMerge,
  partialLayout,
} from "./kernels/cached-attention.ts";
import { multiplyAdd } from "./kernels/gemm-tile.ts";
import { emitToHalf } from "./kernels/half.ts";
import { addressOf, type StepEmitter, type WasmKernels, type WasmTarget, wasmKernel } from "./step.ts";

/** Where the cache of a sequence is, and how many rows it has: state, or one of several in a tensor. */
function cacheOf(
  e: StepEmitter,
  input: number,
  { dtype, shape }: TensorType,
  sequence: Local<"i32"> | undefined,
  at: number,
) {
  const state = e.state(input, sequence);
  if (state) return state;
  const [rows, n] = shape.slice(-2);
  if (!sequence) return { at, rows };
  const { f } = e;
  const count = shape.length === 3 ? shape[0] : 1;
  f.if(i32.ge_u(sequence, count), () => f.unreachable());
  return { at: addressOf(at, sequence, rows * n * bytesOf(dtype)), rows };
}

/** Whether tokens have their own positions, and sequences. */
const areSeveral = (position: TensorType): boolean => sizeOf(position.shape) > 1;

const append = wasmKernel(kvAppend, "wasm/kvAppend", ([cache, x, positions, sequences]) => {
  const rounds = cache.dtype === "f16" && x.dtype === "f32";
  const n = cache.shape.at(-1)!;
  if ((!rounds && cache.dtype !== x.dtype) || (rounds && n % 4)) return undefined;
  const rowBytes = n * bytesOf(cache.dtype);
  const tokens = sizeOf(x.shape) / n;
  return {
    inplace: true,
    alike: true,
    emit(e) {
      const { f } = e;
      const [from, x, position, sequence] = e.inputs;
      const [to] = e.outputs;
      if (!e.state(0) && from !== to) f.memory.copy(to, from, sizeOf(cache.shape) * bytesOf(cache.dtype));
      const put = (token: Operand<"i32">, count: number, of: Local<"i32"> | undefined) => {
        const { at, rows } = cacheOf(e, 0, cache, of, to);
        const row = f.let(i32.load(addressOf(position, token, 4)));
        f.if(i32.or(i32.lt_s(row, 0), i32.gt_s(i32.add(row, count), rows)), () => f.unreachable());
        const [target, source] = [addressOf(at, row, rowBytes), addressOf(x, token, n * (rounds ? 4 : rowBytes / n))];
        if (rounds) f.call(emitToHalf(e), { x: source, y: target, count: n * count });
        else f.memory.copy(target, source, rowBytes * count);
      };
      const putUnlessGap = (token: Operand<"i32">, count: number) => {
        const of = sequences && f.let(i32.load(addressOf(sequence, token, 4)));
        if (of) f.if(i32.ne(of, -1), () => put(token, count, of));
        else put(token, count, undefined);
      };
      const t = f.local("i32");
      if (areSeveral(positions)) f.forRange(t, 0, tokens, 1, () => putUnlessGap(t, 1));
      else putUnlessGap(0, tokens);
    },
  };
});

/** Pairs as neighbours: (a, b) (c, d) -> (b, a) (d, c), and a row of two angles repeated for both of a pair. */
const swapPairs = [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11];
const repeatPairs = [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7];
const alternate = new Uint8Array(Float32Array.of(-1, 1, -1, 1).buffer);

const rotate = wasmKernel(rotaryEmbedding, "wasm/rotaryEmbedding", ([x, cos, , positions], _, attrs) => {
  const g = rotaryGeometry(x, cos, positions, attrs);
  const half = g.rotaryDim / 2;
  const lanes = attrs.interleaved ? 2 : 4;
  if (x.dtype !== "f32" || cos.dtype !== "f32" || (positions && positions.dtype !== "i32")) return undefined;
  const perToken = positions !== undefined && areSeveral(positions);
  const rows = sizeOf(cos.shape) / half;
  if (g.batches !== 1 || half % lanes) return undefined;
  return {
    inplace: true,
    alike: true,
    work: g.seq < 8 ? 0 : undefined,
    emit(e) {
      const { f } = e;
      const [x, cos, sin, position] = e.inputs;
      const [y] = e.outputs;
      const [t, h, i, from, to, c, s] = f.locals("i32", 7);
      const share = g.seq < 8 ? { from: 0, to: g.seq } : e.share(g.seq);
      const rest = g.dim - g.rotaryDim;
      f.forRange(t, share.from, share.to, 1, () => {
        const first = (): Operand<"i32"> => (positions ? i32.load(position) : 0);
        const row = f.let(perToken ? i32.load(addressOf(position, t, 4)) : i32.add(first(), t));
        f.if(i32.ge_u(row, rows), () => f.unreachable());
        const angles = f.let(i32.mul(row, 4 * half));
        f.set(c, i32.add(angles, cos));
        f.set(s, i32.add(angles, sin));
        f.forRange(h, 0, g.heads, 1, () => {
          const at = f.let(i32.add(i32.mul(t, 4 * g.position), i32.mul(h, 4 * g.head)));
          f.set(from, i32.add(at, x));
          f.set(to, i32.add(at, y));
          f.forRange(i, 0, 4 * half, 4 * lanes, () => {
            if (attrs.interleaved) rotatePairs(e, i, { from, to, c, s });
            else rotateHalves(e, i, { from, to, c, s }, 4 * half);
          });
          if (rest && x !== y) f.memory.copy(i32.add(to, 4 * g.rotaryDim), i32.add(from, 4 * g.rotaryDim), 4 * rest);
        });
      });
    },
  };
});

type Rotation = Record<"from" | "to" | "c" | "s", Operand<"i32">>;

function rotateHalves({ f, target }: StepEmitter, i: Operand<"i32">, p: Rotation, halfBytes: number): void {
  const { relaxedSimd } = target.features;
  const [c, s] = [f.let(v128.load(i32.add(p.c, i))), f.let(v128.load(i32.add(p.s, i)))];
  const from = f.let(i32.add(p.from, i));
  const [re, im] = [f.let(v128.load(from)), f.let(v128.load(from, halfBytes))];
  const to = f.let(i32.add(p.to, i));
  f.v128.store(to, f32x4.sub(f32x4.mul(c, re), f32x4.mul(s, im)));
  f.v128.store(to, multiplyAdd(relaxedSimd, s, re, f32x4.mul(c, im)), halfBytes);
}

function rotatePairs({ f, target }: StepEmitter, i: Operand<"i32">, p: Rotation): void {
  const { relaxedSimd } = target.features;
  const angles = (base: Operand<"i32">) => {
    const two = f.let(v128.load64_zero(i32.add(base, i)));
    return i8x16.shuffle(two, two, repeatPairs);
  };
  const pairs = f.let(v128.load(i32.add(p.from, i32.shl(i, 1))));
  const sine = f32x4.mul(angles(p.s), f.hoist(v128.const(alternate)));
  const turned = f32x4.mul(i8x16.shuffle(pairs, pairs, swapPairs), sine);
  f.v128.store(i32.add(p.to, i32.shl(i, 1)), multiplyAdd(relaxedSimd, pairs, angles(p.c), turned));
}

const attend = (target: WasmTarget) =>
  wasmKernel(cachedAttention, "wasm/cachedAttention", ([q, k, v, positions, sequences], _, attrs) => {
    const g = cachedGeometry(q, k, v, attrs);
    const { dtype } = k;
    if (q.dtype !== "f32" || (dtype !== "f32" && dtype !== "f16") || g.dim % 4 || g.valueDim % 4) return undefined;
    const { leftWindow = -1, softcap = 0 } = attrs;
    const { heads, kvHeads, dim, valueDim, scale } = g;
    const shape: CachedAttentionShape = { heads, kvHeads, dim, valueDim, dtype, scale, softcap };
    const several = areSeveral(positions);
    const [kRow, vRow] = [dim, valueDim].map((n) => kvHeads * n * bytesOf(dtype));
    const scratchBytes = attentionScratch(shape);
    const { bytes: partialBytes } = partialLayout(shape);
    // Threads take tokens where there are many, or else each a part of the keys of every token.
    const byTokens = g.tokens >= 4 * target.threads;
    const partials = byTokens ? target.threads : g.tokens * target.threads;
    const partialsAt = (e: StepEmitter, index: Operand<"i32">) =>
      addressOf(addressOf(e.workspace, target.threads, scratchBytes), index, partialBytes);
    /** Runs the code for a token's sequence, or for one that is in none. */
    const forToken = (
      e: StepEmitter,
      t: Local<"i32">,
      run: (of: Local<"i32"> | undefined) => void,
      gap: () => void = () => {},
    ) => {
      const of = sequences && e.f.let(i32.load(several ? addressOf(e.inputs[4], t, 4) : e.inputs[4]));
      if (of) e.f.if(i32.eq(of, -1), gap, () => run(of));
      else run(undefined);
    };
    const outputOf = (e: StepEmitter, t: Local<"i32">) => addressOf(e.outputs[0], t, 4 * heads * valueDim);
    const merge = (e: StepEmitter, t: Local<"i32">, index: Operand<"i32">, parts: number) =>
      e.f.call(emitMerge(e, shape), { y: outputOf(e, t), partial: partialsAt(e, index), parts, step: partialBytes });
    const clear = (e: StepEmitter, t: Local<"i32">) => e.f.memory.fill(outputOf(e, t), 0, 4 * heads * valueDim);

    return {
      workspaceBytes: scratchBytes * target.threads + partialBytes * partials,
      work: sizeOf(q.shape) * 256,
      alike: true,
      emit(e) {
        const { f } = e;
        const [queries, , , position] = e.inputs;
        const { threads } = e.target;
        const [t, part, row, from, begin, end] = f.locals("i32", 6);
        /** The keys of a part of `parts`, a number of fours but for the last. */
        const attendTo = (of: Local<"i32"> | undefined, index: Operand<"i32">, parts: number) => {
          const [keys, values] = [cacheOf(e, 1, k, of, e.inputs[1]), cacheOf(e, 2, v, of, e.inputs[2])];
          f.set(row, several ? i32.load(addressOf(position, t, 4)) : i32.add(i32.load(position), t));
          f.if(i32.or(i32.lt_s(row, 0), i32.ge_s(row, keys.rows)), () => f.unreachable());
          f.set(from, 0);
          if (leftWindow >= 0) f.if(i32.gt_s(row, leftWindow), () => f.set(from, i32.sub(row, leftWindow)));
          f.set(begin, 0);
          f.set(end, i32.add(i32.sub(row, from), 1));
          if (parts > 1) {
            const count = f.let(end);
            const bound = (p: Expr<"i32">) => i32.and(i32.div_u(i32.mul(count, p), parts), -4);
            f.set(begin, bound(part));
            f.if(i32.lt_u(part, parts - 1), () => f.set(end, bound(i32.add(part, 1))));
          }
          f.increment(from, begin);
          f.call(emitCachedAttention(e, shape), {
            q: addressOf(queries, t, 4 * heads * dim),
            k: addressOf(keys.at, from, kRow),
            v: addressOf(values.at, from, vRow),
            n: i32.sub(end, begin),
            partial: partialsAt(e, index),
            scratch: addressOf(e.workspace, e.thread, scratchBytes),
          });
        };
        if (byTokens) {
          const share = e.share(g.tokens, 1, 4 * threads);
          f.forRange(t, share.from, share.to, 1, () =>
            forToken(
              e,
              t,
              (of) => {
                attendTo(of, e.thread, 1);
                merge(e, t, e.thread, 1);
              },
              () => clear(e, t),
            ),
          );
        } else {
          const share = e.share(threads);
          f.forRange(part, share.from, share.to, 1, () =>
            f.forRange(t, 0, g.tokens, 1, () =>
              forToken(e, t, (of) => attendTo(of, i32.add(i32.mul(t, threads), part), threads)),
            ),
          );
        }
      },
      finish(e) {
        if (byTokens) return;
        const { threads } = e.target;
        const t = e.f.local("i32");
        e.f.forRange(t, 0, g.tokens, 1, () =>
          forToken(
            e,
            t,
            () => merge(e, t, i32.mul(t, threads), threads),
            () => clear(e, t),
          ),
        );
      },
    };
  });

export const decoderKernels: WasmKernels = (target) => [append, rotate, attend(target)];
