/**
 * Dot products of eight rows of weights in blocks with a few rows of quantised activations.
 *
 * A row of activations costs what memory gives (1536 x 768 in q4_0: 21 GB/s of weights). Several are products like any
 * other: 1536 x 768, 32 rows, 10^9 multiply-adds a second on one core of an AMD EPYC (Zen 4), Node 24:
 *
 *                                                q4_0  q8_0  q4_k  q5_k  q6_k
 *   floats: kernels/gemm.ts on panels              26    25    26    26    25
 *   four rows of weights at a time                 46    22    31    29    29   a word of activations is loaded twice
 *   eight                                          56    32    45    16    31   more sums of k-quants than registers
 *   eight, 32 k at a time                          56    32    48    41    38
 *   the same, activations in fours and shuffled    54    30    49    39    37   fewer instructions, but no more free ports
 *
 * V8 issues six instructions a cycle then. Signed codes (q8_0, iq4) take twice as many as unsigned ones, as two products of
 * them fill 16 bits: see `multiplied`. Words in their place: q8_0 26 instead of 31 for one row, 36 instead of 38 for more; one
 * instruction for product and sums, relaxed_dot_add, is four where processors have none for it: 25 and 30.
 *
 * Without relaxed SIMD bytes become words, and there are twice the instructions.
 *
 * V8 up to that of Node 22 orders a straight piece of code itself: loads go to its start, and what they read waits on the
 * stack. There, pieces end in a branch for that reason, see `fenced`, and serve three rows of activations at most, not four.
 * With branches that joined (those that leave are 1.2 to 1.5 times as fast: docs/decisions/021), k = 1536, 10^9 multiply-adds
 * a second, without branches | one after each step | one after each vector of codes as well:
 *
 *                                               q4_0          q8_0          q2_k          q4_k          q6_k
 *   Node 20, one row                      18 | 22 | 25  18 | 26 | 25   4 | 13 |      7 | 17 |      3 | 13 |
 *            three                              21 | 31       27 | 35       15 | 16       20 | 25       16 | 16
 *            four                               21 | 27       27 | 31       13 | 11       16 | 19       13 | 11
 *   Node 22, relaxed SIMD, one row        32 | 38 | 37  19 | 30 | 31  11 | 24 | 25  14 | 27 | 29   9 | 20 | 26
 *            three                              42 | 48       28 | 30       34 | 37       35 | 40       33 | 35
 *            four                               39 | 47       26 | 27       32 | 35       37 | 36       32 | 33
 *   Node 24, relaxed SIMD, one row        42 | 42       35 | 34                     41 | 41       28 | 28
 *            four                         62 | 61       40 | 40                     55 | 54       45 | 43
 *
 * One row takes two panels half of the matrix apart, unit by unit in turn, where units are small: memory gives two runs faster
 * than one, see gemm-row.ts. 10^9 multiply-adds a second from memory on one core of a Zen 3, 129024 x 576, medians of two series:
 *
 *                                       one panel  two  three  four
 *   Node 20, relaxed SIMD, q4_0                11   14     14    13   in the cache no difference
 *                          q8_0                 7    9     10    10
 *   Node 24, q4_0                              14   18     20    20
 *            q8_0                               6    7      8     7
 *
 * Three and four are as much more code for a compiler to hold. Halves that are neighbours, 2.5 kB apart, are slower than one
 * panel (78 -> 54 tokens/s of 143 million weights in q4_0); a loop over panels, with sums in memory, takes 4 to 15% more in
 * the cache.
 */
import { type Expr, f32x4, i16x8, i32, i32x4, type Local, type ModuleBuilder, v128 } from "../assembler.ts";
import { type Fence, fenced } from "./fence.ts";
import { type Fma, multiplyAdd } from "./gemm-tile.ts";
import { blockBytes, codeBytes, type QuantizedLayout } from "./quantized-activations.ts";
import { type Block, type Code, type Format, maskWords, type Reader, type Segment } from "./quantized-format.ts";
import { type DotFunction, dotParams } from "./stored-panels.ts";

type V = Expr<"v128">;

/**
 * How codes are multiplied. Relaxed SIMD defines products of bytes, a signed one with an unsigned one of 7 bit, two of which
 * are added in 16. Where the weights' codes are not the unsigned ones, the activations' magnitudes are, which are at most
 * 127, and their signs go to the weights: with s of -1 or 0, q w = |q| (w ^ s) - s |q|, as w ^ -1 = -w - 1. The sum of the last
 * term is the same for all weights.
 */
