/**
 * The products of a unit of eight rows of weights with a few rows of quantised activations, added to sums. What they cost, and
 * what was tried: quantized-dot.ts.
 */
import { type Expr, type FunctionBuilder, f32x4, i16x8, i32x4, type Local, v128 } from "../assembler.ts";
import type { Fence } from "./fence.ts";
import { type Fma, multiplyAdd } from "./gemm-tile.ts";
import { blockBytes, codeBytes, type QuantizedLayout } from "./quantized-activations.ts";
import { type Block, type Code, type Format, maskWords, type Reader, type Segment } from "./quantized-format.ts";

type V = Expr<"v128">;

/**
 * How codes are multiplied. Relaxed SIMD defines products of bytes, a signed one with an unsigned one of 7 bit, two of which
 * are added in 16. Where the weights' codes are not the unsigned ones, the activations' magnitudes are, which are at most
 * 127, and their signs go to the weights: with s of -1 or 0, q w = |q| (w ^ s) - s |q|, as w ^ -1 = -w - 1. The sum of the last
 * term is the same for all weights. Codes are w ^ 128 then, and so are signs.
 */
const multiplied = (format: Format, relaxed: boolean, dotAdd: DotAdd): "words" | "bytes" | "magnitudes" =>
  !relaxed ? "words" : format.largest > 127 && !dotAdd ? "magnitudes" : "bytes";

/**
 * Hosts that multiply four pairs of bytes and add all to a sum in one instruction, `relaxed_dot_i8x16_i7x16_add_s`, by what it
 * takes the 7-bit operand for where that has 8: VNNI of x86, dot products of ARM. Undefined where it is several.
 */
export type DotAdd = "unsigned" | "signed" | undefined;

/** Half of the 2^112 that scales lack goes to the activations, half to the sums: neither overflows below some 10^18. */
export const tinyFactor = 2 ** 56;

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

export interface UnitOptions {
  readonly format: Format;
  readonly k: number;
  /** Rows of activations. */
  readonly rows: number;
  readonly fma: Fma;
  readonly dotAdd: DotAdd;
  /** Address of the format's table. */
  readonly table: number;
}

/** Of a row of activations, and of what a unit is multiplied with. */
export function activationBytes({ format, k, fma, dotAdd }: Pick<UnitOptions, "format" | "k" | "fma" | "dotAdd">) {
  const block = blockBytes(activationLayout(format, fma > 0, dotAdd));
  return { row: (k / 32) * block, unit: (format.unit / 32) * block };
}

/**
 * Returns what writes the products of the unit at an address, added to `to`: eight sums of each row of activations in two
 * vectors, all of the unit's first four rows first.
 * @param xAt where the activations are, those of the first row
 */
export function unitProducts(f: FunctionBuilder, o: UnitOptions, xAt: Local<"i32">) {
  const { format, rows, fma, dotAdd, table } = o;
  const relaxed = fma > 0;
  const codes = multiplied(format, relaxed, dotAdd);
  const [words, bytes, magnitudes] = [codes === "words", codes === "bytes", codes === "magnitudes"];
  const signed = isSigned(format, dotAdd);
  /** Sums of 16 bits on the way. */
  const inShorts = bytes && !dotAdd;
  const layout = activationLayout(format, relaxed, dotAdd);
  const xBlock = blockBytes(layout);
  const { row: xRow } = activationBytes(o);
  const sumsOfUnit = f.locals("v128", format.d ? 2 * rows : 0);
  const minsOfUnit = f.locals("v128", format.dmin ? 2 * rows : 0);
  /** Of the unit that code is written for. */
  let at: Local<"i32">;
  let sums: readonly Local<"v128">[];
  let unitSums: readonly Local<"v128">[];
  let unitMins: readonly Local<"v128">[];
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
    // One row of a block of 32 magnitudes has registers for two steps: 1 to 4% faster from memory.
    const atOnce = magnitudes && rows === 1 && format.unit === 32 ? 2 : 1;
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
          if (fencesParts && (step + 1) % atOnce === 0) fence();
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
      if ((step + 1) % atOnce === 0) fence();
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
  return (unit: Local<"i32">, to: readonly Local<"v128">[], fence: Fence): void => {
    [at, sums, fenceAll] = [unit, to, fence];
    [unitSums, unitMins] = [format.d ? sumsOfUnit : to, format.dmin ? minsOfUnit : to];
    addUnit();
  };
}

/** Which of the segment's blocks holds the sums of the 32 elements that this one is of, once scales are in them. */
const sharedSums = ({ blocks }: Segment, index: number): number =>
  blocks[index].factors ? blocks.findIndex((b) => b.k >> 5 === blocks[index].k >> 5) : index;

function wordsOf(f: Parameters<typeof maskWords>[0], code: Code, format: Format): readonly [V, V] {
  if (code.words) return code.words();
  const v = f.let(code.bytes());
  return [maskWords(f, v, 0xff), format.largest > 127 ? i16x8.shr_u(v, 8) : maskWords(f, v, 0xff00)];
}
