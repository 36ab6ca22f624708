/**
 * Winograd's minimal filtering for 3x3 kernels (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
 * 2015): a tile of m x m outputs reads t x t inputs, t = m + 2. Inputs and kernels are transformed, multiplied point by
 * point (summed over channels: one matrix product for each of the t^2 points), and transformed back. F(2x2) needs 16
 * multiplications where the definition has 36, F(4x4) 36 instead of 144.
 *
 * Both transforms work on four tiles at a time, one in each lane.
 *
 * A tile is one sum after all: an input that is not finite makes NaN of every result of the tiles that read it, and one
 * that dwarfs the others costs them digits.
 */
import {
  type Func,
  type FunctionBuilder,
  f32x4,
  i8x16,
  i32,
  type Local,
  type ModuleBuilder,
  v128,
} from "../assembler.ts";
import type { PackSlice } from "./conv-pack.ts";
import type { Source } from "./conv-stage.ts";
import { transpose4 } from "./gemm-pack.ts";
import { type Fma, multiplyAdd } from "./gemm-tile.ts";
import { constant } from "./math.ts";

export type TileSize = 2 | 4;
type Lanes = Local<"v128">;

/**
 * F(4x4) evaluates polynomials at 0, +-P, +-Q and infinity. The usual 1 and 2 make the transforms cheaper by four
 * multiplications and the result worse: an rms error of 12e-7 of the result's rms (32 channels), where these points
 * have 5.5e-7 and adding up products one by one has 3e-7. Their powers are exact in f32.
 */
const P = 5 / 8;
const Q = 3 / 2;

/** Rows of G: a kernel's three taps to t points. */
export const kernelTransform: Record<TileSize, readonly (readonly number[])[]> = {
  2: [
    [1, 0, 0],
    [1 / 2, 1 / 2, 1 / 2],
    [1 / 2, -1 / 2, 1 / 2],
    [0, 0, 1],
  ],
  4: [
    [1 / (P * P * Q * Q), 0, 0],
    ...[P, -P].map((x) => [1, x, x * x].map((v) => v / (2 * P * P * (P * P - Q * Q)))),
    ...[Q, -Q].map((x) => [1, x, x * x].map((v) => v / (2 * Q * Q * (Q * Q - P * P)))),
    [0, 0, 1],
  ],
};

/** Writes G w G^T of the 3x3 kernel at w[at], computed in float64: its points to out[to], out[to + step] and so on. */
export type TransformKernel = (w: ArrayLike<number>, at: number, out: Float32Array, to: number, step: number) => void;

export function kernelTransformer(m: TileSize): TransformKernel {
  const g = Float64Array.from(kernelTransform[m].flat());
  const half = new Float64Array(g.length);
  return (w, at, out, to, step) => {
    for (let i = 0; i < g.length; i += 3)
      for (let x = 0; x < 3; x++) half[i + x] = g[i] * w[at + x] + g[i + 1] * w[at + 3 + x] + g[i + 2] * w[at + 6 + x];
    for (let i = 0; i < g.length; i += 3)
      for (let j = 0; j < g.length; j += 3, to += step)
        out[to] = g[j] * half[i] + g[j + 1] * half[i + 1] + g[j + 2] * half[i + 2];
  };
}

/** Arithmetic with constants, fused where that exists. */
const arithmetic = (f: FunctionBuilder, fma: Fma) => ({
  add: (a: Lanes, b: Lanes) => f.let(f32x4.add(a, b)),
  sub: (a: Lanes, b: Lanes) => f.let(f32x4.sub(a, b)),
  times: (factor: number, a: Lanes) => f.let(f32x4.mul(a, constant(f, factor))),
  /** a + factor b */
  plus: (a: Lanes, factor: number, b: Lanes) => f.let(multiplyAdd(fma, b, constant(f, factor), a)),
});

