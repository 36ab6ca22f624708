/**
 * Activations in 8 bit: each 32 elements as integers -127 .. 127 and a scale, x = scale q. A block is stored as
 *   codes    32 bytes; or their magnitudes, and 32 bytes that are 127 where they are negative and 128 elsewhere; or 32 words
 *            with even and odd k apart and multiplied as the weights' format wants
 *   floats   scale, and what its codes' sum (of all, of the first and of the last 16) contributes: times `sumFactor`; with
 *            magnitudes, the sum of the negative ones
 * or, where `pairs` are wanted, instead of the last two floats
 *   zero     for each 16 a pair of i16: what the weights' zero contributes to the sums of k with k & 2 = 0, and of others
 *   sums     one pair of i16: the sums of 16
 */
import {
  type Expr,
  type FunctionBuilder,
  f32,
  f32x4,
  i8x16,
  i16x8,
  i32,
  i32x4,
  type Local,
  type ModuleBuilder,
  select,
  v128,
} from "../assembler.ts";
import type { Pattern } from "./quantized-format.ts";

export interface QuantizedLayout {
  readonly codes: "bytes" | "magnitudes" | { readonly words: Pattern };
  /** Factor of the scales. */
  readonly scaleFactor: number;
  readonly sumFactor: number;
  readonly pairs?: "sums" | { readonly zero: number };
}

const quantizeParams = { x: "i32", to: "i32", count: "i32" } as const;

/** Bytes of the codes of 32 elements; the floats follow. */
export const codeBytes = ({ codes }: QuantizedLayout): number => (codes === "bytes" ? 32 : 64);
/** Bytes of 32 elements. */
export const blockBytes = (layout: QuantizedLayout): number => codeBytes(layout) + 16;

/** 1.5 * 2^23: adding it leaves an integer in the low bits, rounded half to even. */
const magic = 12582912;
/** Below this a block counts as zero: its inverse scale would overflow. */
const least = 1e-30;

const splat = (x: number) => v128.const(new Uint8Array(Float32Array.of(x, x, x, x).buffer));
const evenOdd = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15];

/** Of the 32 elements at `x`, once `load` has run: each divided by `step` and shifted by `bias`. */
function rounding(f: FunctionBuilder, x: Local<"i32">) {
  const bias = f.hoist(splat(magic));
  const absolute = f.hoist(v128.const(new Uint8Array(Int32Array.of(-1, -1, -1, -1).map((v) => v >>> 1).buffer)));
  const v = f.locals("v128", 8);
  const [top, inverse] = f.locals("v128", 2);
  const [largest, step] = f.locals("f32", 2);
  return {
    step,
    bias,
    load() {
      for (let i = 0; i < 8; i++) f.set(v[i], v128.load(x, 16 * i));
      // As integers, magnitudes are in the same order, and NaN is the largest.
      const absolutes = v.map((e): Expr<"v128"> => v128.and(e, absolute));
      f.set(
        top,
        absolutes.reduce((a, b) => i32x4.max_s(a, b)),
      );
      for (const rotate of [8, 4]) {
        const turned = Array.from({ length: 16 }, (_, i) => (i + rotate) % 16);
        f.set(top, i32x4.max_s(top, i8x16.shuffle(top, top, turned)));
      }
      f.set(largest, f32x4.extract_lane(top, 0));
      const isZero = f32.lt(largest, least);
      f.set(step, select(f32.const(0), f32.mul(largest, 1 / 127), isZero));
      f.set(inverse, f32x4.splat(select(f32.const(0), f32.div(127, largest), isZero)));
    },
    shifted: (i: number) => f32x4.add(f32x4.mul(v[i], inverse), bias),
  };
}

/** Writes `count` elements, a multiple of 32, as the numbers that stand for them in 8 bit. */
export const emitRound = (m: ModuleBuilder, name: string) =>
  m.func({ name, params: quantizeParams }, (f, { x, to, count }) => {
    const { load, shifted, step, bias } = rounding(f, x);
    const end = f.let(i32.add(x, i32.shl(count, 2)));
    f.while(i32.lt_u(x, end), () => {
      load();
      const factor = f.let(f32x4.splat(step));
      for (let i = 0; i < 8; i++) f.v128.store(to, f32x4.mul(f32x4.sub(shifted(i), bias), factor), 16 * i);
      f.increment(x, 128);
      f.increment(to, 128);
    });
  });

