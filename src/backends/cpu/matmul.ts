/**
 * matmul and gemm in f32.
 *   gemv     one row or one column: the matrix is read once, in the order it lies in memory, never packed
 *   tile2x3  everything else, see tile.ts. Batches of a that share one b become rows of one product
 */
import type { EpilogueAttrs } from "../../ops/epilogue.ts";
import { gemm } from "../../ops/gemm.ts";
import { biasStrides, type MatmulGeometry, matmul, matmulGeometry } from "../../ops/matmul.ts";
import { forEachOffset, sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import type { HostStep, Kernel, KernelInput, Prepack } from "../backend.ts";
import { kernel } from "../backend.ts";
import { activate } from "./activate.ts";
import { arithmetic, carve, DenseSink, f32, packPanels, product, reserveProduct } from "./tile.ts";

/** A batched product with everything that its kernels need. Both operators come down to this. */
export interface ProductPlan extends EpilogueAttrs {
  readonly g: MatmulGeometry;
  readonly alpha: number;
  readonly beta: number;
  /** Strides of the bias over rows and columns of one matrix. */
  readonly bias: { readonly row: number; readonly column: number };
  /** For each matrix of the output, where those of a and b start. */
  readonly aStarts: Int32Array;
  readonly bStarts: Int32Array;
}

type Matrices = Pick<ProductPlan, "g" | "aStarts" | "bStarts">;

/** Where matrices start. Batches that share one row-major b are folded into rows. */
export function matricesOf(g: MatmulGeometry): Matrices {
  const batches = sizeOf(g.batch);
  const aIsStack =
    g.aStrides.column === 1 &&
    g.aStrides.row === g.k &&
    g.batch.every((d, i) => d === 1 || g.aBatch[i] === sizeOf(g.batch.slice(i + 1)));
  if (batches > 1 && aIsStack && g.bBatch.every((s) => s === 0)) {
    const none = Int32Array.of(0);
    return { g: { ...g, m: g.m * batches, batch: [], aBatch: [], bBatch: [] }, aStarts: none, bStarts: none };
  }
  const aStarts = new Int32Array(batches);
  const bStarts = new Int32Array(batches);
  forEachOffset(g.batch, [g.aBatch, g.bBatch], (i, at) => {
    aStarts[i] = at[0] * g.m * g.k;
    bStarts[i] = at[1] * g.k * g.n;
  });
  return { g, aStarts, bStarts };
}

const isEmpty = ({ m, n, k, batch }: MatmulGeometry): boolean => m * n * k * sizeOf(batch) === 0;

/** The panels of all matrices of a constant b, made once. */
function prepackB(input: number, b: TensorType, { n, k, bStrides }: MatmulGeometry): Prepack {
  const size = sizeOf(b.shape);
  return {
    input,
    key: `panels3/${n}x${k}/${bStrides.row}x${bStrides.column}`,
    type: { dtype: "f32", shape: [size] },
    moves: true,
    inPlace: bStrides.row === 1,
    pack(source, packed) {
      for (let at = 0; at < size; at += n * k)
        packPanels(f32(source), at, n, bStrides.column, k, bStrides.row, f32(packed), at);
    },
  };
}

function tiled(plan: ProductPlan, [, b]: readonly KernelInput[]): HostStep | undefined {
  const { g, aStarts, bStarts } = plan;
  if (isEmpty(g)) return undefined;
  const { m, n, k, aStrides, bStrides } = g;
  const moving = { vectors: arithmetic(m, aStrides.row), steps: arithmetic(k, aStrides.column) };
  const packed = b.constant !== undefined;
  const space = carve(0, packed ? 0 : n * k);
  reserveProduct(m, k);
  return {
    workspaceBytes: space.bytes,
    prepack: packed ? [prepackB(1, b, g)] : undefined,
    run([a, b, bias, residual], [y], workspace) {
      const { floats } = space.of(workspace);
      const sink = new DenseSink(f32(y), n, 1, n);
      sink.alpha = plan.alpha;
      sink.beta = plan.beta;
      sink.bias = bias && f32(bias);
      sink.biasByU = plan.bias.row;
      sink.biasByV = plan.bias.column;
      sink.residual = residual && f32(residual);
      sink.activation = plan.activation;
      for (let i = 0; i < aStarts.length; i++) {
        sink.at = i * m * n;
        const start = bStarts[i];
        if (!packed && (i === 0 || start !== bStarts[i - 1]))
          packPanels(f32(b), start, n, bStrides.column, k, bStrides.row, floats[0], 0);
        const [panels, at] = packed ? [f32(b), start] : [floats[0], 0];
        product(f32(a), aStarts[i], moving, panels, at, n, sink);
      }
    },
  };
}

function gemv(plan: ProductPlan): HostStep | undefined {
  const { g, aStarts, bStarts, activation } = plan;
  if (isEmpty(g) || (g.m !== 1 && g.n !== 1)) return undefined;
  const byRow = g.m === 1;
  const count = byRow ? g.n : g.m;
  const { k } = g;
  const alongK = byRow ? g.bStrides.row : g.aStrides.column;
  const alongCount = byRow ? g.bStrides.column : g.aStrides.row;
  const vectorStep = byRow ? g.aStrides.column : g.bStrides.row;
  const biasStep = byRow ? plan.bias.column : plan.bias.row;
  const space = carve(count + k);
  return {
    workspaceBytes: space.bytes,
    run([a, b, bias, residual], [out], workspace) {
      const { doubles } = space.of(workspace);
      const y = f32(out);
      const vector = doubles.subarray(count);
      const matrix = f32(byRow ? b : a);
      const source = f32(byRow ? a : b);
      for (let i = 0; i < aStarts.length; i++) {
        const vectorAt = byRow ? aStarts[i] : bStarts[i];
        for (let p = 0; p < k; p++) vector[p] = source[vectorAt + p * vectorStep];
        const matrixAt = byRow ? bStarts[i] : aStarts[i];
        if (alongK === 1) dots(matrix, matrixAt, alongCount, count, vector, k, doubles);
        else addRows(matrix, matrixAt, alongK, count, vector, k, doubles);
        const to = i * count;
        for (let c = 0; c < count; c++) {
          let s = plan.alpha * doubles[c];
          if (bias) s += plan.beta * f32(bias)[c * biasStep];
          if (residual) s += f32(residual)[to + c];
          y[to + c] = s;
        }
        activate(activation, y, to, to + count);
      }
    },
  };
}

/** A vector times `count` rows or columns of a matrix that begins at `at`. */
type VectorProduct = (
  matrix: Float32Array,
  at: number,
  stride: number,
  count: number,
  vector: Float64Array,
  k: number,
  out: Float64Array,
) => void;

/** out[c] = sum over p of vector[p] matrix[at + c stride + p]: four rows of the matrix at a time. */
export const dots: VectorProduct = (matrix, at, stride, count, vector, k, out) => {
  let c = 0;
  for (; c + 4 <= count; c += 4) {
    const r0 = at + c * stride;
    const r1 = r0 + stride;
    const r2 = r1 + stride;
    const r3 = r2 + stride;
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let p = 0; p < k; p++) {
      const v = vector[p];
      s0 += v * matrix[r0 + p];
      s1 += v * matrix[r1 + p];
      s2 += v * matrix[r2 + p];
      s3 += v * matrix[r3 + p];
    }
    out[c] = s0;
    out[c + 1] = s1;
    out[c + 2] = s2;
    out[c + 3] = s3;
  }
  for (; c < count; c++) {
    const r = at + c * stride;
    let s = 0;
    for (let p = 0; p < k; p++) s += vector[p] * matrix[r + p];
    out[c] = s;
  }
};