/** B^T d: one row or column of inputs. */
function inputTransform(f: FunctionBuilder, fma: Fma, d: readonly Lanes[]): Lanes[] {
  const { add, sub, plus } = arithmetic(f, fma);
  if (d.length === 4) return [sub(d[0], d[2]), add(d[1], d[2]), sub(d[2], d[1]), sub(d[1], d[3])];
  const pair = (x: number, other: number) => {
    const even = plus(d[4], -other * other, d[2]);
    const odd = plus(d[3], -other * other, d[1]);
    return [plus(even, x, odd), plus(even, -x, odd)];
  };
  const end = (i: number) => plus(plus(d[i + 4], -P * P - Q * Q, d[i + 2]), P * P * Q * Q, d[i]);
  return [end(0), ...pair(P, Q), ...pair(Q, P), end(1)];
}

/** A^T m: one row or column of points to outputs. */
function outputTransform(f: FunctionBuilder, fma: Fma, p: readonly Lanes[]): Lanes[] {
  const { add, sub, times, plus } = arithmetic(f, fma);
  if (p.length === 4) return [add(add(p[0], p[1]), p[2]), sub(sub(p[1], p[2]), p[3])];
  const [even, odd] = [add(p[1], p[2]), sub(p[1], p[2])];
  const [even2, odd2] = [add(p[3], p[4]), sub(p[3], p[4])];
  return [
    add(add(p[0], even), even2),
    plus(times(P, odd), Q, odd2),
    plus(times(P ** 2, even), Q ** 2, even2),
    add(plus(times(P ** 3, odd), Q ** 3, odd2), p[5]),
  ];
}

/** Packs transformed inputs: panels of eight tiles, `pointBytes` from one point to the next. */
export const packTiles =
  (m: TileSize, fma: Fma, { taps }: Source, pointBytes: number): PackSlice =>
  (f, load, out) => {
    const t = m + 2;
    const all = Array.from({ length: t }, (_, i) => i);
    for (const half of [0, 1] as const) {
      const columns = all.map((j) =>
        inputTransform(
          f,
          fma,
          all.map((i) => f.let(load(half, taps[i][j]))),
        ),
      );
      for (const i of all)
        inputTransform(
          f,
          fma,
          columns.map((c) => c[i]),
        ).forEach((point, j) => {
          f.v128.store(out, point, (i * t + j) * pointBytes + 16 * half);
        });
    }
    f.increment(out, 32);
  };

const untileParams = { points: "i32", offsets: "i32", count: "i32", to: "i32" } as const;

/**
 * Transforms the sums of one channel back: `count` tiles (a multiple of four) to rows of outputs at `to`, tile i at
 * offsets[i].
 */
export function emitUntile(
  module: ModuleBuilder,
  o: { name: string; m: TileSize; fma: Fma; pointBytes: number; rowBytes: number },
): Func<typeof untileParams, undefined> {
  const { m, fma } = o;
  const t = m + 2;
  const all = Array.from({ length: t }, (_, i) => i);
  return module.func({ name: o.name, params: untileParams }, (f, p) => {
    f.while(i32.gt_s(p.count, 0), () => {
      const columns = all.map((j) =>
        outputTransform(
          f,
          fma,
          all.map((i) => f.let(v128.load(p.points, (i * t + j) * o.pointBytes))),
        ),
      );
      const tiles = [0, 1, 2, 3].map((i) => f.let(i32.add(p.to, i32.load(p.offsets, 4 * i))));
      for (let i = 0; i < m; i++) {
        const row = outputTransform(
          f,
          fma,
          columns.map((c) => c[i]),
        );
        storeRow(f, row, tiles, i * o.rowBytes);
      }
      f.increment(p.points, 16);
      f.increment(p.offsets, 16);
      f.increment(p.count, -4);
    });
  });
}

/** Writes one row of each of four tiles. */
function storeRow(f: FunctionBuilder, row: readonly Lanes[], tiles: readonly Local<"i32">[], offset: number): void {
  if (row.length === 4) {
    transpose4(f, [...row]).forEach((v, i) => {
      f.v128.store(tiles[i], v, offset);
    });
    return;
  }
  const words = (...order: number[]) => order.flatMap((word) => [0, 1, 2, 3].map((byte) => 4 * word + byte));
  const pairs = [words(0, 4, 1, 5), words(2, 6, 3, 7)].map((order) => f.let(i8x16.shuffle(row[0], row[1], order)));
  tiles.forEach((tile, i) => {
    f.v128.store64_lane(tile, pairs[i >> 1], i & 1, offset);
  });
}
