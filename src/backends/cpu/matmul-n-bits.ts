/** Products with weights of 2, 4 or 8 bits, in f32. */
import { type MatmulNBitsAttrs, matmulNBits, nBitsLayout } from "../../ops/matmul-n-bits.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostStep, Kernel } from "../backend.ts";
import { kernel } from "../backend.ts";
import { f32 } from "./tile.ts";
import { unpackedProduct } from "./unpacked-product.ts";

/** Column `c` of the weights as k floats at out[to]. */
type Unpack = (
  b: Uint8Array,
  scales: Float32Array,
  zeros: Float32Array | Uint8Array | undefined,
  c: number,
  out: Float32Array,
  to: number,
) => void;

function unpacker(attrs: MatmulNBitsAttrs): Unpack {
  const { k, blockSize, bits = 4 } = attrs;
  const { blocks, columnBytes, zeroBytes } = nBitsLayout(attrs);
  const perByte = 8 / bits;
  const shift = Math.log2(perByte);
  const within = perByte - 1;
  const mask = (1 << bits) - 1;
  return (b, scales, zeros, c, out, to) => {
    for (let block = 0; block < blocks; block++) {
      const scale = scales[c * blocks + block];
      let zero = 1 << (bits - 1);
      if (zeros instanceof Uint8Array)
        zero = (zeros[c * zeroBytes + (block >> shift)] >> ((block & within) * bits)) & mask;
      else if (zeros) zero = zeros[c * blocks + block];
      const start = c * columnBytes;
      const end = Math.min(k, (block + 1) * blockSize);
      for (let i = block * blockSize; i < end; i++)
        out[to + i] = (((b[start + (i >> shift)] >> ((i & within) * bits)) & mask) - zero) * scale;
    }
  };
}

const unpacked = kernel<HostStep, typeof matmulNBits>(
  matmulNBits,
  "cpu/matmulNBits/chunks",
  ([a, , , , groupIndex], [y], attrs) => {
    const { n, k } = attrs;
    const m = sizeOf(a.shape) / k;
    if (y.dtype !== "f32" || groupIndex || m * n === 0) return undefined;
    const unpack = unpacker(attrs);
    return unpackedProduct({
      m,
      n,
      k,
      bias: 5,
      unpack([, b, scales, zeros], first, count, out) {
        for (let i = 0; i < count; i++)
          unpack(b as Uint8Array, f32(scales), zeros as Float32Array | Uint8Array | undefined, first + i, out, i * k);
      },
    });
  },
);

export const matmulNBitsKernels: Kernel<HostStep>[] = [unpacked];
