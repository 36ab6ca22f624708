/** Matrix product with weights of a few bits, quantized in blocks along the inner dimension: LLM exports. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { isFloat } from "../tensor/dtype.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { expectDType, expectFloat, sameDType, shapeError } from "./check.ts";
import { checkEpilogue } from "./epilogue.ts";
import { matmulGeometry, multiply } from "./matmul.ts";
import { defineOp } from "./op.ts";

export interface MatmulNBitsAttrs {
  /** Inner dimension: what the last axis of `a` has. */
  k: number;
  /** Columns of the result. */
  n: number;
  /** Weights per scale, a multiple of 16. */
  blockSize: number;
  /** 2, 4 or 8. Default 4. */
  bits?: number;
}

/** Blocks of one column, and bytes of one column's packed weights and zero points. */
export function nBitsLayout({ k, blockSize, bits = 4 }: MatmulNBitsAttrs) {
  const blocks = Math.ceil(k / blockSize);
  return { blocks, columnBytes: (blocks * blockSize * bits) / 8, zeroBytes: Math.ceil((blocks * bits) / 8) };
}

/** The `i`-th number of `bits` bits in `bytes` from `start`, low bits first. */
const unpack = (bytes: ArrayLike<number>, start: number, i: number, bits: number): number => {
  const perByte = 8 / bits;
  return (bytes[start + Math.floor(i / perByte)] >> ((i % perByte) * bits)) & ((1 << bits) - 1);
};

/** The weights as doubles, [n, k]. */
function dequantizeNBits(
  b: HostTensor,
  scales: HostTensor,
  zeroPoints: HostTensor | undefined,
  groupIndex: HostTensor | undefined,
  attrs: MatmulNBitsAttrs,
): Float64Array {
  const { n, k, blockSize, bits = 4 } = attrs;
  const { blocks, columnBytes, zeroBytes } = nBitsLayout(attrs);
  const packed = b.data as Uint8Array;
  const scale = toF64(scales);
  const zeros = zeroPoints && toF64(zeroPoints);
  const zeroAt = (column: number, block: number): number => {
    if (!zeros) return 1 << (bits - 1);
    if (isFloat(zeroPoints.dtype)) return zeros[column * blocks + block];
    return unpack(zeros, column * zeroBytes, block, bits);
  };
  const out = new Float64Array(n * k);
  for (let c = 0; c < n; c++)
    for (let i = 0; i < k; i++) {
      const block = groupIndex ? (groupIndex.data[i] as number) : Math.floor(i / blockSize);
      const q = unpack(packed, c * columnBytes, i, bits);
      out[c * k + i] = (q - zeroAt(c, block)) * scale[c * blocks + block];
    }
  return out;
}

function expectSize(t: TensorType | undefined, what: string, size: number): void {
  if (t && sizeOf(t.shape) !== size) shapeError("matmulNBits", `${what} must have ${size} elements`, t);
}

/**
 * a[..., k] times the transpose of the [n, k] weights (q - zero) scale, plus bias[n]. `b` holds u8[n, blocks,
 * blockSize bits / 8], low bits first; scales [n, blocks]; zero points packed likewise in u8 (each column starts a byte)
 * or as floats, default 2^(bits - 1); `groupIndex`, i32[k], names the block of each row where rows were reordered.
 * com.microsoft MatMulNBits-1. Float dtypes.
 * @throws ShapeError, DTypeError
 */
export const matmulNBits = /* @__PURE__ */ defineOp({
  name: "matmulNBits",
  inputs: ["a", "b", "scales", "zeroPoints?", "groupIndex?", "bias?"],
  infer([a, b, scales, zeroPoints, groupIndex, bias], attrs: MatmulNBitsAttrs) {
    const op = "matmulNBits";
    const { n, k, blockSize, bits = 4 } = attrs;
    if (![2, 4, 8].includes(bits)) shapeError(op, `weights of ${bits} bits: 2, 4 and 8 are known`, b);
    if (!Number.isInteger(blockSize) || blockSize < 8) shapeError(op, `block size ${blockSize}`, b);
    expectFloat(op, a);
    expectFloat(op, scales);
    expectDType(op, b, "u8");
    if (a.shape.length < 1 || a.shape[a.shape.length - 1] !== k) shapeError(op, `the last axis of a must be ${k}`, a);
    const { blocks, columnBytes, zeroBytes } = nBitsLayout(attrs);
    expectSize(b, "weights", n * columnBytes);
    expectSize(scales, "scales", n * blocks);
    if (zeroPoints && !isFloat(zeroPoints.dtype)) expectDType(op, zeroPoints, "u8");
    expectSize(zeroPoints, "zero points", n * (zeroPoints?.dtype === "u8" ? zeroBytes : blocks));
    if (groupIndex) expectDType(op, groupIndex, "i32");
    if (groupIndex && sizeOf(groupIndex.shape) < k) shapeError(op, `group index must have ${k} elements`, groupIndex);
    const dtype = sameDType(op, a, scales);
    return checkEpilogue(op, { dtype, shape: [...a.shape.slice(0, -1), n] }, n, bias, undefined, undefined);
  },
  reference([a, b, scales, zeroPoints, groupIndex, bias], attrs, [y]) {
    const { n, k } = attrs;
    const weights: HostTensor = {
      dtype: "f64",
      shape: [n, k],
      data: dequantizeNBits(b, scales, zeroPoints, groupIndex, attrs),
    };
    const sums = new Float64Array(y.data.length);
    multiply(matmulGeometry("matmulNBits", a, weights, { transposeB: true }), toF64(a), toF64(weights), sums, 0);
    const shift = bias && toF64(bias);
    fromF64(
      sums.map((s, i) => s + (shift ? shift[i % n] : 0)),
      y,
    );
  },
});
