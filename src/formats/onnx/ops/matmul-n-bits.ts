/** ONNX Runtime's product with weights in blocks of a few bits -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { cast } from "../../../ops/cast.ts";
import { type MatmulNBitsAttrs, matmulNBits, nBitsLayout } from "../../../ops/matmul-n-bits.ts";
import { quantizedMatmul } from "../../../ops/quantized-matmul.ts";
import { toF64 } from "../../../tensor/convert.ts";
import { encodeFloats } from "../../../tensor/float.ts";
import type { HostTensor } from "../../../tensor/tensor.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";

/** `accuracy_level`: activations may be rounded to 8 bits. */
const int8 = 4;
/** Elements of a block of GGUF, and bytes of their codes. */
const [blockElements, codeBytes] = [32, 16];
/** Smallest and largest scales that f16 holds with all of its digits. */
const [leastScale, mostScale] = [2 ** -14, 65504];

interface Blocks {
  readonly type: "q4_0" | "q4_1";
  readonly data: Uint8Array;
}

/**
 * 4-bit weights as GGUF's blocks, which have kernels: scales become f16, and zero points part of a minimum. Undefined for
 * other block sizes, weights that are not constant, and scales that f16 can't hold well.
 */
function blocksOf(n: OnnxNode, attrs: Required<MatmulNBitsAttrs>): Blocks | undefined {
  const { k, n: columns, blockSize, bits } = attrs;
  const zeroPoints = n.optional(3)?.constant;
  const [weights, scales] = [n.input(1).constant, n.input(2).constant];
  if (bits !== 4 || k % blockSize || blockSize % blockElements || !weights || !scales || n.optional(4))
    return undefined;
  if (n.optional(3) && zeroPoints?.dtype !== "u8") return undefined;
  const { blocks, columnBytes, zeroBytes } = nBitsLayout(attrs);
  const scale = toF64(scales);
  const packed = weights.data as Uint8Array;
  if (scale.length !== columns * blocks || packed.length !== columns * columnBytes) return undefined;
  if (scale.some((s) => s !== 0 && !(Math.abs(s) >= leastScale && Math.abs(s) <= mostScale))) return undefined;
  const zeros = zeroPoints?.data as Uint8Array | undefined;
  const minima = zeros && scale.map((s, i) => -s * nibble(zeros, Math.floor(i / blocks) * zeroBytes, i % blocks));
  const bytes = codeBytes + (minima ? 4 : 2);
  const [d, m] = [halves(scale), minima && halves(minima)];
  const data = new Uint8Array((packed.length / codeBytes) * bytes);
  const view = new DataView(data.buffer);
  for (let from = 0, to = 0; from < packed.length; from += codeBytes, to += bytes) {
    const block = Math.floor((2 * from) / blockSize);
    view.setUint16(to, d[block], true);
    if (m) view.setUint16(to + 2, m[block], true);
    const codes = to + bytes - codeBytes;
    // Neighbours share a byte there, elements 16 apart do here.
    for (let i = 0; i < codeBytes; i++)
      data[codes + i] = nibble(packed, from, i) | (nibble(packed, from, i + codeBytes) << 4);
  }
  return { type: m ? "q4_1" : "q4_0", data };
}

const nibble = (bytes: Uint8Array, start: number, i: number): number => (bytes[start + (i >> 1)] >> (4 * (i & 1))) & 15;

function halves(values: Float64Array): Uint16Array {
  const out = new Uint16Array(values.length);
  encodeFloats("f16", values, out);
  return out;
}

function matmul(n: OnnxNode): SymbolicValue {
  const attrs = {
    k: n.int("K") ?? n.missing("K"),
    n: n.int("N") ?? n.missing("N"),
    bits: n.int("bits", 4),
    blockSize: n.int("block_size") ?? n.missing("block_size"),
  };
  const blocks = blocksOf(n, attrs);
  if (!blocks)
    return matmulNBits(n.input(0), n.input(1), n.input(2), n.optional(3), n.optional(4), n.optional(5), attrs);
  const { type, data } = blocks;
  const dtype = n.input(2).constant!.dtype;
  const wide = (x: SymbolicValue): SymbolicValue => (dtype === "f32" ? x : cast(x, { to: "f32" }));
  const weights: HostTensor = { dtype: "u8", shape: [data.length], data };
  const bias = n.optional(5);
  const y = quantizedMatmul(wide(n.input(0)), n.builder.constant(weights), bias && wide(bias), {
    type,
    k: attrs.k,
    n: attrs.n,
    exact: n.int("accuracy_level", 0) !== int8,
  });
  return dtype === "f32" ? y : cast(y, { to: dtype });
}

export const nBitsLowerings: LoweringTable = { "com.microsoft::MatMulNBits": matmul };
