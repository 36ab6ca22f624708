/**
 * What decoders do with tokens and their caches: caches are found through the state table, the number of keys is known
 * at run time only, so that one linked program serves every step of a text, and any few texts together.
 *
 *   kvAppend           memory.copy behind the rows that are there, or f32 rounded to f16
 *   rotaryEmbedding    pairs rotated four at a time, half-split or interleaved
 *   cachedAttention    cached-attention.ts
 */
import { kvAppend } from "../../ops/kv-append.ts";
import { rotaryEmbedding, rotaryGeometry } from "../../ops/rotary-embedding.ts";
import { bytesOf } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { f32x4, i8x16, i32, type Local, type Operand, v128 } from "./assembler.ts";
import { areSeveral, cachedAttentionKernels, cacheOf } from "./cached-attention.ts";
import { multiplyAdd } from "./kernels/gemm-tile.ts";
import { emitToHalf } from "./kernels/half.ts";
import { addressOf, type StepEmitter, type WasmKernels, wasmKernel } from "./step.ts";

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
        if (rounds) f.call(emitToHalf(e, true), { x: source, y: target, count: n * count });
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

export const decoderKernels: WasmKernels = (target) => [append, rotate, ...cachedAttentionKernels(target)];
