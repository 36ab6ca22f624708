import fc from "fast-check";
import { gemm } from "../../src/ops/gemm.ts";
import { matmul } from "../../src/ops/matmul.ts";
import { matmulInteger, matmulIntegerToFloat, qlinearMatmul } from "../../src/ops/matmul-integer.ts";
import { matmulNBits, nBitsLayout } from "../../src/ops/matmul-n-bits.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { halfWeightFrom, opCase, tensorFrom } from "./case.ts";
import { activation, extent } from "./epilogue.ts";

const size = fc.record({ m: extent(21), n: extent(40), k: extent(70), seed: fc.integer() });
const dtype = fc.constantFrom<DType>("f32", "f32", "f32", "f32", "f64", "f16", "i32", "u32", "i64");
const isFloat = (d: DType): boolean => d[0] === "f";

/** Shapes of the axes before the matrices of a, of b, and of the product. */
const batches = fc.constantFrom<[number[], number[], number[]]>(
  [[], [], []],
  [[3], [], [3]],
  [[], [2], [2]],
  [[2], [2], [2]],
  [
    [2, 1],
    [1, 3],
    [2, 3],
  ],
  [[1], [4, 1], [4, 1]],
  [[2, 3], [3, 2].slice(0, 1), [2, 3]],
);

const flip = (rows: number, columns: number, flipped: boolean): number[] =>
  flipped ? [columns, rows] : [rows, columns];

const matrices = fc
  .record({
    size,
    batches,
    dtype,
    transposeA: fc.boolean(),
    transposeB: fc.boolean(),
    bias: fc.boolean(),
    residual: fc.boolean(),
    activation,
    alpha: fc.constantFrom(undefined, undefined, 0.5),
  })
  .map((c) => {
    const { m, n, k, seed } = c.size;
    const [aBatch, bBatch, batch] = c.batches;
    const { transposeA, transposeB, alpha } = c;
    const make = (i: number, shape: number[]) => tensorFrom(seed + i, c.dtype, shape);
    return opCase(
      matmul,
      [
        make(0, [...aBatch, ...flip(m, k, transposeA)]),
        make(1, [...bBatch, ...flip(k, n, transposeB)]),
        c.bias ? make(2, [n]) : undefined,
        c.residual ? make(3, [...batch, m, n]) : undefined,
      ],
      { transposeA, transposeB, alpha, activation: isFloat(c.dtype) ? c.activation : undefined },
    );
  });

/** Inputs of rank 1, and inner dimensions of 0. */
const vectors = fc.record({ size, dtype, which: fc.constantFrom("a", "b", "both", "empty") }).map((c) => {
  const { m, n, k, seed } = c.size;
  const inner = c.which === "empty" ? 0 : k;
  const a = c.which === "a" || c.which === "both" ? [inner] : [2, m, inner];
  const b = c.which === "b" || c.which === "both" ? [inner] : [2, inner, n];
  return opCase(matmul, [tensorFrom(seed, c.dtype, a), tensorFrom(seed + 1, c.dtype, b)], {});
});

/** Products of the sizes that some variants are for. */
const products = (m: fc.Arbitrary<number>, n: fc.Arbitrary<number>, k: fc.Arbitrary<number>) =>
  fc
    .record({
      m,
      n,
      k,
      seed: fc.integer(),
      dtype: fc.constantFrom<DType>("f32", "f32", "f16"),
      transposeB: fc.boolean(),
      bias: fc.boolean(),
      residual: fc.boolean(),
      activation,
    })
    .map((c) => {
      const { m, n, k, seed, transposeB } = c;
      const make = (i: number, shape: number[]) => tensorFrom(seed + i, c.dtype, shape);
      return {
        inputs: [
          make(0, [m, k]),
          make(1, flip(k, n, transposeB)),
          c.bias ? make(2, [n]) : undefined,
          c.residual ? make(3, [m, n]) : undefined,
        ],
        attrs: { transposeB, activation: c.activation },
      };
    });