/** out[c] = sum over p of vector[p] matrix[at + p stride + c]: four rows of the matrix added at a time. */
const addRows: VectorProduct = (matrix, at, stride, count, vector, k, out) => {
  out.fill(0, 0, count);
  let p = 0;
  for (; p + 4 <= k; p += 4) {
    const r0 = at + p * stride;
    const r1 = r0 + stride;
    const r2 = r1 + stride;
    const r3 = r2 + stride;
    const v0 = vector[p];
    const v1 = vector[p + 1];
    const v2 = vector[p + 2];
    const v3 = vector[p + 3];
    for (let c = 0; c < count; c++)
      out[c] += v0 * matrix[r0 + c] + v1 * matrix[r1 + c] + v2 * matrix[r2 + c] + v3 * matrix[r3 + c];
  }
  for (; p < k; p++) {
    const r = at + p * stride;
    const v = vector[p];
    for (let c = 0; c < count; c++) out[c] += v * matrix[r + c];
  }
};

type Planner = (plan: ProductPlan, inputs: readonly KernelInput[]) => HostStep | undefined;

const matmulBy = (plan: Planner) => (name: string) =>
  kernel<HostStep, typeof matmul>(matmul, name, (inputs, [y], { alpha = 1, activation, ...attrs }) => {
    if (y.dtype !== "f32") return undefined;
    const bias = { row: 0, column: 1 };
    return plan(
      { ...matricesOf(matmulGeometry("matmul", inputs[0], inputs[1], attrs)), alpha, beta: 1, bias, activation },
      inputs,
    );
  });

const gemmBy = (plan: Planner) => (name: string) =>
  kernel<HostStep, typeof gemm>(gemm, name, (inputs, [y], { alpha = 1, beta = 1, activation, ...attrs }) => {
    if (y.dtype !== "f32") return undefined;
    const g = matmulGeometry("gemm", inputs[0], inputs[1], attrs);
    const bias = inputs[2] ? biasStrides(inputs[2], [g.m, g.n]) : { row: 0, column: 0 };
    return plan({ ...matricesOf(g), alpha, beta, bias, activation }, inputs);
  });

export const matmulKernels: Kernel<HostStep>[] = [
  matmulBy(gemv)("cpu/matmul/gemv"),
  matmulBy(tiled)("cpu/matmul/tile2x3"),
  gemmBy(gemv)("cpu/gemm/gemv"),
  gemmBy(tiled)("cpu/gemm/tile2x3"),
];
