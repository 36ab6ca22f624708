/** Products with, and rows of, matrices that stay in the quantised blocks of GGUF files. */
import { dequantize } from "../tensor/blocks/dequantize.ts";
import { type BlockType, ggufBytes, ggufTypeNamed, ggufTypes, isBlockType } from "../tensor/blocks/types.ts";
import { fromF64, toF64 } from "../tensor/convert.ts";
import { DTypeError } from "../tensor/errors.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { expectDType, shapeError } from "./check.ts";
import { applyEpilogue, checkEpilogue, type EpilogueAttrs } from "./epilogue.ts";
import { expectIndices, resolveIndices } from "./indices.ts";
import { matmulGeometry, multiply } from "./matmul.ts";
import { defineOp } from "./op.ts";

interface BlockMatrix {
  /** What a block is: `q4_0`, `q6_k`, `f16`, ... */
  type: BlockType;
  /** Elements of a row: a multiple of the block size. */
  k: number;
}

export interface QuantizedMatmulAttrs extends BlockMatrix, EpilogueAttrs {
  /** Rows of the weights: features of the result. */
  n: number;
  /** Kernels do not round activations. Default false. */
  exact?: boolean;
}

export interface QuantizedGatherAttrs extends BlockMatrix {
  /** Rows of the table. */
  rows: number;
}

/** Bytes of one row. */
export const rowBytes = ({ type, k }: BlockMatrix): number => ggufBytes(ggufTypeNamed(type), k);

/** The first `count` of the rows in `bytes` as f32. */
export const dequantizeRows = (
  { type, k }: BlockMatrix,
  bytes: Uint8Array,
  count: number,
  out?: Float32Array,
): Float32Array => dequantize(ggufTypeNamed(type), bytes, count * k, out);

function checkMatrix(op: string, w: TensorType, matrix: BlockMatrix, rows: number): void {
  const { type, k } = matrix;
  if (!isBlockType(type)) throw new DTypeError(`${op}: no block type is called ${JSON.stringify(type)}`, { op });
  expectDType(op, w, "u8");
  const { blockSize } = ggufTypes[ggufTypeNamed(type)];
  if (!Number.isInteger(k) || k < 0 || k % blockSize) shapeError(op, `rows of ${k} are not whole ${type} blocks`, w);
  const bytes = rows * rowBytes(matrix);
  if (sizeOf(w.shape) !== bytes) shapeError(op, `${rows} x ${k} in ${type} take ${bytes} bytes`, w);
}

/**
 * act(x W^T + bias + residual): x f32[..., k] times the [n, k] weights in `w`, which are the bytes of a GGUF tensor, row
 * by row: f32[..., n]. bias: [n]; residual: the result's shape.
 *
 * The reference multiplies the dequantised weights in doubles. Unless `exact` is set, kernels may round each block of 32
 * elements of x to 8 bits of its largest magnitude, as ggml does; see test/tolerance.ts for the error that allows.
 * @throws ShapeError, DTypeError
 */
export const quantizedMatmul = /* @__PURE__ */ defineOp({
  name: "quantizedMatmul",
  inputs: ["x", "w", "bias?", "residual?"],
  infer([x, w, bias, residual], attrs: QuantizedMatmulAttrs) {
    const op = "quantizedMatmul";
    const { n, k, activation } = attrs;
    expectDType(op, x, "f32");
    checkMatrix(op, w, attrs, n);
    if (x.shape.length < 1 || x.shape[x.shape.length - 1] !== k) shapeError(op, `the last axis of x must be ${k}`, x);
    return checkEpilogue(op, { dtype: "f32", shape: [...x.shape.slice(0, -1), n] }, n, bias, residual, activation);
  },
  reference([x, w, bias, residual], attrs, [y]) {
    const { n, k, activation } = attrs;
    const data = Float64Array.from(dequantizeRows(attrs, w.data as Uint8Array, n));
    const weights: HostTensor = { dtype: "f64", shape: [n, k], data };
    const product = new Float64Array(y.data.length);
    multiply(matmulGeometry("quantizedMatmul", x, weights, { transposeB: true }), toF64(x), data, product, 0);
    applyEpilogue(product, bias, (i) => i % n, residual, activation);
    fromF64(product, y);
  },
});

/**
 * Rows of a table of [rows, k] in the blocks of `w`, dequantised: f32[...indices, k]. Negative indices count from the end.
 * @throws ShapeError, DTypeError; InputError for an index outside the table
 */
export const quantizedGather = /* @__PURE__ */ defineOp({
  name: "quantizedGather",
  inputs: ["indices", "w"],
  infer([indices, w], attrs: QuantizedGatherAttrs) {
    expectIndices("quantizedGather", indices);
    checkMatrix("quantizedGather", w, attrs, attrs.rows);
    return { dtype: "f32", shape: [...indices.shape, attrs.k] };
  },
  reference([indices, w], attrs, [y]) {
    const { rows, k } = attrs;
    const bytes = rowBytes(attrs);
    const at = resolveIndices("quantizedGather", indices, rows, 0);
    const table = w.data as Uint8Array;
    const out = y.data as Float32Array;
    at.forEach((row, i) => {
      const one = table.subarray(row * bytes, (row + 1) * bytes);
      dequantizeRows(attrs, one, 1, out.subarray(i * k, (i + 1) * k));
    });
  },
});
