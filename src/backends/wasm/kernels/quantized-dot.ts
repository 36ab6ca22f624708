/**
 * Dot products of eight rows of weights in blocks with a few rows of quantised activations.
 */
import { type Expr, type Func, f32x4, i16x8, i32, i32x4, type Local, type ModuleBuilder, v128 } from "../assembler.ts";
import { multiplyAdd } from "./gemm-tile.ts";
import { blockBytes, codeBytes, type QuantizedLayout } from "./quantized-activations.ts";
import { type Block, type Code, type Format, maskWords, type Reader, type Segment } from "./quantized-formats.ts";

type V = Expr<"v128">;

/** Addresses: eight rows of packed weights, the first row of activations, results; `ldo`: bytes between rows of these. */
const dotParams = { w: "i32", x: "i32", out: "i32", ldo: "i32" } as const;
export type DotFunction = Func<typeof dotParams, undefined>;

/** Rows of activations that one pass over the weights can serve. */
export const MOST_ROWS = 4;

/** Whether codes are multiplied as bytes: an unsigned 7-bit one with a signed one, as relaxed SIMD defines. */
const asBytes = (format: Format, relaxed: boolean): boolean => relaxed && format.largest !== undefined;

/** Half of the 2^112 that scales lack goes to the activations, half to the sums: neither overflows. */
const tinyFactor = 2 ** 56;

export function activationLayout(format: Format, relaxed: boolean): QuantizedLayout {
  const factor = format.tiny ? tinyFactor : 1;
  const bytes = asBytes(format, relaxed);
  return {
    words: bytes ? undefined : format.pattern,
    scaleFactor: bytes ? factor : factor / 256,
    sumFactor: factor * (format.zero ? -format.zero : 1),
  };
}

export interface DotOptions {
  readonly name: string;
  readonly format: Format;
  readonly k: number;
  /** Rows of activations. */
  readonly rows: number;
  readonly relaxed: boolean;
}