const multiplied = (format: Format, relaxed: boolean, dotAdd: DotAdd): "words" | "bytes" | "magnitudes" =>
  !relaxed ? "words" : format.largest > 127 && !dotAdd ? "magnitudes" : "bytes";

/**
 * Hosts that multiply four pairs of bytes and add all to a sum in one instruction, `relaxed_dot_i8x16_i7x16_add_s`, by what it
 * takes the 7-bit operand for where that has 8: VNNI of x86, dot products of ARM. Undefined where it is several.
 */
export type DotAdd = "unsigned" | "signed" | undefined;

/** Half of the 2^112 that scales lack goes to the activations, half to the sums: neither overflows. */
const tinyFactor = 2 ** 56;

/** Codes of eight bits are multiplied as the numbers they stand for, without zero. */
const isSigned = (format: Format, dotAdd: DotAdd): boolean => format.largest > 127 && dotAdd === "signed";

export function activationLayout(format: Format, relaxed: boolean, dotAdd: DotAdd): QuantizedLayout {
  const factor = format.tiny ? tinyFactor : 1;
  const codes = multiplied(format, relaxed, dotAdd);
  const [block] = format.segments[0].blocks;
  const inPairs = codes === "bytes" && block.size === 16 && !dotAdd;
  const zero = isSigned(format, dotAdd) ? undefined : format.zero;
  return {
    pairs: inPairs ? (format.zero ? { zero: format.zero } : "sums") : undefined,
    codes: codes === "words" ? { words: format.pattern } : codes,
    scaleFactor: codes === "words" ? factor / 256 : factor,
    sumFactor: factor * (codes === "magnitudes" ? -1 : zero ? -zero : 1),
  };
}

export interface DotOptions {
  readonly name: string;
  readonly format: Format;
  readonly k: number;
  /** Rows of activations, and panels of weights: one of both is 1. */
  readonly rows: number;
  readonly panels: number;
  readonly fma: Fma;
  readonly dotAdd: DotAdd;
  /** Address of the format's table. */
  readonly table: number;
}

