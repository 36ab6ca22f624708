/** Norms whose squares leave the range of f32, and rows that have no finite norm, as the float64 reference has them. */
import { expect, test } from "vitest";
import { wasm } from "../../src/backends/wasm/index.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import { lpNorm } from "../../src/ops/index.ts";

const rows = [
  [3, 4, 0, 0, 0],
  [0, 0, 0, 0, 0],
  [3e30, -4e30, 0, 1e30, 0],
  [3.4e38, 3.4e38, -3.4e38, 3.4e38, 3.4e38],
  [3e-30, -4e-30, 0, 0, 1e-30],
  [1e-40, -1e-44, 1e-42, 0, 3e-41],
  [1e-45, 0, 0, 0, 0],
  [Infinity, 1, -2, 0, 5],
  [1, NaN, 2, 3, 4],
].map((row) => Float32Array.from(row));
const n = rows[0].length;

function expected(row: Float32Array, p: 1 | 2): number[] {
  const norm = [...row].reduce((sum, v) => sum + Math.abs(v) ** p, 0) ** (1 / p);
  return [...row].map((v) => (norm === 0 ? 0 : v / norm));
}

const columns = Float32Array.from(
  { length: rows.length * n },
  (_, i) => rows[i % rows.length][Math.floor(i / rows.length)],
);
const forms = [
  { form: "rows", axis: -1, shape: [rows.length, n], x: Float32Array.from(rows.flatMap((r) => [...r])) },
  { form: "columns", axis: 0, shape: [n, rows.length], x: columns },
];

for (const { form, axis, shape, x } of forms)
  test.each([1, 2] as const)(`${form}, L%i`, async (p) => {
    const norm = graph(({ input }) => ({ y: lpNorm(input("x", "f32", shape), { axis, p }) }));
    using session = await compile(norm, { device: wasm({ threads: 1 }) });
    const { y } = await session.run({ x: { dtype: "f32", shape, data: x } });
    expect(session.explain().map((s) => s.kernel)).toEqual(["wasm/lpNorm/axis"]);
    rows.forEach((row, r) => {
      expected(row, p).forEach((want, i) => {
        const got = y.data[form === "rows" ? r * n + i : i * rows.length + r] as number;
        if (Number.isNaN(want)) expect(got).toBeNaN();
        else expect(Math.abs(got - want), `${row}: ${got}, not ${want}`).toBeLessThanOrEqual(3e-7);
      });
    });
  });