export function emitDot(m: ModuleBuilder, { name, format, k, rows, relaxed }: DotOptions): DotFunction {
  const bytes = asBytes(format, relaxed);
  const xBlock = blockBytes(!bytes);
  const xRow = (k / 32) * xBlock;
  return m.func({ name, params: dotParams }, (f, { w, x, out, ldo }) => {
    const at = f.local("i32");
    const xAt = f.local("i32");
    const end = f.let(i32.add(w, (k / format.unit) * format.bytes));
    const sums = f.locals("v128", 2 * rows);
    const unitSums = format.d ? f.locals("v128", 2 * rows) : sums;
    const unitMins = format.dmin ? f.locals("v128", 2 * rows) : sums;
    const ints = f.locals("v128", 2 * rows * Math.max(...format.segments.map((s) => s.blocks.length)));
    const shorts = bytes ? f.locals("v128", ints.length) : [];
    const one = f.local("v128");
    const ones = f.hoist(v128.const(new Uint8Array(Int16Array.from({ length: 8 }, () => 1).buffer)));
    const zero = f.hoist(v128.const(new Uint8Array(16)));
    const accumulate = (target: Local<"v128">, a: V, b: V) => f.set(target, multiplyAdd(relaxed, a, b, target));
    /** Codes of row `r` of activations from element k of the unit on. */
    const xCodes = (r: number, k: number) => r * xRow + (k >> 5) * xBlock + (k & 31) * (bytes ? 1 : 2);
    const xFloat = (r: number, k: number, i: number) =>
      v128.load32_splat(xAt, r * xRow + (k >> 5) * xBlock + codeBytes(!bytes) + 4 * i);

    /** The integer sums of a segment's blocks into `ints`. */
    const products = (segment: Segment, halves: readonly number[]) => {
      const begun = new Set<number>();
      const add = (to: Local<"v128">[], i: number, v: V) => {
        const key = to === ints ? i : -1 - i;
        f.set(to[i], begun.has(key) ? (to === ints ? i32x4.add(to[i], v) : i16x8.add(to[i], v)) : v);
        begun.add(key);
      };
      const held = new Map<number, number>();
      const flush = (i: number) => {
        add(ints, i, i32x4.dot_i16x8_s(shorts[i], ones));
        begun.delete(-1 - i);
        held.set(i, 0);
      };
      // Products of two bytes twice that fit 16 bits together.
      const fits = Math.floor(32767 / (2 * 127 * (format.largest ?? 127)));
      const slot = (block: number, half: number, r: number) => (block * 2 + half) * rows + r;
      for (let step = 0; step < segment.steps; step++) {
        const codes = halves.map((half) => segment.codes({ f, at, half }, step));
        codes[0].forEach((_, c) => {
          halves.forEach((half, h) => {
            const code = codes[h][c];
            const { block, k } = code;
            if (bytes) {
              const v = rows === 1 ? code.bytes() : f.let(code.bytes());
              for (let r = 0; r < rows; r++) {
                const i = slot(block, half, r);
                if (held.get(i) === fits) flush(i);
                const xs = shared(f, one, h, halves.length, v128.load32_splat(xAt, xCodes(r, k)));
                add(shorts, i, i16x8.relaxed_dot_i8x16_i7x16_s(xs, v));
                held.set(i, (held.get(i) ?? 0) + 1);
              }
            } else {
              wordsOf(f, code, format).forEach((word, odd) => {
                const v = rows === 1 ? word : f.let(word);
                for (let r = 0; r < rows; r++)
                  add(ints, slot(block, half, r), i32x4.dot_i16x8_s(v, v128.load32_splat(xAt, xCodes(r, k) + 4 * odd)));
              });
            }
          });
        });
      }
      for (const [i, n] of held) if (n > 0) flush(i);
      return slot;
    };

    const finishBlock = (block: Block, index: number, halves: readonly number[], slot: ReturnType<typeof products>) => {
      for (const half of halves) {
        const reader: Reader = { f, at, half };
        const scale = f.let(block.scale(reader));
        const min = block.min && f.let(block.min(reader));
        const part = block.size === 32 ? 1 : block.k & 16 ? 3 : 2;
        for (let r = 0; r < rows; r++) {
          const sum = f32x4.convert_i32x4_s(ints[slot(index, half, r)]);
          const scaled = xFloat(r, block.k, 0);
          const value = format.zero
            ? multiplyAdd(relaxed, sum, scaled, xFloat(r, block.k, part))
            : f32x4.mul(sum, scaled);
          accumulate(unitSums[half * rows + r], scale, value);
          if (min) accumulate(unitMins[half * rows + r], min, xFloat(r, block.k, part));
        }
      }
    };

    f.set(at, w);
    f.set(xAt, x);
    f.while(i32.lt_u(at, end), () => {
      if (format.d) for (const s of unitSums) f.set(s, zero);
      if (format.dmin) for (const s of unitMins) f.set(s, zero);
      for (const segment of format.segments) {
        // One row of activations, and few blocks, leave registers for all eight rows of weights.
        for (const halves of rows === 1 && segment.blocks.length <= 2 ? [[0, 1]] : [[0], [1]]) {
          const slot = products(segment, halves);
          segment.blocks.forEach((block, i) => {
            finishBlock(block, i, halves, slot);
          });
        }
      }
      for (const half of [0, 1]) {
        const reader: Reader = { f, at, half };
        for (let r = 0; r < rows; r++) {
          const i = half * rows + r;
          if (format.d) accumulate(sums[i], format.d(reader), unitSums[i]);
          if (format.dmin) f.set(sums[i], f32x4.sub(sums[i], f32x4.mul(format.dmin(reader), unitMins[i])));
        }
      }
      f.increment(at, format.bytes);
      f.increment(xAt, (format.unit / 32) * xBlock);
    });
    const factor = f.hoist(v128.const(new Uint8Array(new Float32Array(4).fill(tinyFactor).buffer)));
    for (let r = 0; r < rows; r++) {
      for (const half of [0, 1]) {
        const sum = sums[half * rows + r];
        f.v128.store(out, format.tiny ? f32x4.mul(sum, factor) : sum, 16 * half);
      }
      f.increment(out, ldo);
    }
  });
}

/** Binds what several halves use to a local, at the first of them. */
function shared(f: { set(t: Local<"v128">, v: V): void }, local: Local<"v128">, i: number, uses: number, v: V): V {
  if (uses === 1) return v;
  if (i === 0) f.set(local, v);
  return local;
}

function wordsOf(f: Parameters<typeof maskWords>[0], code: Code, format: Format): readonly [V, V] {
  if (code.words) return code.words();
  const v = f.let(code.bytes());
  if (format.largest === undefined) return [i16x8.shl(v, 8), maskWords(f, v, 0xff00)];
  return [maskWords(f, v, 0xff), maskWords(f, v, 0xff00)];
}
