/** The product behind matmul, gemm and convolutions, where vectors are long, many, and not a multiple of a tile. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { arithmetic, DenseSink, laneOf, packPanels, product, reserveProduct } from "../../src/backends/cpu/tile.ts";

const numbers = (n: number, seed: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(i * 1.7 + seed));

/** y[u][v] = sum of a[u][p] b[v][p], in float64. */
function exactSums(a: Float32Array, b: Float32Array, m: number, n: number, k: number): number[] {
  const y = new Array<number>(m * n);
  for (let u = 0; u < m; u++)
    for (let v = 0; v < n; v++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += a[u * k + p] * b[v * k + p];
      y[u * n + v] = sum;
    }
  return y;
}

test.each([
  ["several blocks of moving vectors", 131, 4, 250],
  ["vectors in parts", 5, 8, 601],
  ["vectors in parts, several chunks of staying ones", 7, 773, 300],
  ["all of it", 85, 390, 519],
])("%s", (_, m, n, k) => {
  const [a, b] = [numbers(m * k, 1), numbers(n * k, 2)];
  const panels = new Float32Array(n * k);
  packPanels(b, 0, n, k, k, 1, panels, 0);
  const y = new Float32Array(m * n);
  reserveProduct(m, k);
  product(a, 0, { vectors: arithmetic(m, k), steps: arithmetic(k, 1) }, panels, 0, n, new DenseSink(y, n, 1, n));
  const expected = exactSums(a, b, m, n, k);
  const worst = y.reduce((w, v, i) => Math.max(w, Math.abs(v - expected[i])), 0);
  // Rounded to f32 once: sums are below 512.
  expect(worst).toBeLessThanOrEqual(2 ** -15);
});

test("vectors packed where they lie are packed as elsewhere", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 40 }), fc.nat(9), (vectors, k, at) => {
      const source = numbers(at + vectors * k, 3);
      const packed = new Float32Array(source.length);
      packPanels(source, at, vectors, k, k, 1, packed, at);
      const own = source.slice();
      packPanels(own, at, vectors, k, k, 1, own, at);
      expect(own.subarray(at)).toEqual(packed.subarray(at));
      expect(own.subarray(0, at)).toEqual(source.subarray(0, at));
    }),
  );
});

test.each([
  [1, 1, 1],
  [3, 5, 7],
  [131, 4, 250],
  [6, 390, 519],
  [5, 2, 1031],
])("pairs of whole numbers at the bound: %i x %i x %i", (m, n, k) => {
  // The largest differences of bytes, of both signs.
  const extreme = (size: number, seed: number): Float32Array =>
    Float32Array.from({ length: size }, (_, i) => ((i * 7 + seed) % 5 < 2 ? -255 : 255));
  for (const [a, b] of [
    [extreme(m * k, 1), extreme(n * k, 3)],
    [new Float32Array(m * k).fill(255), new Float32Array(n * k).fill(-255)],
  ]) {
    const panels = new Float32Array(n * k);
    packPanels(b, 0, n, k, k, 1, panels, 0);
    const y = new Int32Array(m * n);
    expect(laneOf(k, 255, 255)).toBe(2);
    reserveProduct(m, k, 2);
    const moving = { vectors: arithmetic(m, k), steps: arithmetic(k, 1) };
    product(a, 0, moving, panels, 0, n, new DenseSink(y, n, 1, n), 2);
    expect([...y]).toEqual(exactSums(a, b, m, n, k));
  }
  expect(laneOf(1033, 255, 255)).toBe(1);
});
