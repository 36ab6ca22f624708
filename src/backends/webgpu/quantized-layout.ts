/**
 * Quantised matrices as shaders read them. Every block of a file becomes small integers q, and two factors for each 16 or
 * 32 of them: a weight is d q + m. So one kernel serves many formats.
 *
 *   nibbles   q from 0 to 15: a block of 32 is a vec4u; byte j has element j in its lower half, j + 16 in its upper
 *   bytes     q from -128 to 127: a block of 16 is a vec4u
 *   floats    formats that are neither: f32
 *
 * The integers come first; the factors follow, at a multiple of 256 bytes.
 */

import { dequantizeRows } from "../../ops/quantized-matmul.ts";
import { f16At } from "../../tensor/blocks/decoder.ts";
import { scaleIq4Xs } from "../../tensor/blocks/i-quants.ts";
import { minK4, scaleK4, scaleQ3 } from "../../tensor/blocks/k-quants.ts";
import { signed8 } from "../../tensor/blocks/legacy.ts";
import { type BlockType, ggufTypeNamed, ggufTypes } from "../../tensor/blocks/types.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import type { Prepack } from "../backend.ts";

type Kind = "nibbles" | "bytes" | "floats";

interface Format {
  readonly kind: Kind;
  /** Elements that share their factors. */
  readonly block: number;
  /** [d, m] of the `sub`-th such elements in the file's block at bytes[at]. */
  factors(bytes: Uint8Array, at: number, sub: number): [d: number, m: number];
}

const k45 = (bytes: Uint8Array, at: number, j: number): [number, number] => [
  f16At(bytes, at) * scaleK4(bytes, at + 4, j),
  -f16At(bytes, at + 2) * minK4(bytes, at + 4, j),
];
const scaled = (bytes: Uint8Array, at: number): [number, number] => [f16At(bytes, at), 0];
const shifted = (bytes: Uint8Array, at: number): [number, number] => [f16At(bytes, at), f16At(bytes, at + 2)];

const formats: Partial<Record<BlockType, Format>> = {
  q4_0: {
    kind: "nibbles",
    block: 32,
    factors(bytes, at) {
      const d = f16At(bytes, at);
      return [d, -8 * d];
    },
  },
  q4_1: { kind: "nibbles", block: 32, factors: shifted },
  q4_k: { kind: "nibbles", block: 32, factors: k45 },
  q5_0: { kind: "bytes", block: 32, factors: scaled },
  q5_1: { kind: "bytes", block: 32, factors: shifted },
  q5_k: { kind: "bytes", block: 32, factors: k45 },
  q8_0: { kind: "bytes", block: 32, factors: scaled },
  q6_k: { kind: "bytes", block: 16, factors: (b, at, j) => [f16At(b, at + 208) * signed8(b, at + 192 + j), 0] },
  q3_k: { kind: "bytes", block: 16, factors: (b, at, j) => [f16At(b, at + 108) * scaleQ3(b, at + 96, j), 0] },
  q2_k: {
    kind: "bytes",
    block: 16,
    factors: (b, at, j) => [f16At(b, at + 80) * (b[at + j] & 15), -f16At(b, at + 82) * (b[at + j] >> 4)],
  },
  iq4_nl: { kind: "bytes", block: 32, factors: scaled },
  iq4_xs: { kind: "bytes", block: 32, factors: (b, at, j) => [f16At(b, at) * scaleIq4Xs(b, at, j), 0] },
};

export interface QuantizedLayout {
  readonly kind: Kind;
  readonly block: number;
  /** Where the factors begin. */
  readonly factorsAt: number;
  readonly bytes: number;
  readonly prepack: Prepack;
}

/** Rows of k weights of a type, `n` of them; `input` is which operand they are. */
export function quantizedLayout(type: BlockType, n: number, k: number, input: number): QuantizedLayout {
  const format: Format = formats[type] ?? { kind: "floats", block: k, factors: () => [1, 0] };
  const { kind, block } = format;
  const integers = n * k * { nibbles: 0.5, bytes: 1, floats: 4 }[kind];
  const factorsAt = Math.ceil(integers / 256) * 256;
  const bytes = kind === "floats" ? integers : factorsAt + ((n * k) / block) * 8;
  const pack = (source: TypedArray, packed: TypedArray): void => {
    const out = packed.buffer as ArrayBuffer;
    if (kind === "floats")
      dequantizeRows({ type, k }, source as Uint8Array, n, new Float32Array(out, packed.byteOffset, n * k));
    else
      packIntegers(type, format, n, k, source as Uint8Array, new Uint8Array(out, packed.byteOffset, bytes), factorsAt);
  };
  const words = Math.ceil(bytes / 4);
  return {
    ...{ kind, block, factorsAt, bytes },
    prepack: { input, key: `webgpu/${type}/${n}x${k}`, type: { dtype: "u32", shape: [words] }, pack },
  };
}

/** Row by row, through the weights' values: an integer is what is left of one without its factors. */
function packIntegers(
  type: BlockType,
  { kind, block, factors }: Format,
  n: number,
  k: number,
  source: Uint8Array,
  out: Uint8Array,
  factorsAt: number,
): void {
  const { blockSize, blockBytes } = ggufTypes[ggufTypeNamed(type)];
  const rowBytes = (k / blockSize) * blockBytes;
  const pairs = new Float32Array(out.buffer, out.byteOffset + factorsAt, ((n * k) / block) * 2);
  const values = new Float32Array(k);
  for (let row = 0; row < n; row++) {
    dequantizeRows({ type, k }, source.subarray(row * rowBytes, (row + 1) * rowBytes), 1, values);
    for (let first = 0; first < k; first += block) {
      const at = row * rowBytes + Math.floor(first / blockSize) * blockBytes;
      const [d, m] = factors(source, at, (first % blockSize) / block);
      const element = row * k + first;
      pairs[(element / block) * 2] = d;
      pairs[(element / block) * 2 + 1] = m;
      for (let j = 0; j < block; j++) {
        const q = d === 0 ? 0 : Math.round((values[first + j] - m) / d);
        if (kind === "bytes") out[element + j] = q;
        else out[element / 2 + (j & 15)] |= q << (j < 16 ? 0 : 4);
      }
    }
  }
}
