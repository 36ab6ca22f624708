/**
 * Products with weights of 2, 4 or 8 bits, in f32. Columns are unpacked a few at a time into a scratch that stays in
 * cache; the unpacked matrix never exists. One row of a goes through the dot products of gemv, more through tile.ts.
 */
import { type MatmulNBitsAttrs, matmulNBits, nBitsLayout } from "../../ops/matmulNBits.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostStep, Kernel } from "../backend.ts";
import { kernel } from "../backend.ts";
import { dots } from "./matmul.ts";
import { arithmetic, carve, DenseSink, f32, packPanels, panelLength, product, scratchLength } from "./tile.ts";

/** Columns unpacked at a time: packing a's rows again for each chunk costs 1 / 48 of the products. */
const chunk = 48;

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
    const single = m === 1;
    const moving = { vectors: arithmetic(m, k), steps: arithmetic(k, 1) };
    const space = carve(single ? k + chunk : scratchLength(m, k), chunk * k, single ? 0 : panelLength(chunk, k));
    return {
      workspaceBytes: space.bytes,
      run([a, b, scales, zeros, , bias], [out], workspace) {
        const { doubles, floats } = space.of(workspace);
        const [columns, panels] = floats;
        const y = f32(out);
        const row = doubles.subarray(chunk);
        if (single) row.set(f32(a));
        const sink = new DenseSink(y, n, 1, chunk);
        sink.bias = bias && f32(bias);
        for (let c = 0; c < n; c += chunk) {
          const count = Math.min(chunk, n - c);
          for (let i = 0; i < count; i++)
            unpack(b as Uint8Array, f32(scales), zeros as Float32Array | Uint8Array | undefined, c + i, columns, i * k);
          if (single) {
            dots(columns, 0, k, count, row, k, doubles);
            for (let i = 0; i < count; i++) y[c + i] = doubles[i] + (bias ? f32(bias)[c + i] : 0);
          } else {
            packPanels(columns, 0, count, k, k, 1, panels, 0);
            sink.at = c;
            sink.biasAt = c;
            product(f32(a), 0, moving, panels, 0, count, doubles, sink);
          }
        }
      },
    };
  },
);

export const matmulNBitsKernels: Kernel<HostStep>[] = [unpacked];