/** Quantises `count` elements, whole periods of the pattern, from `x` to `to`. */
export function emitQuantize(m: ModuleBuilder, name: string, layout: QuantizedLayout) {
  const { codes, scaleFactor, sumFactor, pairs: wanted } = layout;
  const words = typeof codes === "string" ? undefined : codes.words;
  const magnitudes = codes === "magnitudes";
  // Sixteens in one turn of the loop: at least a block.
  const period = Math.max(2, words?.length ?? 0);
  return m.func({ name, params: quantizeParams }, (f, { x, to, count }) => {
    const ones = f.hoist(v128.const(new Uint8Array(Int16Array.from({ length: 8 }, () => 1).buffer)));
    const top = f.hoist(v128.const(new Uint8Array(16).fill(128)));
    const { load, shifted, step, bias } = rounding(f, x);
    const scale = f.local("f32");
    const sums = f.locals("i32", 2);
    const end = f.let(i32.add(x, i32.shl(count, 2)));
    const lanes = (t: Expr<"v128">): Expr<"i32"> => {
      const s = f.let(t);
      const pair = f.let(i32x4.add(s, i8x16.shuffle(s, s, [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7])));
      return i32.add(i32x4.extract_lane(pair, 0), i32x4.extract_lane(pair, 1));
    };
    const block = (first: number) => {
      load();
      f.set(scale, f32.mul(step, scaleFactor));
      const whole = (i: number) => i32x4.sub(shifted(i), bias);
      const pairs = [0, 1, 2, 3].map((i) => f.let(i16x8.narrow_i32x4_s(whole(2 * i), whole(2 * i + 1))));
      pairs.forEach((p, i) => {
        if (!words) return;
        const factors = words[(first + (i >> 1)) % words.length];
        const ordered = i8x16.shuffle(p, p, evenOdd);
        const [even, odd] = factors;
        const by = f.hoist(
          v128.const(new Uint8Array(Int16Array.of(even, even, odd, odd, even, even, odd, odd).buffer)),
        );
        f.v128.store(to, even === 1 && odd === 1 ? ordered : i16x8.mul(ordered, by), 16 * i);
      });
      if (!words)
        for (const i of [0, 1]) {
          const bytes = f.let(i8x16.narrow_i16x8_s(pairs[2 * i], pairs[2 * i + 1]));
          f.v128.store(to, magnitudes ? i8x16.abs(bytes) : bytes, 16 * i);
          if (magnitudes) f.v128.store(to, v128.xor(i8x16.shr_s(bytes, 7), top), 32 + 16 * i);
        }
      const summed = magnitudes ? pairs.map((p) => i16x8.min_s(p, f.hoist(v128.const(new Uint8Array(16))))) : pairs;
      sums.forEach((sum, i) => {
        f.set(
          sum,
          lanes(i32x4.add(i32x4.dot_i16x8_s(summed[2 * i], ones), i32x4.dot_i16x8_s(summed[2 * i + 1], ones))),
        );
      });
      const floats = codeBytes(layout);
      const weighted = (sum: Expr<"i32">) => f32.mul(f32.mul(f32.convert_i32_s(sum), sumFactor / scaleFactor), scale);
      f.f32.store(to, scale, floats);
      f.f32.store(to, weighted(i32.add(sums[0], sums[1])), floats + 4);
      if (!wanted) {
        f.f32.store(to, weighted(sums[0]), floats + 8);
        f.f32.store(to, weighted(sums[1]), floats + 12);
      } else if (wanted === "sums") {
        f.i32.store16(to, sums[0], floats + 8);
        f.i32.store16(to, sums[1], floats + 10);
      } else
        for (const i of [0, 1]) {
          // Lanes of `dot` are sums of neighbours: even ones have k & 2 = 0.
          const [a, b] = [pairs[2 * i], pairs[2 * i + 1]];
          const four = f.let(i32x4.add(i32x4.dot_i16x8_s(a, ones), i32x4.dot_i16x8_s(b, ones)));
          for (const lane of [0, 1]) {
            const sum = i32.add(i32x4.extract_lane(four, lane), i32x4.extract_lane(four, lane + 2));
            f.i32.store16(to, i32.mul(sum, -wanted.zero), floats + 8 + 4 * i + 2 * lane);
          }
        }
      f.increment(x, 128);
      f.increment(to, blockBytes(layout));
    };
    f.while(i32.lt_u(x, end), () => {
      for (let first = 0; first < period; first += 2) block(first);
    });
  });
}