export function emitDot(
  m: ModuleBuilder,
  { name, format, k, rows, panels, fma, dotAdd, table }: DotOptions,
): DotFunction {
  const relaxed = fma > 0;
  const codes = multiplied(format, relaxed, dotAdd);
  const [words, bytes, magnitudes] = [codes === "words", codes === "bytes", codes === "magnitudes"];
  const signed = isSigned(format, dotAdd);
  /** Sums of 16 bits on the way. */
  const inShorts = bytes && !dotAdd;
  const layout = activationLayout(format, relaxed, dotAdd);
  const xBlock = blockBytes(layout);
  const xRow = (k / 32) * xBlock;
  return m.func({ name, params: dotParams }, (f, { w, x, out, ldo, apart }) => {
    const ats = f.locals("i32", panels);
    const xAt = f.local("i32");
    const end = f.let(i32.add(w, (k / format.unit) * format.bytes));
    const allSums = ats.map(() => f.locals("v128", 2 * rows));
    const sumsOfUnit = f.locals("v128", format.d ? 2 * rows : 0);
    const minsOfUnit = f.locals("v128", format.dmin ? 2 * rows : 0);
    /** Of the panel that code is written for. */
    let [at] = ats;
    let [sums] = allSums;
    let [unitSums, unitMins] = [sums, sums];
    const count = 2 * rows * Math.max(...format.segments.map((s) => s.blocks.length));
    const ints = f.locals("v128", count);
    const shorts = inShorts ? f.locals("v128", count) : [];
    const [one, sign] = f.locals("v128", 2);
    const ones = f.hoist(v128.const(new Uint8Array(Int16Array.from({ length: 8 }, () => 1).buffer)));
    const zero = f.hoist(v128.const(new Uint8Array(16)));
    const top = f.hoist(v128.const(new Uint8Array(16).fill(128)));
    /** Sums since the last fence. */
    const changed = new Set<Local<"v128">>();
    const set = (to: Local<"v128">, v: V) => {
      f.set(to, v);
      changed.add(to);
    };
    let fenceAll: Fence;
    const fence = () => {
      fenceAll(changed);
      changed.clear();
    };
    const asMultiplied = (v: V): V => (signed ? v128.xor(v, top) : v);
    const accumulate = (target: Local<"v128">, a: V, b: V) => set(target, multiplyAdd(relaxed, a, b, target));
    /** Codes of row `r` of activations from element k of the unit on, repeated in all lanes; `part`: of odd k. */
    const xCodes = (r: number, k: number, part: number): V =>
      v128.load32_splat(xAt, r * xRow + (k >> 5) * xBlock + (k & 31) * (words ? 2 : 1) + 4 * part);
    const xFloat = (r: number, k: number, i: number): V =>
      v128.load32_splat(xAt, r * xRow + (k >> 5) * xBlock + codeBytes(layout) + 4 * i);
    // Products of two bytes, twice, that fit 16 bits together.
    const fits = Math.floor(32767 / (2 * 127 * format.largest));

    /** Sums of some of a segment's blocks for some of the rows: integers for each block, then floats. */
    const emitBlocks = (segment: Segment, isWanted: (block: number) => boolean, halves: readonly number[]) => {
      const sumsOf = new Map<Local<"v128">, number>();
      /** Adds to a local, or sets it, the first time since it was reset. Returns how many it holds. */
      const add = (to: Local<"v128">, v: V, sum: typeof i32x4.add): number => {
        const held = sumsOf.get(to) ?? 0;
        set(to, held > 0 ? sum(to, v) : v);
        sumsOf.set(to, held + 1);
        return held + 1;
      };
      const addDot = (to: Local<"v128">, a: V, b: V) => {
        set(to, i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, sumsOf.has(to) ? to : zero));
        sumsOf.set(to, 1);
      };
      const slot = (block: number, half: number, r: number) => (block * 2 + half) * rows + r;
      const factors = new Map<number, Local<"v128">>();
      /** Adds the 16-bit sums to those in 32 bits, times the block's integer scale; blocks of the same 32 k share them. */
      const widen = (index: number, half: number, r: number) => {
        const block = segment.blocks[index];
        const from = shorts[slot(index, half, r)];
        let by = factors.get(slot(index, half, 0)) ?? ones;
        if (block.factors && by === ones)
          factors.set(slot(index, half, 0), (by = f.let(block.factors({ f, at, half, table }))));
        add(ints[slot(sharedSums(segment, index), half, r)], i32x4.dot_i16x8_s(from, by), i32x4.add);
        sumsOf.delete(from);
      };
      const left = segment.blocks.map((b) => b.size / 4);
      // One row of k-quants in words is a tenth slower with it.
      const fencesParts = rows > 1 || relaxed || segment.blocks.length === 1;
      for (let step = 0; step < segment.steps; step++) {
        const read = halves.map((half) => segment.codes({ f, at, half, table }, step));
        read[0].forEach(({ block: index, k }, c) => {
          if (!isWanted(index)) return;
          const block = segment.blocks[index];
          const corrected = inShorts && block.factors !== undefined && format.zero !== undefined;
          const parts = halves.map((_, h) =>
            words ? wordsOf(f, read[h][c], format) : [asMultiplied(read[h][c].bytes())],
          );
          parts[0].forEach((_, part) => {
            const weights = parts.map((p) => (rows === 1 ? p[part] : f.let(p[part])));
            for (let r = 0; r < rows; r++) {
              const loaded = xCodes(r, k, part);
              if (halves.length > 1) f.set(one, loaded);
              const xs = halves.length > 1 ? one : loaded;
              // The signs stand 32 bytes after the codes.
              if (magnitudes) f.set(sign, xCodes(r, k, 8));
              halves.forEach((half, h) => {
                const i = slot(index, half, r);
                if (dotAdd) {
                  addDot(ints[i], xs, weights[h]);
                  return;
                }
                if (words) {
                  add(ints[i], i32x4.dot_i16x8_s(weights[h], xs), i32x4.add);
                  return;
                }
                if (magnitudes) {
                  const products = i16x8.relaxed_dot_i8x16_i7x16_s(v128.xor(weights[h], sign), xs);
                  add(ints[i], i32x4.dot_i16x8_s(products, ones), i32x4.add);
                  return;
                }
                // With the zero taken away first, sums end in 16 bits whatever they were between.
                if (corrected && !sumsOf.has(shorts[i]))
                  add(shorts[i], xFloat(r, block.k, 2 + ((block.k >> 4) & 1)), i16x8.add);
                else if (!corrected && sumsOf.get(shorts[i]) === fits) widen(index, half, r);
                add(shorts[i], i16x8.relaxed_dot_i8x16_i7x16_s(xs, weights[h]), i16x8.add);
              });
            }
            if (fencesParts) fence();
          });
          if (--left[index] > 0) return;
          for (const half of halves) {
            const reader: Reader = { f, at, half, table };
            if (inShorts) for (let r = 0; r < rows; r++) widen(index, half, r);
            if (!inShorts || !block.factors) finishBlock(block, reader, slot(index, half, 0));
            else if (block.size === 32 || block.k & 16)
              finishScaled(block, reader, slot(sharedSums(segment, index), half, 0));
          }
        });
        fence();
      }
    };
    const emitSegment = (segment: Segment) => {
      if (rows > 1 || !relaxed) {
        // Each word of activations serves eight rows of weights; so many sums leave registers for 32 k at a time.
        for (const part of new Set(segment.blocks.map((b) => b.k >> 5)))
          emitBlocks(segment, (block) => segment.blocks[block].k >> 5 === part, [0, 1]);
        return;
      }
      // One row of activations, and few blocks, leave registers for all eight rows of weights.
      const together = rows === 1 && segment.blocks.length <= 2;
      for (const halves of together ? [[0, 1]] : [[0], [1]]) emitBlocks(segment, () => true, halves);
    };

    /** Sums of 32 elements that have their integer scales. */
    const finishScaled = (block: Block, reader: Reader, from: number) => {
      const pairs = block.minPairs && f.let(block.minPairs(reader));
      const min = !pairs && block.min && f.let(block.min(reader));
      for (let r = 0; r < rows; r++) {
        const i = reader.half * rows + r;
        const scaled = f.let(xFloat(r, block.k, 0));
        accumulate(unitSums[i], f32x4.convert_i32x4_s(ints[from + r]), scaled);
        if (min) accumulate(unitMins[i], min, xFloat(r, block.k, 1));
        if (pairs)
          accumulate(unitMins[i], f32x4.convert_i32x4_s(i32x4.dot_i16x8_s(pairs, xFloat(r, block.k, 2))), scaled);
      }
    };

    const finishBlock = (block: Block, reader: Reader, from: number) => {
      const scale = f.let(block.scale(reader));
      const min = block.min && f.let(block.min(reader));
      const part = block.size === 32 ? 1 : block.k & 16 ? 3 : 2;
      for (let r = 0; r < rows; r++) {
        const i = reader.half * rows + r;
        const sum = f32x4.convert_i32x4_s(ints[from + r]);
        const scaled = xFloat(r, block.k, 0);
        const value =
          format.zero && !signed ? multiplyAdd(relaxed, sum, scaled, xFloat(r, block.k, part)) : f32x4.mul(sum, scaled);
        accumulate(unitSums[i], scale, value);
        if (min) accumulate(unitMins[i], min, xFloat(r, block.k, part));
      }
    };

    const addUnit = () => {
      for (const s of [...sumsOfUnit, ...minsOfUnit]) f.set(s, zero);
      for (const segment of format.segments) emitSegment(segment);
      for (const half of [0, 1]) {
        const reader: Reader = { f, at, half, table };
        for (let r = 0; r < rows; r++) {
          const i = half * rows + r;
          if (format.d) accumulate(sums[i], format.d(reader), unitSums[i]);
          if (format.dmin) f.set(sums[i], f32x4.sub(sums[i], f32x4.mul(format.dmin(reader), unitMins[i])));
        }
      }
    };
    ats.forEach((at, p) => {
      f.set(at, p ? i32.add(w, apart) : w);
    });
    f.set(xAt, x);
    // One row, or relaxed SIMD: k-quants have more sums than registers.
    const joins = format.unit > 32 && (rows === 1 || relaxed);
    fenced(f, xAt, { fma, joins }, (ends) => {
      fenceAll = ends;
      f.while(i32.lt_u(ats[0], end), () => {
        ats.forEach((unit, p) => {
          at = unit;
          sums = allSums[p];
          unitSums = format.d ? sumsOfUnit : sums;
          unitMins = format.dmin ? minsOfUnit : sums;
          addUnit();
          f.increment(at, format.bytes);
        });
        f.increment(xAt, (format.unit / 32) * xBlock);
      });
    });
    const factor = f.hoist(v128.const(new Uint8Array(new Float32Array(4).fill(tinyFactor).buffer)));
    for (const sums of allSums)
      for (let r = 0; r < rows; r++) {
        for (const half of [0, 1]) {
          const sum = sums[half * rows + r];
          f.v128.store(out, format.tiny ? f32x4.mul(sum, factor) : sum, 16 * half);
        }
        f.increment(out, ldo);
      }
  });
}

/** Which of the segment's blocks holds the sums of the 32 elements that this one is of, once scales are in them. */
const sharedSums = ({ blocks }: Segment, index: number): number =>
  blocks[index].factors ? blocks.findIndex((b) => b.k >> 5 === blocks[index].k >> 5) : index;

function wordsOf(f: Parameters<typeof maskWords>[0], code: Code, format: Format): readonly [V, V] {
  if (code.words) return code.words();
  const v = f.let(code.bytes());
  return [maskWords(f, v, 0xff), format.largest > 127 ? i16x8.shr_u(v, 8) : maskWords(f, v, 0xff00)];
}
