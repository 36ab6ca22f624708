/** Cubic samples at points on, beside and far from the plane, and where the grid has no number, as the reference has them. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import { gridSample } from "../../src/ops/index.ts";
import { tensorFrom } from "../cases/case.ts";
import { difference } from "../compare.ts";
import { runReference } from "../kernel-property.ts";
import { toleranceOf } from "../tolerance.ts";
import { wasmDevices } from "./workers.ts";

const devices = Object.entries(await wasmDevices());

const coordinate = fc.oneof(
  { weight: 6, arbitrary: fc.float({ min: -2, max: 2, noNaN: true }) },
  { weight: 1, arbitrary: fc.constantFrom(-1, 0, 1, -1e6, 1e6, Number.NaN, -Infinity, Infinity) },
);
const padding = fc.constantFrom("zeros" as const, "border" as const, "reflection" as const);

test.each(devices)("any grid, %s", async (_, open) => {
  const device = open() as Backend;
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        shape: fc.tuple(
          fc.integer({ min: 1, max: 2 }),
          fc.integer({ min: 1, max: 3 }),
          fc.integer({ min: 4, max: 9 }),
          fc.integer({ min: 4, max: 9 }),
        ),
        // More points than a block has, now and then.
        points: fc.constantFrom(1, 3, 6, 150),
        some: fc.array(coordinate, { minLength: 1, maxLength: 97 }),
        paddingMode: padding,
        alignCorners: fc.boolean(),
        seed: fc.integer(),
      }),
      async ({ shape, points, some, paddingMode, alignCorners, seed }) => {
        const gridShape = [shape[0], 2, points, 2];
        const x = tensorFrom(seed, "f32", shape);
        const data = Float32Array.from({ length: shape[0] * points * 4 }, (_, i) => some[i % some.length]);
        const grid = { dtype: "f32" as const, shape: gridShape, data };
        const attrs = { mode: "cubic" as const, paddingMode, alignCorners };
        const made = graph(({ input }) => ({
          y: gridSample(input("x", "f32", shape), input("grid", "f32", gridShape), attrs),
        }));
        using session = await compile(made, { device });
        const [want] = runReference(gridSample.op, { inputs: [x, grid], attrs })!;
        const { y } = await session.run({ x, grid });
        expect(session.explain().map((s) => s.kernel)).toEqual(["wasm/gridSample/points"]);
        expect(difference(y, want, toleranceOf("gridSample", "f32", { inputs: [x, grid], attrs }))).toBeUndefined();
      },
    ),
    { numRuns: 60, seed: 20260802 },
  );
});

test("an infinity that a point does not touch leaves it alone", async () => {
  const shape = [1, 1, 6, 6];
  const x = { dtype: "f32" as const, shape, data: new Float32Array(36).fill(2) };
  x.data[35] = Infinity;
  const made = graph(({ input }) => ({
    y: gridSample(input("x", "f32", shape), input("grid", "f32", [1, 1, 2, 2]), { mode: "cubic" }),
  }));
  using session = await compile(made, { device: wasm({ threads: 1 }) });
  const grid = { dtype: "f32" as const, shape: [1, 1, 2, 2], data: Float32Array.of(0, 0, 4, 4) };
  const { y } = await session.run({ x, grid });
  expect(y.data[0]).toBeCloseTo(2, 5);
  expect(y.data[1]).toBe(0);
});