/** With weights in 16-bit floats. */
const halves = (batch: fc.Arbitrary<number[]>) =>
  fc
    .record({
      size: fc.record({ m: extent(21), n: extent(40), k: extent(70), seed: fc.integer() }),
      batch,
      kind: fc.constantFrom("f16", "bf16"),
      transposeB: fc.boolean(),
      bias: fc.boolean(),
      residual: fc.boolean(),
      activation,
    })
    .map((c) => {
      const { m, n, k, seed } = c.size;
      const { batch, transposeB } = c;
      return {
        inputs: [
          tensorFrom(seed, "f32", [...batch, m, k]),
          halfWeightFrom(seed + 1, c.kind, flip(k, n, transposeB)),
          c.bias ? tensorFrom(seed + 2, "f32", [n]) : undefined,
          c.residual ? tensorFrom(seed + 3, "f32", [...batch, m, n]) : undefined,
        ],
        attrs: { transposeB, activation: c.activation },
      };
    });

/** One to a few rows of many elements, as decoders multiply token by token. */
const fewRows = products(extent(9), extent(40), fc.constantFrom(63, 64, 68, 100, 256));
const several = fc.integer({ min: 16, max: 48 });
/** Matrix units take what is not small in any direction. */
const wide = products(several, several, several);

const gemms = fc
  .record({
    size,
    dtype,
    transposeA: fc.boolean(),
    transposeB: fc.boolean(),
    bias: fc.constantFrom("none", "scalar", "row", "column", "full"),
    residual: fc.boolean(),
    activation,
    alpha: fc.constantFrom(undefined, 0.25, 2),
    beta: fc.constantFrom(undefined, 0.5, 0),
  })
  .map((c) => {
    const { m, n, k, seed } = c.size;
    const { transposeA, transposeB, alpha, beta } = c;
    const biasShape = { none: undefined, scalar: [], row: [n], column: [m, 1], full: [m, n] }[c.bias];
    const make = (i: number, shape: number[]) => tensorFrom(seed + i, c.dtype, shape);
    return opCase(
      gemm,
      [
        make(0, flip(m, k, transposeA)),
        make(1, flip(k, n, transposeB)),
        biasShape && make(2, biasShape),
        c.residual ? make(3, [m, n]) : undefined,
      ],
      { transposeA, transposeB, alpha, beta, activation: isFloat(c.dtype) ? c.activation : undefined },
    );
  });

const byte = fc.constantFrom<DType>("i8", "u8");
const bytes = { min: -128, max: 127 };
const zeros = fc.constantFrom("none", "scalar", "vector");
/** Of a: one for all, one for each row of each matrix, or one for each row of all of them. */
const rowZeros = fc.constantFrom("none", "scalar", "vector", "rows");

const integers = fc
  .record({ size, batches, aType: byte, bType: byte, aKind: rowZeros, bKind: zeros, bias: fc.boolean() })
  .map((c) => {
    const { m, n, k, seed } = c.size;
    const [aBatch, bBatch] = c.batches;
    const shapes: Record<string, (length: number) => number[]> = {
      scalar: () => [],
      vector: (length) => [length],
      rows: (length) => [...aBatch, length, 1],
    };
    const parameter = (i: number, t: DType, kind: string, length: number) =>
      kind === "none" ? undefined : tensorFrom(seed + i, t, shapes[kind](length), bytes);
    return {
      a: tensorFrom(seed, c.aType, [...aBatch, m, k], bytes),
      b: tensorFrom(seed + 1, c.bType, [...bBatch, k, n], bytes),
      aZero: parameter(2, c.aType, c.aKind, m),
      bZero: parameter(3, c.bType, c.bKind, n),
      scale: (i: number, kind: string, length: number, max = 0.02) =>
        tensorFrom(seed + i, "f32", shapes[kind === "none" ? "scalar" : kind](length), { min: 0.001, max }),
      zero: (i: number, t: DType) => tensorFrom(seed + i, t, [], bytes),
      ...c,
    };
  });

