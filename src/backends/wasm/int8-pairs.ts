/**
 * Sides of a product of bytes as pairs: what is left of them without their zero points has 9 bits and goes as 16, two neighbours
 * of k in a word, of which `i32x4.dot_i16x8_s` multiplies eight. Every host has it.
 */
import type { TypedArray } from "../../tensor/dtype.ts";
import { i16x8, i32, v128 } from "./assembler.ts";
import { zeroOf } from "./int8.ts";
import type { Layout } from "./int8-product.ts";
import { emitGemm } from "./kernels/gemm.ts";
import { PANEL_COLUMNS } from "./kernels/gemm-pack.ts";
import { addressOf, type StepEmitter } from "./step.ts";

/** B [k, n] less its zero points, in panels of 8 columns; each word has the values of two neighbouring k. */
function packPairs(b: TypedArray, points: TypedArray | undefined, packed: Int32Array, k: number, n: number): void {
  const rest = (wordsOf(k) - (k >> 1)) * PANEL_COLUMNS;
  const source = b as Int8Array;
  const zeros = Int32Array.from({ length: n }, (_, c) => zeroOf(points, c));
  packed.fill(0);
  // A panel's rows in order: reads and writes go on where they were.
  for (let first = 0, at = 0; first < n; first += PANEL_COLUMNS) {
    const columns = Math.min(PANEL_COLUMNS, n - first);
    for (let row = 0; row + 1 < k; row += 2, at += PANEL_COLUMNS)
      for (let c = 0, from = row * n + first; c < columns; c++, from++) {
        const z = zeros[first + c];
        packed[at + c] = ((source[from] - z) & 0xffff) | ((source[from + n] - z) << 16);
      }
    if (k % 2)
      for (let c = 0; c < columns; c++) packed[at + c] = (source[(k - 1) * n + first + c] - zeros[first + c]) & 0xffff;
    at += rest;
  }
}

/** Words of a row of `k` values, in whole vectors. */
const wordsOf = (k: number): number => 4 * Math.ceil(k / 8);

/**
 * Rows of bytes less their zero point, as 16-bit integers. Each row is filled up with what follows, times zero in B. The
 * next row's zero point is `step` bytes after that at `zero`; at 0 there is none.
 */
function widenFunction(e: StepEmitter, dtype: string) {
  const name = `widen/${dtype}`;
  const load = dtype === "i8" ? v128.load8x8_s : v128.load8x8_u;
  const loadZero = dtype === "i8" ? i32.load8_s : i32.load8_u;
  const params = { x: "i32", y: "i32", k: "i32", rows: "i32", zero: "i32", step: "i32" } as const;
  return e.shared(name, (m) =>
    m.func({ name, params }, (f, { x, y, k, rows, zero, step }) => {
      const zeros = f.let(i16x8.splat(0));
      const i = f.local("i32");
      f.while(i32.gt_s(rows, 0), () => {
        f.if(zero, () => {
          f.set(zeros, i16x8.splat(loadZero(zero)));
          f.increment(zero, step);
        });
        f.forRange(i, 0, k, 8, () => {
          f.v128.store(y, i16x8.sub(load(i32.add(x, i)), zeros));
          f.increment(y, 16);
        });
        f.increment(x, k);
        f.increment(rows, -1);
      });
    }),
  );
}

export const inPairs: Layout = ({ m, n, k, a, zeros }) => {
  const words = wordsOf(k);
  const columns = PANEL_COLUMNS * Math.ceil(n / PANEL_COLUMNS);
  return {
    words,
    key: "pairs",
    packedWords: columns * words,
    pack: (source, packed) => packPairs(source, zeros, packed, k, n),
    workspaceBytes: 4 * m * words,
    gemm(e) {
      const name = "gemm/pairs";
      return e.shared(name, (module) => emitGemm(module, { name, fma: 0, integers: "pairs" }));
    },
    rows(e, { a: from, zero, zeroStep: step, row, rows }) {
      const to = addressOf(e.workspace, row, 4 * words);
      e.f.call(widenFunction(e, a), {
        x: addressOf(from, row, k),
        y: to,
        k,
        rows,
        zero: addressOf(zero, row, step),
        step,
      });
      return { at: to, stride: 4 * words };
    },
  };
};
