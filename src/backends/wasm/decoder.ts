/**
 * What decoders do with tokens and their caches: caches are found through the state table, the number of keys is known
 * at run time only, so that one linked program serves every step of a text.
 *
 *   kvAppend           one memory.copy behind the rows that are there
 *   rotaryEmbedding    pairs rotated four at a time, half-split or interleaved
 *   cachedAttention    kernels/cached-attention.ts, divided among threads by heads and tokens
 */
import { cachedAttention, cachedGeometry } from "../../ops/cached-attention.ts";
import { kvAppend } from "../../ops/kv-append.ts";
import { rotaryEmbedding, rotaryGeometry } from "../../ops/rotary-embedding.ts";
import { bytesOf } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { f32x4, i8x16, i32, type Operand, v128 } from "./assembler.ts";
import { emitCachedAttention, scoreBytes } from "./kernels/cached-attention.ts";
import { multiplyAdd } from "./kernels/gemm-tile.ts";
import { addressOf, type StepEmitter, type WasmKernels, wasmKernel } from "./step.ts";

const append = wasmKernel(kvAppend, "wasm/kvAppend", ([cache, x]) => {
  const rowBytes = cache.shape[1] * bytesOf(cache.dtype);
  const tokenBytes = sizeOf(x.shape) * bytesOf(x.dtype);
  return {
    inplace: true,
    emit(e) {
      const { f } = e;
      const [from, x, position] = e.inputs;
      const state = e.state(0);
      const { at, rows } = state ?? { at: e.outputs[0], rows: cache.shape[0] };
      if (!state && from !== at) f.memory.copy(at, from, cache.shape[0] * rowBytes);
      const row = f.let(i32.load(position));
      const end = i32.add(row, tokenBytes / rowBytes);
      f.if(i32.or(i32.lt_s(row, 0), i32.gt_s(end, rows)), () => f.unreachable());
      f.memory.copy(addressOf(at, row, rowBytes), x, tokenBytes);
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
  if (x.dtype !== "f32" || cos.dtype !== "f32" || positions?.dtype !== "i32" || sizeOf(positions.shape) !== 1)
    return undefined;
  if (g.batches !== 1 || half % lanes) return undefined;
  return {
    inplace: true,
    work: g.seq < 8 ? 0 : undefined,
    emit(e) {
      const { f } = e;
      const [x, cos, sin, position] = e.inputs;
      const [y] = e.outputs;
      const [t, h, i, from, to, c, s] = f.locals("i32", 7);
      const share = g.seq < 8 ? { from: 0, to: g.seq } : e.share(g.seq);
      const rest = g.dim - g.rotaryDim;
      f.forRange(t, share.from, share.to, 1, () => {
        const angles = f.let(i32.mul(i32.add(i32.load(position), t), 4 * half));
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

export const decoderKernels: WasmKernels = (target) => [
  append,
  rotate,
  wasmKernel(cachedAttention, "wasm/cachedAttention", ([q, k, v], _, attrs) => {
    const g = cachedGeometry(q, k, v, attrs);
    if (q.dtype !== "f32" || g.dim % 4 || g.valueDim % 4) return undefined;
    return {
      workspaceBytes: scoreBytes * target.threads,
      work: sizeOf(q.shape) * 256,
      emit(e) {
        const { f } = e;
        const [q, , , position] = e.inputs;
        const [y] = e.outputs;
        const row = emitCachedAttention(e, { ...g, kRow: k.shape[1], vRow: v.shape[1], softcap: attrs.softcap ?? 0 });
        const keys = e.state(1)?.at ?? e.inputs[1];
        const values = e.state(2)?.at ?? e.inputs[2];
        const first = f.let(i32.load(position));
        const scores = addressOf(e.workspace, e.thread, scoreBytes);
        const [unit, t, h, from, to] = f.locals("i32", 5);
        // Heads before tokens, so that every thread gets tokens with few and with many keys.
        const share = e.share(g.heads * g.tokens);
        f.forRange(unit, share.from, share.to, 1, () => {
          f.set(h, i32.div_u(unit, g.tokens));
          f.set(t, i32.rem_u(unit, g.tokens));
          f.set(to, i32.add(i32.add(first, t), 1));
          f.set(from, 0);
          const { leftWindow = -1 } = attrs;
          if (leftWindow >= 0) f.if(i32.gt_s(to, leftWindow + 1), () => f.set(from, i32.sub(to, leftWindow + 1)));
          const shared = f.let(i32.div_u(h, g.group));
          const at = f.let(i32.add(i32.mul(t, g.heads), h));
          f.call(row, {
            q: i32.add(i32.mul(at, 4 * g.dim), q),
            k: i32.add(i32.add(i32.mul(from, 4 * k.shape[1]), i32.mul(shared, 4 * g.dim)), keys),
            v: i32.add(i32.add(i32.mul(from, 4 * v.shape[1]), i32.mul(shared, 4 * g.valueDim)), values),
            y: i32.add(i32.mul(at, 4 * g.valueDim), y),
            n: i32.sub(to, from),
            scores,
          });
        });
      },
    };
  }),
];