const nBits = fc
  .record({
    m: extent(9),
    n: extent(20),
    k: extent(100),
    seed: fc.integer(),
    bits: fc.constantFrom(2, 4, 8),
    blockSize: fc.constantFrom(16, 32),
    zeroPoints: fc.constantFrom("none", "packed", "float"),
    groupIndex: fc.boolean(),
    bias: fc.boolean(),
    batch: fc.constantFrom([], [2]),
    dtype: fc.constantFrom<DType>("f32", "f32", "f16"),
  })
  .map((c) => {
    const attrs = { k: c.k, n: c.n, bits: c.bits, blockSize: c.blockSize };
    const { blocks, columnBytes, zeroBytes } = nBitsLayout(attrs);
    const raw = { min: 0, max: 255 };
    const scale = { min: -0.1, max: 0.1 };
    const zeroPoints = {
      none: undefined,
      packed: tensorFrom(c.seed + 3, "u8", [c.n * zeroBytes], raw),
      float: tensorFrom(c.seed + 3, c.dtype, [c.n, blocks], { min: 0, max: 3 }),
    };
    return opCase(
      matmulNBits,
      [
        tensorFrom(c.seed, c.dtype, [...c.batch, c.m, c.k], { min: -1, max: 1 }),
        tensorFrom(c.seed + 1, "u8", [c.n, blocks, columnBytes / blocks], raw),
        tensorFrom(c.seed + 2, c.dtype, [c.n * blocks], scale),
        zeroPoints[c.zeroPoints as keyof typeof zeroPoints],
        c.groupIndex ? tensorFrom(c.seed + 4, "i32", [c.k], { min: -0.49, max: blocks - 0.51 }) : undefined,
        c.bias ? tensorFrom(c.seed + 5, c.dtype, [c.n]) : undefined,
      ],
      attrs,
    );
  });

export const matmulCases = {
  matmul: fc.oneof(
    { weight: 5, arbitrary: matrices },
    vectors,
    { weight: 2, arbitrary: halves(fc.constantFrom([], [], [2])).map((c) => opCase(matmul, c.inputs, c.attrs)) },
    fewRows.map((c) => opCase(matmul, c.inputs, c.attrs)),
    wide.map((c) => opCase(matmul, c.inputs, c.attrs)),
  ),
  gemm: fc.oneof(
    { weight: 4, arbitrary: gemms },
    { weight: 2, arbitrary: halves(fc.constant([])).map((c) => opCase(gemm, c.inputs, c.attrs)) },
    fewRows.map((c) => opCase(gemm, c.inputs, c.attrs)),
    wide.map((c) => opCase(gemm, c.inputs, c.attrs)),
  ),
  matmulInteger: integers.map((c) => opCase(matmulInteger, [c.a, c.b, c.aZero, c.bZero], {})),
  matmulIntegerToFloat: integers.map((c) =>
    opCase(
      matmulIntegerToFloat,
      [
        c.a,
        c.b,
        c.scale(4, c.aKind, c.size.m),
        c.scale(5, c.bKind, c.size.n),
        c.aZero,
        c.bZero,
        c.bias ? tensorFrom(c.size.seed + 6, "f32", [c.size.n]) : undefined,
      ],
      {},
    ),
  ),
  qlinearMatmul: integers.map((c) =>
    opCase(
      qlinearMatmul,
      [
        c.a,
        c.scale(4, c.aKind, c.size.m),
        c.aZero ?? c.zero(2, c.aType),
        c.b,
        c.scale(5, c.bKind, c.size.n),
        c.bZero ?? c.zero(3, c.bType),
        c.scale(7, "scalar", 1, 0.5),
        c.zero(8, c.aType),
      ],
      {},
    ),
  ),
  matmulNBits: nBits,
};
