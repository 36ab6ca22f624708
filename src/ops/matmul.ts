/** The matrix product of NumPy, with batches and broadcasting. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { isInteger } from "../tensor/dtype.ts";
import { broadcastShapes, broadcastStrides, forEachOffset, type Shape, sizeOf } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { expectDType, sameDType, shapeError } from "./check.ts";
import { applyEpilogue, checkEpilogue, type EpilogueAttrs } from "./epilogue.ts";
import { integersOf, storeIntegers } from "./integers.ts";
import { defineOp } from "./op.ts";

export interface MatmulAttrs extends EpilogueAttrs {
  /** Factor of the product. Default 1. Integer results are truncated. */
  alpha?: number;
  /** The last two axes of the input are swapped first. Ignored for rank 1. */
  transposeA?: boolean;
  transposeB?: boolean;
}

/** Where the matrices of a batched product lie. Strides are in elements. */
export interface MatmulGeometry {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Broadcast batch dimensions. */
  readonly batch: readonly number[];
  /** Strides over `batch`, counted in whole matrices of a and of b: 0 along repeated axes. */
  readonly aBatch: readonly number[];
  readonly bBatch: readonly number[];
  readonly aStrides: { readonly row: number; readonly column: number };
  readonly bStrides: { readonly row: number; readonly column: number };
  /** Shape of the result, without the axes that inputs of rank 1 lack. */
  readonly shape: readonly number[];
}

/** @throws ShapeError when the inner or batch dimensions don't fit */
export function matmulGeometry(
  op: string,
  a: TensorType,
  b: TensorType,
  { transposeA = false, transposeB = false }: Pick<MatmulAttrs, "transposeA" | "transposeB"> = {},
): MatmulGeometry {
  if (a.shape.length === 0 || b.shape.length === 0) shapeError(op, "scalars have no matrix product", a, b);
  const flipA = transposeA && a.shape.length > 1;
  const flipB = transposeB && b.shape.length > 1;
  const [aRows, aColumns] = a.shape.length === 1 ? [1, a.shape[0]] : a.shape.slice(-2);
  const [bRows, bColumns] = b.shape.length === 1 ? [b.shape[0], 1] : b.shape.slice(-2);
  const [m, k] = flipA ? [aColumns, aRows] : [aRows, aColumns];
  const [kb, n] = flipB ? [bColumns, bRows] : [bRows, bColumns];
  if (k !== kb) shapeError(op, "inner dimensions differ", a, b);
  const aOuter = a.shape.slice(0, -2);
  const bOuter = b.shape.slice(0, -2);
  const batch = broadcastShapes(op, aOuter, bOuter);
  return {
    m,
    n,
    k,
    batch,
    aBatch: broadcastStrides(aOuter, batch),
    bBatch: broadcastStrides(bOuter, batch),
    aStrides: flipA ? { row: 1, column: aColumns } : { row: aColumns, column: 1 },
    bStrides: flipB ? { row: 1, column: bColumns } : { row: bColumns, column: 1 },
    shape: [...batch, ...(a.shape.length > 1 ? [m] : []), ...(b.shape.length > 1 ? [n] : [])],
  };
}

/**
 * The naive product of row-major operands, y = a b, all batches. Numbers, or bigints throughout with `zero` 0n.
 */
export function multiply<T extends number | bigint>(
  g: MatmulGeometry,
  a: ArrayLike<T>,
  b: ArrayLike<T>,
  y: { [i: number]: T },
  zero: T,
): void {
  const { m, n, k } = g;
  forEachOffset(g.batch, [g.aBatch, g.bBatch], (i, at) => {
    const aStart = at[0] * m * k;
    const bStart = at[1] * k * n;
    for (let r = 0; r < m; r++)
      for (let c = 0; c < n; c++) {
        // `+` and `*` mean the same on numbers and on bigints; the types can't say so.
        let sum = zero as number;
        for (let p = 0; p < k; p++)
          sum +=
            (a[aStart + r * g.aStrides.row + p * g.aStrides.column] as number) *
            (b[bStart + p * g.bStrides.row + c * g.bStrides.column] as number);
        y[i * m * n + r * n + c] = sum as T;
      }
  });
}

export const productDTypes = ["f32", "f64", "f16", "bf16", "i32", "i64", "u32", "u64"] as const;

/**
 * act(alpha a b + bias + residual), f32 f64 f16 bf16 i32 i64 u32 u64. An input of rank 1 is a row (a) or a column (b)
 * whose axis the result lacks; the axes before the last two broadcast. bias: [n]; residual: the result's shape.
 * Integers wrap. ONNX MatMul-13, FusedMatMul.
 * @throws ShapeError, DTypeError
 */
export const matmul = /* @__PURE__ */ defineOp({
  name: "matmul",
  inputs: ["a", "b", "bias?", "residual?"],
  infer([a, b, bias, residual], attrs: MatmulAttrs) {
    expectDType("matmul", a, ...productDTypes);
    const dtype = sameDType("matmul", a, b);
    const g = matmulGeometry("matmul", a, b, attrs);
    return checkEpilogue("matmul", { dtype, shape: g.shape }, g.n, bias, residual, attrs.activation);
  },
  reference([a, b, bias, residual], attrs, [y]) {
    const { alpha = 1, activation } = attrs;
    const g = matmulGeometry("matmul", a, b, attrs);
    if (isInteger(y.dtype) && alpha === 1) return integerMatmul(g, a, b, bias, residual, y);
    const product = new Float64Array(sizeOf(y.shape));
    multiply(g, toF64(a), toF64(b), product, 0);
    for (let i = 0; i < product.length; i++) product[i] *= alpha;
    applyEpilogue(product, bias, (i) => i % g.n, residual, activation);
    fromF64(product, y);
  },
});

function integerMatmul(
  g: MatmulGeometry,
  a: HostTensor,
  b: HostTensor,
  bias: HostTensor | undefined,
  residual: HostTensor | undefined,
  y: HostTensor,
): void {
  const product = new Array<bigint>(y.data.length).fill(0n);
  multiply(g, integersOf(a), integersOf(b), product, 0n);
  const added = bias && integersOf(bias);
  const more = residual && integersOf(residual);
  for (let i = 0; i < product.length; i++) product[i] += (added ? added[i % g.n] : 0n) + (more ? more[i] : 0n);
  storeIntegers(product, y);
}

/** Strides of gemm's bias over [rows, columns]: a unidirectional broadcast. */
export function biasStrides(t: TensorType, target: Shape): { row: number; column: number } {
  const fits = t.shape.length <= 2 && broadcastShapes("gemm", t.shape, target).every((d, i) => d === target[i]);
  if (!fits) shapeError("gemm", `does not broadcast to [${target}]`, t);
  const [row, column] = broadcastStrides(t.shape, target);
  return { row, column };
}
