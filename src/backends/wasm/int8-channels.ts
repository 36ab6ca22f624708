/** Channels of bytes side by side in words: see conv-int8.ts. The bytes of a plane are `size`, planes follow one another. */

import type { TypedArray } from "../../tensor/dtype.ts";
import { i8x16, i16x8, i32, i32x4, v128 } from "./assembler.ts";
import { zeroOf } from "./int8.ts";
import { packRows } from "./kernels/gemm-prepacked.ts";
import type { StepEmitter } from "./step.ts";

interface Weights {
  readonly groups: number;
  /** Output channels of a group. */
  readonly rows: number;
  /** Input channels of a group. */
  readonly channels: number;
  readonly taps: number;
  readonly perWord: number;
  readonly tileRows: number;
}

/** Weights less their zero points in panels of rows, and behind them the sum of each output channel's. */
export function packWeights(
  source: TypedArray,
  zeros: TypedArray | undefined,
  packed: Int32Array,
  { groups, rows, channels, taps, perWord, tileRows }: Weights,
): void {
  const bits = 32 / perWord;
  const mask = 2 ** bits - 1;
  const k = taps * Math.ceil(channels / perWord);
  const sums = packed.subarray(groups * rows * k);
  packed.fill(0);
  packRows({ groups, rows, k, tileRows }, (at, first, height) => {
    for (let channel = first; channel < first + height; channel++) {
      const zero = zeroOf(zeros, channel);
      for (let c = 0, from = channel * channels * taps; c < channels; c++) {
        const shift = bits * (c % perWord);
        let to = at + channel - first + Math.floor(c / perWord) * taps * height;
        for (let tap = 0; tap < taps; tap++, to += height) {
          const v = (source[from++] as number) - zero;
          packed[to] |= (v & mask) << shift;
          sums[channel] += v;
        }
      }
    }
  });
}

const params = { x: "i32", size: "i32", channels: "i32", zero: "i32", y: "i32" } as const;

/** Two by two, less their zero point, as 16-bit integers. */
export function pairFunction(e: StepEmitter, dtype: string) {
  const name = `pairs/${dtype}`;
  const load = dtype === "i8" ? v128.load8x8_s : v128.load8x8_u;
  const words = (first: number) =>
    Array.from({ length: 16 }, (_, i) => 2 * (first + (i >> 2)) + (i & 1) + (i & 2 ? 16 : 0));
  return e.shared(name, (m) =>
    m.func({ name, params }, (f, { x, size, channels, zero, y }) => {
      const zeros = f.let(i16x8.splat(zero));
      const [i, second] = f.locals("i32", 2);
      const [a, b, mask] = f.locals("v128", 3);
      f.while(i32.gt_s(channels, 0), () => {
        // The last of an odd number has no neighbour: zeros, made of itself.
        f.set(second, i32.gt_s(channels, 1));
        f.set(mask, i32x4.splat(i32.sub(0, second)));
        f.set(second, i32.add(x, i32.mul(second, size)));
        f.forRange(i, 0, size, 8, () => {
          f.set(a, i16x8.sub(load(i32.add(x, i)), zeros));
          f.set(b, v128.and(i16x8.sub(load(i32.add(second, i)), zeros), mask));
          const to = i32.add(y, i32.shl(i, 2));
          f.v128.store(to, i8x16.shuffle(a, b, words(0)));
          f.v128.store(to, i8x16.shuffle(a, b, words(4)), 16);
        });
        f.increment(x, i32.shl(size, 1));
        f.increment(y, i32.shl(size, 2));
        f.increment(channels, -2);
      });
    }),
  );
}

/** Four by four, as bytes: with their first bit turned, or not. What is missing to four is any channel: its weights are 0. */
export function fourFunction(e: StepEmitter, turns: boolean) {
  const name = `fours/${turns}`;
  const bytes = (first: number) => Array.from({ length: 16 }, (_, i) => first + (i >> 1) + (i & 1 ? 16 : 0));
  const words = (first: number) =>
    Array.from({ length: 16 }, (_, i) => first + 2 * (i >> 2) + (i & 1) + (i & 2 ? 16 : 0));
  return e.shared(name, (m) =>
    m.func({ name, params }, (f, { x, size, channels, y }) => {
      const i = f.local("i32");
      const [second, third, fourth] = f.locals("i32", 3);
      const load = (plane: typeof x) => {
        const v = v128.load(i32.add(plane, i));
        return f.let(turns ? v128.xor(v, f.hoist(i8x16.splat(128))) : v);
      };
      f.while(i32.gt_s(channels, 0), () => {
        [second, third, fourth].forEach((plane, c) => {
          f.set(plane, i32.add(x, i32.mul(i32.mul(size, c + 1), i32.gt_s(channels, c + 1))));
        });
        f.forRange(i, 0, size, 16, () => {
          const [a, b, c, d] = [x, second, third, fourth].map(load);
          const to = f.let(i32.add(y, i32.shl(i, 2)));
          [0, 8].forEach((half) => {
            const [ab, cd] = [f.let(i8x16.shuffle(a, b, bytes(half))), f.let(i8x16.shuffle(c, d, bytes(half)))];
            f.v128.store(to, i8x16.shuffle(ab, cd, words(0)), 4 * half);
            f.v128.store(to, i8x16.shuffle(ab, cd, words(8)), 4 * half + 16);
          });
        });
        f.increment(x, i32.shl(size, 2));
        f.increment(y, i32.shl(size, 2));
        f.increment(channels, -4);
      });
    }),
  );
}
