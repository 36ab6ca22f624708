/** Products with weights in GGUF blocks: rows are dequantised a few at a time. Gathers need no more than the reference. */
import { dequantizeRows, quantizedMatmul, rowBytes } from "../../ops/quantized-matmul.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { hostKernel } from "../backend.ts";
import { unpackedProduct } from "./unpacked-product.ts";

export const quantizedBlockKernels = [
  hostKernel(quantizedMatmul, "cpu/quantizedMatmul/chunks", ([x], _, attrs) => {
    const { n, k, activation } = attrs;
    const m = k === 0 ? 0 : sizeOf(x.shape) / k;
    if (m * n === 0) return undefined;
    const bytes = rowBytes(attrs);
    return unpackedProduct({
      m,
      n,
      k,
      bias: 2,
      residual: 3,
      activation,
      unpack([, w], first, count, out) {
        const rows = (w as Uint8Array).subarray(first * bytes, (first + count) * bytes);
        dequantizeRows(attrs, rows, count, out);
      },
    });
  }),
];
