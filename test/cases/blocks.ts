/** Matrices in GGUF blocks. Any bytes are valid codes; the scales are set to numbers of an ordinary size. */
import fc from "fast-check";
import type { Activation } from "../../src/ops/activation.ts";
import { quantizedGather, quantizedMatmul, rowBytes } from "../../src/ops/quantized-matmul.ts";
import { type BlockType, ggufTypeNamed, ggufTypes } from "../../src/tensor/blocks/types.ts";
import { numberToF16 } from "../../src/tensor/float.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { opCase, tensorFrom } from "./case.ts";

/** Where a block's f16 scales and minima are. */
const f16At: Partial<Record<BlockType, number[]>> = {
  f16: [0],
  q4_0: [0],
  q4_1: [0, 2],
  q5_0: [0],
  q5_1: [0, 2],
  q8_0: [0],
  q8_1: [0, 2],
  q1_0: [0],
  q2_0: [0],
  q2_k: [80, 82],
  q3_k: [108],
  q4_k: [0, 2],
  q5_k: [0, 2],
  q6_k: [208],
  iq2_xxs: [0],
  iq2_xs: [0],
  iq2_s: [0],
  iq3_xxs: [0],
  iq3_s: [0],
  iq1_s: [0],
  iq4_nl: [0],
  iq4_xs: [0],
  tq1_0: [52],
  tq2_0: [64],
};

/** Other fields that have to be set, given a random number in [-1, 1]. */
const others: Partial<Record<BlockType, (block: DataView, random: number) => void>> = {
  f32: (b, r) => b.setFloat32(0, r, true),
  f64: (b, r) => b.setFloat64(0, r, true),
  bf16: (b, r) => b.setUint16(0, new Uint32Array(Float32Array.of(r).buffer)[0] >>> 16, true),
  i64: (b, r) => b.setBigInt64(0, BigInt(Math.round(r * 100)), true),
  i32: (b, r) => b.setInt32(0, Math.round(r * 100), true),
  i16: (b, r) => b.setInt16(0, Math.round(r * 100), true),
  q8_k: (b, r) => b.setFloat32(0, r / 100, true),
  mxfp4: (b, r) => b.setUint8(0, 123 + Math.round(r * 5)),
  nvfp4(b, r) {
    for (let i = 0; i < 4; i++) b.setUint8(i, 50 + Math.round(r * 20) + i);
  },
  // The f16 scale's nibbles are the top ones of four words.
  iq1_m(b, r) {
    const bits = numberToF16(r / 8);
    for (let i = 0; i < 4; i++) b.setUint8(49 + 2 * i, (b.getUint8(49 + 2 * i) & 15) | (((bits >> (4 * i)) & 15) << 4));
  },
};

export const blockTypes = Object.keys(ggufTypes).map((t) => t.toLowerCase() as BlockType);

/** The bytes of `rows` random rows of k elements. */
export function randomBlocks(seed: number, type: BlockType, rows: number, k: number): HostTensor {
  const matrix = { type, k };
  const bytes = tensorFrom(seed, "u8", [rows * rowBytes(matrix)], { min: 0, max: 255 });
  const data = bytes.data as Uint8Array;
  const { blockBytes } = ggufTypes[ggufTypeNamed(type)];
  const blocks = data.length / blockBytes;
  const randoms = tensorFrom(seed + 1, "f64", [2, blocks], { min: -1, max: 1 }).data as Float64Array;
  for (let i = 0; i < blocks; i++) {
    const block = new DataView(data.buffer, i * blockBytes, blockBytes);
    others[type]?.(block, randoms[i]);
    f16At[type]?.forEach((at, j) => {
      block.setUint16(at, numberToF16(randoms[j * blocks + i] / (type === "f16" ? 1 : 32)), true);
    });
  }
  return bytes;
}

const activation = fc.constantFrom<Activation | undefined>(
  undefined,
  undefined,
  { kind: "silu" },
  { kind: "relu" },
  { kind: "geluTanh" },
);

const dimensions = {
  seed: fc.integer(),
  type: fc.constantFrom(...blockTypes),
  blocks: fc.integer({ min: 1, max: 5 }),
};

/** Elements of a row of `blocks` blocks; no less than 16, so that types without blocks have some length too. */
const widthOf = (type: BlockType, blocks: number): number => {
  const { blockSize } = ggufTypes[ggufTypeNamed(type)];
  return blocks * (blockSize === 1 ? 13 : blockSize);
};

export const blockCases = {
  quantizedMatmul: fc
    .record({
      ...dimensions,
      m: fc.constantFrom(1, 1, 1, 2, 3, 5, 16, 33),
      n: fc.integer({ min: 1, max: 40 }),
      bias: fc.boolean(),
      residual: fc.boolean(),
      activation,
    })
    .map(({ seed, type, blocks, m, n, bias, residual, activation }) => {
      const k = widthOf(type, blocks);
      return opCase(
        quantizedMatmul,
        [
          tensorFrom(seed, "f32", m === 1 ? [k] : [1, m, k]),
          randomBlocks(seed + 1, type, n, k),
          bias ? tensorFrom(seed + 2, "f32", [n]) : undefined,
          residual ? tensorFrom(seed + 3, "f32", m === 1 ? [n] : [1, m, n]) : undefined,
        ],
        { type, n, k, activation },
      );
    }),
  quantizedGather: fc
    .record({ ...dimensions, rows: fc.integer({ min: 1, max: 20 }), count: fc.integer({ min: 1, max: 4 }) })
    .map(({ seed, type, blocks, rows, count }) => {
      const k = widthOf(type, blocks);
      const dtype = seed % 4 ? "i32" : "i64";
      const indices = tensorFrom(seed + 2, dtype, [1, count], { min: -rows, max: rows - 1 });
      return opCase(quantizedGather, [indices, randomBlocks(seed, type, rows, k)], { type, rows, k });
    }),
};
